// Loaded into the emulator before its own script. The service gives out the name of a blob that XML
// cannot hold percent-encoded, as <Name Encoded="true">. The emulator answers the whole list with 500
// instead, and then neither a blob trigger nor a sweep finds any blob of that container.
"use strict";

const Module = require("module");

const ILLEGAL =
  /[\0-\x08\x0B\f\x0E-\x1F\uFFFE\uFFFF]|[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/;

function encodeName(item) {
  if (typeof item.Name === "string" && ILLEGAL.test(item.Name)) {
    item.Name = { $: { Encoded: "true" }, _: encodeURIComponent(item.Name.toWellFormed()) };
  }
}

// The emulator's marker is the last name of a page. A tab is the smallest character that comes behind
// most illegal ones and that XML can hold; what such a marker passes over comes with the next list.
function cutMarker(marker) {
  const found = typeof marker === "string" ? marker.search(ILLEGAL) : -1;
  return found < 0 ? marker : marker.slice(0, found) + (marker[found] < "\t" ? "\t" : "\uFFFD");
}

function encodeList(body) {
  for (const kind of ["Blob", "BlobPrefix"]) {
    const items = body.Blobs && body.Blobs[kind];
    for (const item of Array.isArray(items) ? items : items ? [items] : []) {
      encodeName(item);
    }
  }
  body.NextMarker = cutMarker(body.NextMarker);
  body.Marker = cutMarker(body.Marker);
}

const load = Module._load;
Module._load = function (request, ...rest) {
  const loaded = load.call(this, request, ...rest);
  if (request === "xml2js" && !loaded.Builder.prototype.encodesNames) {
    const build = loaded.Builder.prototype.buildObject;
    loaded.Builder.prototype.encodesNames = true;
    loaded.Builder.prototype.buildObject = function (body) {
      if (this.options.rootName === "EnumerationResults" && body && body.Blobs) {
        encodeList(body);
      }
      return build.call(this, body);
    };
  }
  return loaded;
};
