"""`manage.py client` and `manage.py signing-key`, as people and programs call them."""

from __future__ import annotations

import uuid

import pytest

from tests.integration.manage import Manage

pytestmark = pytest.mark.integration


def test_a_client_is_added_listed_and_revoked(manage: Manage, tenant: str) -> None:
    name = f"Büro {uuid.uuid4()}"
    scopes = ("--scope", "import_inbox", "--scope", "import_authdata")
    added = manage.document("client", "add", "--tenant", tenant, "--name", name, *scopes)
    assert (added["clientId"], added["tenant"]) == (name, tenant)
    assert added["scopes"] == ["import_authdata", "import_inbox"]
    assert added.pop("clientSecret").startswith("pigs_")
    assert manage.document("client", "list", "--tenant", tenant) == {"clients": [added]}
    assert manage.document("client", "revoke", name) == added
    again = manage.run("client", "revoke", name)
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr.startswith("There is no such client")


def test_a_secret_is_shown_once_and_entra_keeps_those_of_its_own(
    manage: Manage, tenant: str
) -> None:
    where = ("client", "add", "--tenant", tenant, "--scope", "import_inbox")
    ran = manage.run(*where)
    assert "shown only here" in ran.stdout
    guid = str(uuid.uuid4())
    registered = manage.document(*where, "--client-id", guid.upper(), "--name", "HR")
    assert (registered["clientId"], registered["name"]) == (guid, "HR")
    assert (registered["identityProvider"], "clientSecret" in registered) == ("entra", False)
    listed = manage.run("client", "list", "--tenant", tenant).stdout
    assert f"{tenant}-" in listed
    assert "kept by Entra" in listed
    assert "pigs_" not in listed


def test_a_scope_is_needed_and_must_be_one(manage: Manage, tenant: str) -> None:
    for words in ((), ("--scope", "admin")):
        ran = manage.run("client", "add", "--tenant", tenant, *words)
        assert (ran.returncode, ran.stdout) == (2, "")


def test_signing_keys_are_rotated_with_overlap_or_at_once(manage: Manage) -> None:
    rotated = manage.document("signing-key", "rotate")["keys"]
    assert (rotated[0]["endsAt"], bool(rotated[1]["endsAt"])) == (None, True)
    assert "PRIVATE" not in str(rotated)
    assert "No older key counts" in manage.run("signing-key", "rotate", "--at-once").stdout
    [left] = manage.document("signing-key", "list")["keys"]
    assert left["kid"] not in [key["kid"] for key in rotated]
