"""Profiles of a tenant in storage: versions, what is kept of a deleted one, and the commands."""

from __future__ import annotations

import asyncio
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter

from shared.errors import ConflictError, InvalidRequestError, NotFoundError
from shared.imports.assignments.definition import ASSIGNMENTS
from shared.imports.files.profile import ProfileRefusedError
from shared.imports.persons import Identity, IdentityKind
from shared.imports.workers.definition import WORKERS
from shared.storage.import_records import record_row
from shared.storage.names import IMPORTS, ROW_DONE, ROW_REJECTED, ROW_RESULTS
from tests.emulator import open_ready_gateway, settings_for
from tests.integration.manage import Manage
from tests.integration.test_row_drops import Box, boxes
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
            assert (await profiles.get(tenant, "payroll", 1)).profile.to_text() == (
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
            assert await profiles.find_version(other, first.ref) is None

            assert (await profiles.delete(tenant, "payroll")).version == 3
            with pytest.raises(NotFoundError):
                await profiles.delete(tenant, "payroll")
            with pytest.raises(InvalidRequestError, match="there is none yet"):
                await profiles.find(tenant, "payroll", WORKERS)
            assert await profiles.find_version(tenant, first.ref) is not None
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


SECRET = "AB123456C"
WORKERS_CSV = f"""Mandant;Nr;Name;Geschlecht;NI;Notiz
E1;P1;Sample;M;{SECRET};note-of-P1
E1;P2;Other;x;{SECRET};note-of-P2
"""


def test_a_dropped_file_names_a_profile_and_what_was_sent_is_sealed_masked_and_erased(
    delivered: str,
) -> None:
    async def scenario(box: Box) -> None:
        columns = {"Name": "Surname", "Geschlecht": "Gender", "NI": "UKPayrollDetails.NINumber"}
        text = a_profile(columns=columns, values={"Gender": {"entries": {"M": 1}}})
        gateway = box.gateway
        await gateway.profiles.set(box.tenant, "payroll", text)
        result = await box.imported(WORKERS_CSV.encode(), "workers@Payroll/a.csv")
        assert result["profile"] == {"name": "payroll", "version": 1}
        assert (result["rows"]["new"], result["rows"]["failed"]) == (1, 1)
        [message] = [each for each in result["failed"][0]["messages"] if each["errorID"] == 1010]
        assert (message["fieldName"], message["sentAs"]) == ("Gender", "Geschlecht")
        [failed] = await box.failed_rows()
        assert [failed[name] for name in ("Nr", "Geschlecht", "NI", "Notiz")] == [
            *("P2", "x", "***456C", "***f-P2")
        ]

        async def payload() -> tuple[str, str]:
            """What is stored of the rows, as it lies there and as it is read."""
            record = (await box.imports())[0].record
            row = record_row(record.number)
            raw = await gateway.account.unsealed_tables.get(IMPORTS, box.tenant, row)
            return str(raw), record.inline

        raw, lines = await payload()
        assert SECRET not in raw
        assert "note-of" not in raw
        assert lines.count(SECRET) == 4
        person = Identity(IdentityKind.WORKER, ("E1", "P2"))
        await gateway.persons.erase(box.tenant, [person])
        _, lines = await payload()
        assert "note-of-P1" in lines
        assert "note-of-P2" not in lines
        record = (await box.imports())[0].record
        assert [rows async for rows in gateway.failed_rows.chunks(record)] == []
        assert (await gateway.reporting.unmapped_values(record)).sorted() == []

    boxes(delivered, scenario)


REF = "012-34-5678"


def test_no_copy_of_a_dropped_file_is_left_that_names_an_erased_person(delivered: str) -> None:
    async def scenario(box: Box) -> None:
        person = Identity(IdentityKind.WORKER, ("E1", REF))
        text = a_profile(columns={"Name": "Surname"}, skip={"Aus": "any"})
        await box.gateway.profiles.set(box.tenant, "payroll", text)
        locked = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le")
        sheet = BytesIO()
        with xlsxwriter.Workbook(sheet) as book:
            shown = book.add_format({"num_format": r"000\-00\-0000"})
            rows = book.add_worksheet()
            rows.write_row(0, 0, ["Mandant", "Nr", "Name"])
            rows.write_row(1, 0, ["E1", 12345678, "Faulty-key"], shown)
        header = "Mandant;Nr;Name;Aus\n"
        files = {
            "workers@payroll/skipped.csv": f"{header}E1;{REF};Left;x\nE1;P8;Other;\n".encode(),
            "workers@payroll/all-skipped.csv": f"{header}E1;{REF};Left;x\n".encode(),
            "workers@payroll/faulty.xlsx": sheet.getvalue(),
            "workers/refused.csv": f"nothing\n{REF}\n".encode(),
            "workers/locked.xlsx": locked,
            "workers/others.csv": b"nothing\n012\n2012-34-56\n5678,34\n",
        }
        for path, content in files.items():
            await box.drops.import_drop(await box.put(content, path))
        await box.stage.drain()
        assert await box.is_settled()
        waiting = await box.put(locked, "workers/waits.xlsx")
        with pytest.raises(ConflictError, match=r"waits and cannot be searched: .*waits\.xlsx"):
            await box.gateway.persons.erase(box.tenant, [person])
        await box.box.delete_blob(waiting)

        erased = await box.gateway.persons.erase(box.tenant, [person])
        assert erased.report.counts == {
            "dropped files": 4,
            "results of dropped files": 3,
            "dropped files that cannot be searched": 1,
            "imports": 1,
            "rows of payloads": 1,
            "results of rows": 1,
        }
        left = {each for name in (ROW_DONE, ROW_REJECTED) for each in await box.names(name)}
        assert [name.split("/")[3] for name in left] == ["others.csv"]
        for container in (ROW_DONE, ROW_REJECTED, ROW_RESULTS):
            for name in await box.names(container):
                assert REF.encode() not in await box.read(container, name), name
        for report in await box.imports():
            if report.record.type_name == WORKERS.name:
                assert "Faulty-key" not in report.record.inline
                assert "12345678" not in report.record.inline
        again = await box.gateway.persons.erase(box.tenant, [person])
        assert again.report.counts == {}

    boxes(delivered, scenario)
