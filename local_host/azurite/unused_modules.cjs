// Loaded before the emulator. Half of its start is loading what it does not use here: telemetry,
// which is off, databases, since AZURITE_DB is not set, and the cookies of a client. In the place of
// these packages it gets empty classes.
"use strict";

const Module = require("module");

const UNUSED = new Set(["applicationinsights", "sequelize", "tough-cookie"]);
const EMPTY = new Proxy({}, { get: () => class Unused {} });
const load = Module._load;

Module._load = function (request, ...rest) {
  return UNUSED.has(request) ? EMPTY : load.call(this, request, ...rest);
};
