// WatchService: from now, from a token, from the beginning; kinds, filters, metadata and resuming.
"use strict";
const { DELETE, PATIENCE_MS, TOUCH, grpc, metadataOf, ofType, said, struct, updates, v1, write } = require("./harness");
const { RELATIONSHIPS, SCHEMA, furnish } = require("./world");

/** The first `count` messages of a watch; `act` is done once it has begun. */
function take(client, count, request, { metadata = {}, act } = {}) {
  return new Promise((resolve, reject) => {
    const options = { deadline: Date.now() + PATIENCE_MS };
    const stream = client.watch(v1.WatchRequest.create(request), metadataOf(metadata), options);
    const found = [];
    if (act) stream.on("metadata", () => setTimeout(() => act().catch(reject), 300));
    stream.on("data", (message) => {
      found.push(message);
      if (found.length === count) {
        stream.cancel();
        resolve(found);
      }
    });
    stream.on("error", (error) => error.code === grpc.status.CANCELLED || reject(error));
  });
}

const told = (message) =>
  message.updates.map((u) => `${v1.RelationshipUpdate_Operation[u.operation]} ${said(u.relationship)}`).sort();

async function watch(t, client) {
  const { promises } = client;
  const start = await furnish(client);
  const meta = { why: "a test", number: 7 };
  const at = async (request) => (await promises.writeRelationships(request)).writtenAt;
  const one = await at(write(["document:a#owner@user:w"], { optionalTransactionMetadata: struct(meta) }));
  const both = [...updates(TOUCH, "document:b#owner@user:w"), ...updates(DELETE, "document:a#owner@user:w")];
  const two = await at(v1.WriteRelationshipsRequest.create({ updates: both }));
  const three = await at(write(["group:g#member@user:w"]));

  const found = await take(client, 3, { optionalStartCursor: start });
  t.same("from a token: updates", found.map(told), [
    ["TOUCH document:a#owner@user:w"],
    ["DELETE document:a#owner@user:w", "TOUCH document:b#owner@user:w"],
    ["TOUCH group:g#member@user:w"],
  ]);
  t.same("from a token: revisions", found.map((m) => m.changesThrough), [one, two, three]);
  t.same("transaction metadata", v1.PbStruct.toJson(found[0].optionalTransactionMetadata), meta);
  t.same("full revision metadata", found[0].fullRevisionMetadata.map((m) => v1.PbStruct.toJson(m)), [meta]);
  t.same("no metadata where none was given", found[1].optionalTransactionMetadata, undefined);
  const rest = await take(client, 2, { optionalStartCursor: found[0].changesThrough });
  t.same("resuming from a message", rest.map((m) => m.changesThrough), [two, three]);
  const groups = await take(client, 1, { optionalStartCursor: start, optionalObjectTypes: ["group"] });
  t.same("object types", groups.map(told), [["TOUCH group:g#member@user:w"]]);
  const filters = [ofType("document", { optionalResourceId: "b" }), ofType("group")];
  const filtered = await take(client, 2, { optionalStartCursor: start, optionalRelationshipFilters: filters });
  t.same("filters", filtered.map(told), [["TOUCH document:b#owner@user:w"], ["TOUCH group:g#member@user:w"]]);
  const subject = ofType("", {
    optionalSubjectFilter: v1.SubjectFilter.create({ subjectType: "user", optionalSubjectId: "late" }),
  });
  const now = await take(client, 1, { optionalRelationshipFilters: [subject] }, {
    act: () => at(write(["group:g#member@user:late", "group:g#member@user:other"])),
  });
  t.same("from now, by subject", now.map(told), [["TOUCH group:g#member@user:late"]]);

  const { INCLUDE_RELATIONSHIP_UPDATES, INCLUDE_SCHEMA_UPDATES, INCLUDE_CHECKPOINTS } = v1.WatchKind;
  const writeSchema = (schema) => promises.writeSchema(v1.WriteSchemaRequest.create({ schema }));
  const { writtenAt } = await writeSchema(SCHEMA + "definition folder {}\n");
  const kinds = (...optionalUpdateKinds) => ({ optionalStartCursor: start, optionalUpdateKinds });
  const [schema] = await take(client, 1, kinds(INCLUDE_SCHEMA_UPDATES));
  t.same("schema updates alone", [schema.schemaUpdated, schema.changesThrough, schema.updates], [true, writtenAt, []]);
  await writeSchema(SCHEMA);
  const head = await at(write(["group:g#member@user:head"]));
  const [mark] = await take(client, 1, kinds(INCLUDE_CHECKPOINTS));
  t.same("checkpoints alone", [mark.isCheckpoint, mark.changesThrough, mark.updates], [true, head, []]);
  const all = await take(client, 8, kinds(INCLUDE_RELATIONSHIP_UPDATES, INCLUDE_SCHEMA_UPDATES, INCLUDE_CHECKPOINTS));
  const kind = (m) => (m.isCheckpoint ? "checkpoint" : m.schemaUpdated ? "schema" : "updates");
  const four = Array(4).fill("updates");
  t.same("all kinds in order", all.map(kind), [...four, "schema", "schema", "updates", "checkpoint"]);

  await furnish(client);
  const last = await at(write(["group:g#member@user:last"]));
  const begun = await take(client, 2, {}, {
    metadata: { "idhini-watch-from": "beginning" },
    act: () => at(write(["group:g#member@user:later"])),
  });
  const there = [...RELATIONSHIPS, "group:g#member@user:last"].map((of) => `TOUCH ${of}`).sort();
  t.same("from the beginning: what is there", told(begun[0]), there);
  t.same("from the beginning: its revision", begun[0].changesThrough, last);
  t.same("from the beginning: then changes", told(begun[1]), ["TOUCH group:g#member@user:later"]);

  const types = { optionalObjectTypes: ["group"], optionalRelationshipFilters: [ofType("group")] };
  const from = (token) => ({ optionalStartCursor: v1.ZedToken.create({ token }) });
  for (const [name, request, code] of [
    ["types and filters", types, "INVALID_ARGUMENT"],
    ["an unknown kind", { optionalUpdateKinds: [9] }, "INVALID_ARGUMENT"],
    ["a token of another server", from("GhUKEzE3MDAwMDAwMDAwMDAwMDAwMDA="), "OUT_OF_RANGE"],
    ["no token at all", from("garbage"), "INVALID_ARGUMENT"],
  ]) {
    await t.refused(name, () => take(client, 1, request), code);
  }
}

module.exports = { watch };
