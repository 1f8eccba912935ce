// Loaded into the emulator before its own script. To delete the row ROW of a partition deletes the
// partition and those of its groups ("tenant|group") at once, and of the partition "*" everything: a
// reset has a second, and the emulator takes a millisecond and more for each entity.
"use strict";

const Module = require("module");

const ROW = "standin: the whole partition";

const load = Module._load;
Module._load = function (request, ...rest) {
  const loaded = load.call(this, request, ...rest);
  if (request.endsWith("LokiTableMetadataStore") && !loaded.default.prototype.deletesPartitions) {
    const deleteEntity = loaded.default.prototype.deleteTableEntity;
    loaded.default.prototype.deletesPartitions = true;
    loaded.default.prototype.deleteTableEntity = async function (context, table, account, ...keys) {
      const [partition, row] = keys;
      if (row !== ROW) {
        return deleteEntity.call(this, context, table, account, ...keys);
      }
      const collection = this.getEntityCollection(account, table, context);
      const isOfPartition = (entity) =>
        partition === "*" ||
        entity.PartitionKey === partition ||
        entity.PartitionKey.startsWith(`${partition}|`);
      collection.removeWhere(isOfPartition);
    };
  }
  return loaded;
};
