// What the console does to a row that is corrected: run by test_foundation.py with Node.
import assert from "node:assert";
import { parseExactly } from "../../console/exact_numbers.js";
import { leavesOf, typesAt, valueAt, valueOfText, withValue } from "../../console/rows.js";

const row = parseExactly(
  '{"PayRate":12.10,"Big":123456789012345678901.123,"Rates":[{"RateCode":"A","PayRate":1.50}],"workerADDRESS":{"Postcode":"x"},"a.b":1}',
);

// Numbers keep every digit, and names match in any case.
assert.match(JSON.stringify(row), /12\.10,.*123456789012345678901\.123/);
assert.equal(valueAt(row, "WorkerAddress.Postcode"), "x");
assert.deepEqual(Object.keys(withValue(row, "WorkerAddress.Postcode", "LS1").workerADDRESS), ["Postcode"]);
assert.equal(valueAt(row, "a.b"), 1);
assert.deepEqual(leavesOf(row).map(([path]) => path), [
  "PayRate", "Big", "Rates[0].RateCode", "Rates[0].PayRate", "workerADDRESS.Postcode", "a.b",
]);

// The schema decides what a typed text means.
const amount = valueOfText("2.50", new Set(["number", "null"]), valueAt(row, "Rates[0].PayRate"));
assert.match(JSON.stringify(withValue(row, "Rates[0].PayRate", amount)), /"PayRate":2\.50/);
assert.equal(valueOfText("007", new Set(["string", "null"]), "6"), "007");
assert.equal(valueOfText("female", new Set(["integer", "null"]), "male"), "female");
assert.equal(valueOfText("null", new Set(["integer", "null"]), 1), null);
assert.equal(valueOfText("true", new Set(["boolean"]), "yes"), true);
assert.equal(valueOfText("", new Set(["string"]), "6"), undefined);
assert.equal("PayRate" in withValue(row, "PayRate", undefined), false);
const schema = {
  $defs: { Address: { properties: { Postcode: { anyOf: [{ type: "string" }, { type: "null" }] } } } },
  properties: { WorkerAddress: { anyOf: [{ $ref: "#/$defs/Address" }, { type: "null" }] } },
};
assert.deepEqual([...typesAt(schema, "workeraddress.postcode")], ["string", "null"]);

// A hostile name changes no other object.
withValue(JSON.parse('{"__proto__":{"x":1}}'), "__proto__.y", "z");
withValue({}, "constructor.prototype.y", "z");
assert.equal({}.y, undefined);
