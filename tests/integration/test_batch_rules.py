"""`manage.py threshold` and `format`: what is set is shown, kept, and in force."""

from __future__ import annotations

import pytest

from shared.errors import InvalidRequestError, NotFoundError
from tests.integration.authdata_stage import AuthdataStage, an_employee, play
from tests.integration.manage import Manage

pytestmark = pytest.mark.integration


def test_thresholds_are_set_one_by_one_and_removed(manage: Manage, tenant: str) -> None:
    where = ("--tenant", tenant)
    first = manage.document("threshold", "set", *where, "--added", "2.50", "--errors", "10%")
    assert first == {
        "tenant": tenant,
        "thresholds": {"added": "2.5", "updated": None, "errors": "10"},
    }
    second = manage.document("threshold", "set", *where, "--added", "none", "--updated", "0")
    assert second["thresholds"] == {"added": None, "updated": "0", "errors": "10"}
    assert manage.document("threshold", "show", *where) == second
    assert "errors   10 %" in manage.run("threshold", "show", *where).stdout


def test_formats_are_set_one_by_one_and_removed(manage: Manage, tenant: str) -> None:
    where = ("--tenant", tenant)
    pattern = r"\d{4}[A-Z]?"
    manage.document("format", "set", *where, "--auth-value1", pattern, "--employee-id", "E.*")
    left = manage.document("format", "set", *where, "--employee-id", "none")
    assert left == {"tenant": tenant, "formats": {"authValue1": pattern}}
    assert manage.document("format", "show", *where) == left


@pytest.mark.parametrize(
    "changes", [{"added": "-1"}, {"updated": "1001"}, {"errors": "1e2"}, {"errors": "ten"}]
)
def test_a_threshold_that_is_no_percentage_is_refused(
    delivered: str, changes: dict[str, str | None]
) -> None:
    async def scenario(stage: AuthdataStage) -> None:
        with pytest.raises(InvalidRequestError, match="percentage"):
            await stage.gateway.authdata.rules.set_thresholds(stage.tenant, changes)

    play(delivered, scenario)


def test_a_format_is_in_force_and_a_bad_one_is_refused(delivered: str) -> None:
    async def scenario(stage: AuthdataStage) -> None:
        rules = stage.gateway.authdata.rules
        await rules.set_formats(stage.tenant, {"authValue1": r"\d+"})
        rows = [an_employee("E1", "12"), an_employee("E2", "x12")]
        told = await stage.stage(rows, commit=False)
        assert (told.answer["totalNew"], told.answer["totalErrors"]) == (1, 1)
        free = await stage.stage(rows, commit=False, validate=False)
        assert free.answer["totalNew"] == 2
        for bad in ({"authValue1": "("}, {"other": "x"}, {"authValue1": "x" * 201}):
            with pytest.raises(InvalidRequestError):
                await rules.set_formats(stage.tenant, bad)
        with pytest.raises(NotFoundError):
            await rules.set_formats("nobody", {"authValue1": "x"})

    play(delivered, scenario)
