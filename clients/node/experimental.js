// ExperimentalService: bulk calls and counters; what it has of schemas is in schemas.js.
"use strict";
const { full, load, ofType, rel, said, sleep, v1, write, PATIENCE_MS } = require("./harness");
const { RELATIONSHIPS, furnish } = require("./world");

async function bulkCalls(t, client) {
  const { promises } = client;
  const token = await furnish(client);
  const items = ["tom", "bob", "eve"].map((user) => rel(`document:readme#view@user:${user}`));
  items.push(rel("document:readme#nothing@user:tom"));
  const request = v1.BulkCheckPermissionRequest.create({
    consistency: full,
    items: items.map(({ resource, relation, subject }) =>
      v1.BulkCheckPermissionRequestItem.create({ resource, permission: relation, subject })),
  });
  const { pairs, checkedAt } = await promises.bulkCheckPermission(request);
  const json = (items) => items.map((i) => v1.BulkCheckPermissionRequestItem.toJson(i));
  t.same("BulkCheckPermission: requests", json(pairs.map((p) => p.request)), json(request.items));
  t.same("BulkCheckPermission: answers", pairs.slice(0, 3).map((p) => p.response.item.permissionship), [2, 1, 3]);
  const missing = pairs[2].response.item.partialCaveatInfo.missingRequiredContext;
  t.same("BulkCheckPermission: missing", missing, ["level"]);
  t.same("BulkCheckPermission: an item's error", pairs[3].response.error.code, 9);
  t.same("BulkCheckPermission: at", checkedAt, token);

  const more = Array.from({ length: 25 }, (_, n) => `document:b${String(n).padStart(2, "0")}#viewer@user:u${n}`);
  const messages = [0, 10, 20].map((at) =>
    v1.BulkImportRelationshipsRequest.create({ relationships: more.slice(at, at + 10).map(rel) }));
  t.same("BulkImportRelationships", (await load(client, "bulkImportRelationships", messages)).numLoaded, "25");
  const exported = (rest) =>
    promises.bulkExportRelationships(v1.BulkExportRelationshipsRequest.create({ consistency: full, ...rest }));
  const flat = (found) => found.flatMap((m) => m.relationships.map(said));
  const found = await exported({ optionalLimit: 7 });
  t.same("BulkExportRelationships", flat(found).sort(), [...RELATIONSHIPS, ...more].sort());
  t.same("BulkExportRelationships: at most a limit", found.every((m) => m.relationships.length <= 7), true);
  const rest = await exported({ optionalLimit: 7, optionalCursor: found[0].afterResultCursor });
  const whole = [...flat(found.slice(0, 1)), ...flat(rest)].sort();
  t.same("BulkExportRelationships behind a cursor", whole, [...RELATIONSHIPS, ...more].sort());
  const groups = flat(await exported({ optionalRelationshipFilter: ofType("group") })).sort();
  t.same("BulkExportRelationships of a filter", groups, RELATIONSHIPS.filter((of) => of.startsWith("group:")).sort());
  const again = [v1.BulkImportRelationshipsRequest.create({ relationships: [rel(more[0])] })];
  await t.refused("BulkImportRelationships of what is there", () => load(client, "bulkImportRelationships", again),
    "ALREADY_EXISTS", "ATTEMPT_TO_RECREATE_RELATIONSHIP", {
      relationship: more[0], resource_type: "document", resource_object_id: "b00", resource_relation: "viewer",
      subject_type: "user", subject_object_id: "u0", subject_relation: "",
    });
}

async function counters(t, client) {
  const { promises } = client;
  await furnish(client);
  const register = (name, rest = {}) =>
    promises.experimentalRegisterRelationshipCounter({ name, relationshipFilter: ofType("document", rest) });
  const unregister = (name) => promises.experimentalUnregisterRelationshipCounter({ name });
  const counted = async (name, done) => {
    for (const until = Date.now() + PATIENCE_MS; ; await sleep(200)) {
      const { counterResult } = await promises.experimentalCountRelationships({ name });
      const value = counterResult.readCounterValue;
      if ((value && done(value)) || Date.now() > until) return value;
    }
  };
  await register("documents");
  await register("banned", { optionalRelation: "banned" });
  t.same("a counter of a type", (await counted("documents", () => true)).relationshipCount, "10");
  const banned = await counted("banned", () => true);
  t.same("a counter of a relation", banned.relationshipCount, "2");
  t.same("a counter's revision", Boolean(banned.readAt.token), true);
  await promises.writeRelationships(write(["document:plan#banned@user:x"]));
  const more = await counted("banned", (value) => value.relationshipCount === "3");
  t.same("a counter counts on", more.relationshipCount, "3");
  const twice = ["resource_type", "resource_id", "resource_id_prefix", "relation", "subject_type", "subject_id", "subject_relation"];
  await t.refused("a counter registered twice", () => register("documents"), "FAILED_PRECONDITION",
    "COUNTER_ALREADY_REGISTERED", { counter_name: "documents" }, twice.map((key) => `new_filter_${key}`));
  await unregister("documents");
  await unregister("banned");
  for (const call of [() => promises.experimentalCountRelationships({ name: "documents" }), () => unregister("documents")]) {
    await t.refused("a counter that is not there", call, "FAILED_PRECONDITION", "COUNTER_NOT_REGISTERED",
      { counter_name: "documents" });
  }
}

module.exports = { bulkCalls, counters };
