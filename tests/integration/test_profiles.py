"""Profiles of a tenant in storage: versions, what is kept of a deleted one, and the commands."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from shared.errors import InvalidRequestError, NotFoundError
from shared.imports.assignments.definition import ASSIGNMENTS
from shared.imports.files.profile import ProfileRefusedError
from shared.imports.workers.definition import WORKERS
from tests.emulator import open_ready_gateway, settings_for
from tests.integration.manage import Manage
from tests.tenants import new_tenant

pytestmark = pytest.mark.integration


def a_profile(**parts: Any) -> str:
    columns = {"Mandant": "EmployerRef", "Nr": "PersonnelRef", **parts.pop("columns", {})}
    return json.dumps({"type": "workers", "columns": columns, **parts})


def test_a_profile_has_versions_that_outlive_it_and_are_seen_by_no_other_tenant(
    connection_string: str,
) -> None:
    async def play() -> None:
        async with open_ready_gateway(settings_for(connection_string)) as gateway:
            profiles = gateway.profiles
            tenant, other = [await new_tenant(gateway) for _ in range(2)]
            first, is_new = await profiles.set(tenant, "Payroll", a_profile())
            assert (first.ref, is_new) == (("payroll", 1), True)
            again, is_new = await profiles.set(tenant, "payroll", a_profile(version=1))
            assert (again.ref.version, is_new) == (1, False)
            named = a_profile(columns={"Name": "Surname"})
            # Of two that are set at once each gets a number of its own.
            both = await asyncio.gather(
                profiles.set(tenant, "payroll", named),
                profiles.set(tenant, "payroll", a_profile(decimal=",")),
            )
            assert sorted(each.ref.version for each, _ in both) == [2, 3]
            with pytest.raises(ProfileRefusedError, match="2 faults"):
                await profiles.set(tenant, "payroll", a_profile(dates="x", decimal="x"))
            assert (await profiles.find(tenant, "PAYROLL", WORKERS)).ref.version == 3
            assert (await profiles.show(tenant, "payroll", 1)).profile.to_text() == (
                first.profile.to_text()
            )
            for refused, text in (
                (profiles.find(other, "payroll", WORKERS), "has no profile payroll"),
                (profiles.find(tenant, "payrol", WORKERS), "there are payroll"),
                (profiles.find(tenant, "../payroll", WORKERS), "cannot be the name"),
                (profiles.find(tenant, "payroll", ASSIGNMENTS), "is for workers version 1"),
            ):
                with pytest.raises(InvalidRequestError, match=text):
                    await refused
            assert await profiles.version(other, first.ref) is None

            assert (await profiles.delete(tenant, "payroll")).version == 3
            with pytest.raises(NotFoundError):
                await profiles.delete(tenant, "payroll")
            with pytest.raises(InvalidRequestError, match="there is none yet"):
                await profiles.find(tenant, "payroll", WORKERS)
            assert await profiles.version(tenant, first.ref) is not None
            revived, _ = await profiles.set(tenant, "payroll", a_profile())
            assert revived.ref.version == 4

            page = await gateway.audit_reader.page(tenant, 20)
            acts = [entry for entry in page.entries if entry.action.startswith("profile.")]
            assert {entry.action for entry in acts} == {"profile.set", "profile.delete"}
            done = [entry.target["version"] for entry in acts if entry.state == "done"]
            assert sorted(done) == [1, 2, 3, 3, 4]

    asyncio.run(play())


def test_the_commands_set_show_and_delete_a_profile(
    manage: Manage, tenant: str, tmp_path: Path
) -> None:
    file = tmp_path / "profile.json"
    file.write_text(a_profile(values={"Surname": {"entries": {"a": 1}}}, decimal="x"))
    refused = manage.run("profile", "set", "p1", str(file), "--tenant", tenant)
    assert refused.returncode == 1
    assert "values.Surname belongs to the field" in refused.stderr
    assert 'decimal must be "," or "."' in refused.stderr
    file.write_text(a_profile(decimal=",", skip={"Art": "any"}))
    assert manage.document("profile", "set", "p1", str(file), "--tenant", tenant)["version"] == 1
    shown = manage.document("profile", "show", "p1", "--tenant", tenant)
    assert shown["columns"] == {"Mandant": "EmployerRef", "Nr": "PersonnelRef"}
    listed = manage.document("profile", "list", "--tenant", tenant)["profiles"]
    assert [(each["name"], each["type"]) for each in listed] == [("p1", "workers")]
    assert manage.document("profile", "delete", "p1", "--tenant", tenant)["deleted"]
    assert manage.document("profile", "list", "--tenant", tenant)["profiles"] == []
