"""What a test has of the gateway: a tenant of its own, and the control calls for it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from payroll_gateway_standin.calls import Answer, StandinError, call, control_call, describe

# The stand-in neither journals nor breaks a call with this header.
_OBSERVER = {"X-Standin-Observer": "1"}


@dataclass(frozen=True)
class Request:
    """A call of the client under test, as the gateway's journal has it; secrets are masked.

    `fault` is the fault that was applied to it. `status` is 0 where no answer was sent. `body` and
    `answer` are "" where they were not text.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: str
    status: int
    answer: str
    import_id: str
    fault: Mapping[str, Any] | None
    at: str
    milliseconds: float
    entry: Mapping[str, Any]

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @classmethod
    def from_entry(cls, entry: Mapping[str, Any]) -> Request:
        """The request of an entry of the journal."""
        return cls(
            method=entry["method"],
            path=entry["path"],
            headers=entry["headers"],
            body=entry["body"].get("text", ""),
            status=entry["status"] or 0,
            answer=entry["answer"].get("text", ""),
            import_id=entry["importId"] or "",
            fault=entry["fault"],
            at=entry["at"],
            milliseconds=entry["milliseconds"] or 0.0,
            entry=entry,
        )


class Faults:
    """Rules that break the calls of one tenant."""

    def __init__(self, url: str, tenant: str) -> None:
        self._url = f"{url}/_standin/faults"
        self._tenant = tenant

    def add(
        self,
        path: str,
        *,
        status: int | None = None,
        retry_after: int | None = None,
        cause: str | None = None,
        delay: float | None = None,
        accepted: bool = False,
        cut_before: bool = False,
        lost_after: bool = False,
        method: str | None = None,
        times: int | None = None,
        probability: float | None = None,
        seed: int | None = None,
    ) -> str:
        """Break the calls to a path such as `/api/import/*`; returns the id of the rule.

        `status` answers with the gateway's own refusal, without the work: `retry_after` goes with
        429 and 503, `cause` with 403. `accepted` makes the gateway answer 202. `cut_before` cuts
        the connection before the work, `lost_after` after it. `delay` waits so many seconds before.
        `times` calls are broken, by default all.
        """
        fault = {
            "status": status,
            "retryAfter": retry_after,
            "cause": cause,
            "delay": delay,
            "accepted": True if accepted else None,
            "cut": "before" if cut_before else None,
            "lost": "after" if lost_after else None,
        }
        rule = {
            "path": path,
            "method": method,
            "times": times,
            "probability": probability,
            "seed": seed,
            "tenant": self._tenant,
            "fault": _without_none(fault),
        }
        return str(control_call("POST", self._url, _without_none(rule))["ids"][0])

    def rules(self) -> Sequence[Mapping[str, Any]]:
        """The rules of this tenant, each with how often it was applied."""
        document = control_call("GET", f"{self._url}?tenant={self._tenant}")
        rules: Sequence[Mapping[str, Any]] = document["items"]
        return rules

    def remove(self, rule_id: str) -> None:
        """Remove one rule."""
        control_call("DELETE", f"{self._url}/{rule_id}")

    def clear(self) -> None:
        """Remove the rules of this tenant."""
        control_call("DELETE", f"{self._url}?tenant={self._tenant}")


class Clock:
    """The gateway's clock, which all tenants share.

    Only a test with the mark `payroll_gateway_alone` moves it: no other test uses the gateway then.
    """

    def __init__(self, url: str, *, is_alone: bool) -> None:
        self._url = f"{url}/_standin/clock"
        self._is_alone = is_alone

    @property
    def ahead(self) -> float:
        """By how many seconds it is ahead of the machine's clock."""
        return float(control_call("GET", self._url)["ahead"])

    def advance(self, seconds: float) -> None:
        """Let the gateway's clock run ahead by so many seconds more."""
        _check_alone(self._is_alone, "All tests share the gateway's clock")
        control_call("POST", self._url, {"advance": seconds})

    def restore(self) -> None:
        """Set the clock right if it is ahead; the fixture does this before and after a test."""
        if self.ahead:
            control_call("DELETE", self._url)


class Snapshots:
    """What is stored, kept in files that can be committed (docs/stand-in.md#snapshots).

    A snapshot is of all tenants, so only a test with the mark `payroll_gateway_alone` saves or
    loads one.
    """

    def __init__(
        self, url: str, tenant: str, variables: Mapping[str, str], *, is_alone: bool
    ) -> None:
        self._url = f"{url}/_standin/snapshots"
        self._gateway = url
        self._variables = variables
        self._is_alone = is_alone
        # The tenants of this test, each with its rules.
        self._rules = {tenant: Faults(url, tenant)}

    def save(self, name: str) -> None:
        """Keep what is stored now under this name."""
        self._check_alone()
        control_call("POST", f"{self._url}/{quote(name, safe='')}")

    def load(self, name: str) -> list[TenantGateway]:
        """Replace what is stored, tenants too, by the snapshot; returns the tenants in it."""
        self._check_alone()
        tenants = control_call("POST", f"{self._url}/{quote(name, safe='')}/load")["tenants"]
        loaded = [
            TenantGateway(self._gateway, each, self._variables, is_alone=self._is_alone)
            for each in tenants
        ]
        for each in loaded:
            each.snapshots._rules = self._rules
            if each.tenant not in self._rules:
                # An earlier test may have loaded the same tenant.
                self._rules[each.tenant] = each.faults
                each.faults.clear()
                control_call("DELETE", f"{self._gateway}/_standin/requests?tenant={each.tenant}")
        return loaded

    def names(self) -> Sequence[str]:
        """The names of the snapshots."""
        return [item["name"] for item in control_call("GET", self._url)["items"]]

    def delete(self, name: str) -> None:
        """Delete a snapshot."""
        control_call("DELETE", f"{self._url}/{quote(name, safe='')}")

    def clear_rules(self) -> None:
        """Remove the rules of the test's tenant and of those that it has loaded."""
        for rules in self._rules.values():
            rules.clear()

    def _check_alone(self) -> None:
        _check_alone(self._is_alone, "A snapshot is of what all tests have stored")


