// Loaded into the emulator before its own script. The emulator looks an entity up by comparing the
// row keys of its whole partition, and answers a query by going through the whole table, so each
// write of a large import would take longer than the one before. Both have an index: a look-up begins
// with the key that fewer entities have, and a query of one partition reads only that.
"use strict";

const Module = require("module");

const PARTITION = /^PartitionKey eq '((?:[^']|'')*)'(?: and |$)/;

function count(collection, key, value) {
  const [first, last] = collection.calculateRange("$eq", key, value);
  return last - first + 1;
}

function findFewest(collection, query) {
  const { PartitionKey, RowKey, ...rest } = query;
  const isOther = PartitionKey === undefined || RowKey === undefined || Object.keys(rest).length > 0;
  const rows = isOther ? 0 : count(collection, "RowKey", RowKey);
  return isOther || count(collection, "PartitionKey", PartitionKey) <= rows
    ? query
    : { RowKey, PartitionKey };
}

function useIndexes(Store) {
  const getCollection = Store.prototype.getEntityCollection;
  const queryEntities = Store.prototype.queryTableEntities;
  Store.prototype.getEntityCollection = function (...args) {
    const collection = getCollection.apply(this, args);
    if (!collection.findsByIndex) {
      const findOne = collection.findOne;
      Object.defineProperty(collection, "findsByIndex", { value: true });
      Object.defineProperty(collection, "findOne", {
        value: (query) => findOne.call(collection, findFewest(collection, query)),
      });
    }
    return collection;
  };
  Store.prototype.queryTableEntities = function (context, account, table, options, ...next) {
    const filter = (options && options.filter) || "";
    const partition = PARTITION.exec(filter);
    if (partition === null || / or /i.test(filter)) {
      return queryEntities.call(this, context, account, table, options, ...next);
    }
    const PartitionKey = partition[1].replaceAll("''", "'");
    const narrowed = Object.create(this, {
      getEntityCollection: {
        value: (...args) => {
          const collection = this.getEntityCollection(...args);
          return { chain: () => collection.chain().find({ PartitionKey }) };
        },
      },
    });
    return queryEntities.call(narrowed, context, account, table, options, ...next);
  };
}

const load = Module._load;
Module._load = function (request, ...rest) {
  const loaded = load.call(this, request, ...rest);
  if (request.endsWith("LokiTableMetadataStore") && !loaded.default.usesIndexes) {
    loaded.default.usesIndexes = true;
    useIndexes(loaded.default);
  }
  return loaded;
};
