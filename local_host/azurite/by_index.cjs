// Loaded into the emulator before its own script. The emulator looks an entity up by comparing the
// row keys of its whole partition, answers a query by going through the whole table, and keeps two
// sorted lists of all entities, so each write of a large import would take longer than the one before.
// Here the entities of a table are in a map by partition key and row key instead.
"use strict";

const Module = require("module");

const PARTITION = /^PartitionKey eq '((?:[^']|'')*)'(?: and |$)/;

// What a query of the emulator asks of a chain, for the entities of one partition.
class Chain {
  constructor(entities) {
    this.entities = entities;
  }
  where(isWanted) {
    return new Chain(this.entities.filter(isWanted));
  }
  sort(compare) {
    return new Chain(this.entities.sort(compare));
  }
  limit(most) {
    return new Chain(this.entities.slice(0, most));
  }
  data() {
    return this.entities;
  }
}

function byKeys(collection) {
  const partitions = new Map();
  const keep = (entity) => {
    const partition = partitions.get(entity.PartitionKey);
    if (partition === undefined) {
      partitions.set(entity.PartitionKey, new Map([[entity.RowKey, entity]]));
    } else {
      partition.set(entity.RowKey, entity);
    }
  };
  const drop = ({ PartitionKey, RowKey }) => {
    const partition = partitions.get(PartitionKey);
    if (partition !== undefined && partition.delete(RowKey) && partition.size === 0) {
      partitions.delete(PartitionKey);
    }
  };
  collection.data.forEach(keep);
  collection.binaryIndices = {};
  collection.on(["insert", "update"], keep);
  collection.on("delete", drop);
  return partitions;
}

function useIndexes(Store) {
  const tables = new WeakMap();
  const getCollection = Store.prototype.getEntityCollection;
  const queryEntities = Store.prototype.queryTableEntities;
  Store.prototype.getEntityCollection = function (...args) {
    const collection = getCollection.apply(this, args);
    if (!tables.has(collection)) {
      const partitions = byKeys(collection);
      tables.set(collection, partitions);
      const findOne = ({ PartitionKey, RowKey }) =>
        partitions.get(PartitionKey)?.get(RowKey) ?? null;
      Object.defineProperty(collection, "findOne", { value: findOne });
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
          const entities = tables.get(collection).get(PartitionKey);
          return { chain: () => new Chain(entities === undefined ? [] : [...entities.values()]) };
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
