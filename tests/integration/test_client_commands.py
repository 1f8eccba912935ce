"""`manage.py client` and `manage.py signing-key`, as people and programs call them."""

from __future__ import annotations

import uuid

import pytest

from tests.integration.manage import Manage

pytestmark = pytest.mark.integration


def test_clients_are_added_listed_and_revoked(manage: Manage, tenant: str) -> None:
    where = ("client", "add", "--tenant", tenant, "--scope", "import_inbox")
    name = f"Büro {uuid.uuid4()}"
    added = manage.document(*where, "--name", name, "--scope", "import_authdata")
    assert (added["clientId"], added["tenant"]) == (name, tenant)
    assert added["scopes"] == ["import_authdata", "import_inbox"]
    assert added.pop("clientSecret").startswith("pigs_")

    guid = str(uuid.uuid4())
    registered = manage.document(*where, "--client-id", guid.upper(), "--name", "HR")
    assert (registered["clientId"], registered["name"]) == (guid, "HR")
    assert (registered["identityProvider"], "clientSecret" in registered) == ("entra", False)

    listed = manage.document("client", "list", "--tenant", tenant)["clients"]
    assert listed == sorted([added, registered], key=lambda client: str(client["clientId"]))
    assert manage.document("client", "revoke", name) == added
    again = manage.run("client", "revoke", name)
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr.startswith("There is no client of this id")


def test_a_secret_is_shown_once(manage: Manage, tenant: str) -> None:
    ran = manage.run("client", "add", "--tenant", tenant, "--scope", "import_inbox")
    assert f"Client id      {tenant}-" in ran.stdout
    assert "Client secret  pigs_" in ran.stdout
    assert "shown only here" in ran.stdout


def test_signing_keys_are_rotated_with_overlap_or_at_once(manage: Manage) -> None:
    rotated = manage.document("signing-key", "rotate")["keys"]
    assert (rotated[0]["endsAt"], bool(rotated[1]["endsAt"])) == (None, True)
    assert "PRIVATE" not in str(rotated)
    [left] = manage.document("signing-key", "rotate", "--at-once")["keys"]
    assert left["kid"] not in [key["kid"] for key in rotated]