class TenantGateway:
    """A tenant of the gateway, with the keys of an integration and of a client for tokens."""

    def __init__(
        self, url: str, made: Mapping[str, Any], variables: Mapping[str, str], *, is_alone: bool
    ) -> None:
        """`made` is what the stand-in answered when it made the tenant."""
        self.url = url
        self.tenant = str(made["tenant"])
        self.functions_key = str(made["functionsKey"])
        self.software_key = str(made["softwareKey"])
        self.client_id = str(made["clientId"])
        self.client_secret = str(made["clientSecret"])
        self.token_url = f"{url}/connect/token"
        self.communication_round = str(made.get("communicationRound", ""))
        self.storage = variables.get("GATEWAY_STORAGE", "")
        self.faults = Faults(url, self.tenant)
        self.clock = Clock(url, is_alone=is_alone)
        self.snapshots = Snapshots(url, self.tenant, variables, is_alone=is_alone)

    @property
    def headers(self) -> dict[str, str]:
        """The key pair as headers of a call."""
        return {"X-Functions-Key": self.functions_key, "X-Software-Key": self.software_key}

    @property
    def environment(self) -> dict[str, str]:
        """The variables of `dev.py run --env` for this tenant: for a client in another process."""
        return {
            "GATEWAY_URL": self.url,
            "GATEWAY_STANDIN_URL": f"{self.url}/_standin",
            "GATEWAY_TOKEN_URL": self.token_url,
            "GATEWAY_TENANT": self.tenant,
            "GATEWAY_FUNCTIONS_KEY": self.functions_key,
            "GATEWAY_SOFTWARE_KEY": self.software_key,
            "GATEWAY_CLIENT_ID": self.client_id,
            "GATEWAY_CLIENT_SECRET": self.client_secret,
            "GATEWAY_STORAGE": self.storage,
        }

    def token(self, *scopes: str) -> str:
        """A token for the Authorization header; by default for all scopes of the client."""
        form = {
            "grant_type": "client_credentials",
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            **({"scope": " ".join(scopes)} if scopes else {}),
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded", **_OBSERVER}
        answer = call("POST", self.token_url, urlencode(form).encode(), headers)
        if answer.status != 200:
            raise StandinError(f"No token for {scopes}: {describe(answer)}")
        return str(answer.json()["access_token"])

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """A call of the test itself with the key pair: it is neither journaled nor broken."""
        return call(
            method, f"{self.url}{path}", body, {**self.headers, **_OBSERVER, **(headers or {})}
        )

    def records(self, kind: str, **filters: str) -> list[dict[str, Any]]:
        """The stored records of a type such as `workers`, as `/api/records` shows them."""
        return list(self._items(f"/api/records/{quote(kind, safe='')}", filters))

    def imports(self, **filters: str) -> list[dict[str, Any]]:
        """The imports of the tenant, newest first."""
        return list(self._items("/api/imports", filters))

    def results(self, import_id: str, **filters: str) -> list[dict[str, Any]]:
        """The result of each row of an import."""
        return list(self._items(f"/api/imports/{import_id}/results", filters))

    def requests(self, import_id: str = "", path: str = "") -> list[Request]:
        """The calls of the client under test, oldest first; those whose path contains `path`."""
        query = {"tenant": self.tenant, **({"import": import_id} if import_id else {})}
        entries = control_call("GET", f"{self.url}/_standin/requests?{urlencode(query)}")["items"]
        return [Request.from_entry(entry) for entry in entries if path in entry["path"]]

    def reset(self) -> None:
        """Delete what the tenant has stored, its journal and its faults; its keys stay."""
        control_call("POST", f"{self.url}/_standin/reset?tenant={self.tenant}")

    def _items(self, path: str, filters: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        query = dict(filters)
        while True:
            answer = self.call("GET", f"{path}?{urlencode(query)}")
            if answer.status != 200:
                raise StandinError(f"GET {path}: {describe(answer)}")
            page = answer.json()
            yield from page["items"]
            if not page.get("continuation"):
                return
            query["continuation"] = page["continuation"]


class PayrollGateway:
    """The gateway of the test run; `new_tenant` makes what the fixture `gateway` gives a test."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self.url = variables["GATEWAY_URL"]
        self.variables = variables

    def new_tenant(self, *, is_alone: bool = False, **properties: Any) -> TenantGateway:
        """A tenant that no other test knows. `properties` are those of `POST /_standin/tenants`.

        Its fault rules last until `faults.clear()`, its journal until `reset()`.
        """
        created = control_call("POST", f"{self.url}/_standin/tenants", properties)
        return TenantGateway(self.url, created, self.variables, is_alone=is_alone)


def _check_alone(is_alone: bool, reason: str) -> None:
    if not is_alone:
        raise StandinError(
            f"{reason}. Mark the test with @pytest.mark.payroll_gateway_alone, so that no other "
            "one uses the gateway meanwhile."
        )


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
