// The tests of the client. They need nothing but the variables of `dev.py run --env`:
//
//   node --env-file=gateway.env --test standin/examples/node/payroll_client.test.mjs
import assert from "node:assert/strict";
import { test } from "node:test";
import { PayrollClient, RefusedError } from "./payroll_client.mjs";

const STANDIN = process.env.GATEWAY_STANDIN_URL;
const ADA = { EmployerRef: "E1", PersonnelRef: "1", Surname: "Lovelace" };
const NO_NAME = { EmployerRef: "E1", PersonnelRef: "2" };

async function control(method, path, body) {
  const response = await fetch(`${STANDIN}${path}`, {
    method,
    headers: { "Content-Type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const document = await response.json();
  assert.ok(response.ok, JSON.stringify(document));
  return document;
}

// Each test has a tenant of its own, so tests can run side by side.
async function newTenant() {
  const made = await control("POST", "/tenants", {});
  const client = new PayrollClient({
    GATEWAY_URL: process.env.GATEWAY_URL,
    GATEWAY_FUNCTIONS_KEY: made.functionsKey,
    GATEWAY_SOFTWARE_KEY: made.softwareKey,
  });
  const tenant = made.tenant;
  return {
    client,
    breakCalls: (fault, times) =>
      control("POST", "/faults", { path: "/api/import/*", tenant, times, fault }),
    requests: async () => (await control("GET", `/requests?tenant=${tenant}`)).items,
  };
}

test("the keys of the file import rows", async () => {
  const results = await new PayrollClient().importWorkers([ADA]);
  assert.deepEqual(results.map((row) => row.importStatus), ["OK"]);
});

test("a call whose answer was lost is repeated under the same key", async () => {
  const { client, breakCalls, requests } = await newTenant();
  await breakCalls({ lost: "after" }, 1);
  const results = await client.importWorkers([ADA, NO_NAME]);
  assert.deepEqual(results.map((row) => row.importStatus), ["OK", "Error"]);
  const keys = (await requests()).map((call) => call.headers["idempotency-key"]);
  assert.equal(keys.length, 2);
  assert.equal(keys[0], keys[1]);
});

test("the rows of a 202 are waited for", async () => {
  const { client, breakCalls } = await newTenant();
  await breakCalls({ accepted: true });
  const results = await client.importWorkers([NO_NAME]);
  assert.deepEqual(results.map((row) => row.importStatus), ["Error"]);
});

test("a 403 is an error with its cause and is not repeated", async () => {
  const { client, breakCalls, requests } = await newTenant();
  await breakCalls({ status: 403, cause: "database" });
  await assert.rejects(client.importWorkers([ADA]), (error) => {
    return error instanceof RefusedError && error.message.includes("Database not active");
  });
  assert.equal((await requests()).length, 1);
});
