// Errors by reason: each that a client can provoke, with its status and metadata; docs/errors.md must say the same.
"use strict";
const fs = require("node:fs");
const path = require("node:path");
const { CREATE, check, codeOf, infoOf, ofType, ref, rel, struct, sub, updates, v1, write } = require("./harness");
const { SCHEMA, furnish } = require("./world");

const PAGE = path.join(__dirname, "..", "..", "docs", "errors.md");
// A caveat that takes more steps than a question may.
const HEAVY = `caveat heavy(items list<int>) {
  items.all(x, items.all(y, items.all(z, x + y + z > 0)))
}
definition heap {
  relation holder: user with heavy
}
`;
// Schemas that are well written but do not hold together, behind a definition `user`; each with other metadata.
const SENSELESS = [
  "definition doc {\n relation viewer: user#member\n}",
  "definition doc {\n permission view = viewer\n}",
  "definition doc {\n relation viewer: user | user\n}",
  "definition doc {\n relation parent: user:*\n permission view = parent->view\n}",
  "definition group {\n relation member: user:*\n}\ndefinition doc {\n relation viewer: group#member\n}",
  "definition doc {\n relation viewer: user with nothing\n}",
  "caveat only(a int, b int) { a > 1 }",
];
// What there may be nothing to say about.
const MAY_BE_EMPTY = ["subject_relation", "source_code", "filter", "filter_resource_type"];

/** Reason -> statuses and sets of metadata keys, as the page has them. */
function documented() {
  const found = {};
  for (const part of fs.readFileSync(PAGE, "utf8").split(/^### /m).slice(1)) {
    const line = /^Status: (.+?)\. Metadata: (.+?)\.$/m.exec(part);
    const names = (of, pattern) => [...of.matchAll(pattern)].map(([, name]) => name);
    if (line) {
      found[part.split("\n", 1)[0].trim()] = {
        statuses: names(line[1], /`([A-Z_]+)`/g),
        keys: line[2].split("; or ").map((of) => names(of, /`(\w+)`/g).sort().join()),
      };
    }
  }
  return found;
}

async function byReason(t, client) {
  const { promises } = client;
  await furnish(client);
  await promises.writeSchema(v1.WriteSchemaRequest.create({ schema: SCHEMA + HEAVY }));
  await promises.writeRelationships(write(["heap:a#holder@user:tom[heavy]"]));
  const tom = "document:a#viewer@user:tom";
  const readme = ref("document:readme");
  const heavy = `document:a#viewer@user:tom[only_on:{"day":"${"x".repeat(30_000)}"}]`;
  const many = Array.from({ length: 1001 }, (_, n) => `document:d${n}#viewer@user:tom`);
  const item = v1.CheckBulkPermissionsRequestItem.create({ resource: readme, permission: "view", subject: sub("user:tom") });
  const must = v1.Precondition.create({ operation: 2, filter: ofType("document", { optionalResourceId: "absent" }) });
  const both = ofType("document", { optionalResourceId: "a", optionalResourceIdPrefix: "a" });
  const cursor = v1.Cursor.create({ token: "nonsense" });

  const written = (texts, rest) => () => promises.writeRelationships(write(texts, rest));
  const schema = (schema) => () => promises.writeSchema(v1.WriteSchemaRequest.create({ schema }));
  const checked = (of, context) => () => promises.checkPermission(check(of, context));
  const deleted = (rest) => () =>
    promises.deleteRelationships(v1.DeleteRelationshipsRequest.create({ relationshipFilter: ofType("document"), ...rest }));
  const read = (rest) => () =>
    promises.readRelationships(v1.ReadRelationshipsRequest.create({ relationshipFilter: ofType("document"), ...rest }));
  const found = (rest) => () =>
    promises.lookupResources(v1.LookupResourcesRequest.create({
      resourceObjectType: "document", permission: "view", subject: sub("user:tom"), ...rest,
    }));
  const exported = (rest) => () => promises.exportBulkRelationships(v1.ExportBulkRelationshipsRequest.create(rest));
  const subjects = () => promises.lookupSubjects(v1.LookupSubjectsRequest.create({
    resource: readme, permission: "view", subjectObjectType: "user", optionalConcreteLimit: 1001,
  }));
  const counter = { name: "twice", relationshipFilter: ofType("document") };
  const register = () => promises.experimentalRegisterRelationshipCounter(counter);

  const table = [
    ["SCHEMA_PARSE_ERROR", schema("definition {")],
    ["SCHEMA_TYPE_ERROR", schema("definition abc { relation def: ghi }")],
    ["SCHEMA_TYPE_ERROR", schema((SCHEMA + HEAVY).replace("user:* | ", ""))],
    ...SENSELESS.map((text) => ["SCHEMA_TYPE_ERROR", schema(`definition user {}\n${text}`)]),
    ["UNKNOWN_DEFINITION", checked("nothing:a#view@user:tom")],
    ["UNKNOWN_DEFINITION", written(["nothing:a#view@user:tom"])],
    ["UNKNOWN_RELATION_OR_PERMISSION", checked("document:a#nothing@user:tom")],
    ["UNKNOWN_RELATION_OR_PERMISSION", written(["document:a#nothing@user:tom"])],
    ["TOO_MANY_UPDATES_IN_REQUEST", written(many)],
    ["TOO_MANY_PRECONDITIONS_IN_REQUEST", written([tom], { optionalPreconditions: Array(1001).fill(must) })],
    ["WRITE_OR_DELETE_PRECONDITION_FAILURE", written([tom], { optionalPreconditions: [must] })],
    ["WRITE_OR_DELETE_PRECONDITION_FAILURE", deleted({ optionalPreconditions: [must] })],
    ["UNKNOWN_CAVEAT", written([`${tom}[nothing]`])],
    ["INVALID_SUBJECT_TYPE", written(["document:a#viewer@group:eng"])],
    ["INVALID_SUBJECT_TYPE", written(["document:a#banned@user:tom[only_on]"])],
    ["CAVEAT_PARAMETER_TYPE_ERROR", written([`${tom}[only_on:{"day":1}]`])],
    ["CAVEAT_PARAMETER_TYPE_ERROR", checked("document:readme#view@user:eve", { level: "many" })],
    ["UPDATES_ON_SAME_RELATIONSHIP", written([tom, tom])],
    ["CANNOT_UPDATE_PERMISSION", written(["document:a#view@user:tom"])],
    ["CAVEAT_EVALUATION_ERROR", checked("document:odd#view@user:flo")],
    ["MAXIMUM_DEPTH_EXCEEDED", checked("heap:a#holder@user:tom", { items: Array(100).fill(1) })],
    ["INVALID_CURSOR", found({ optionalCursor: cursor })],
    ["INVALID_CURSOR", read({ optionalCursor: cursor })],
    ["INVALID_CURSOR", exported({ optionalCursor: cursor })],
    ["TOO_MANY_RELATIONSHIPS_FOR_TRANSACTIONAL_DELETE", deleted({ optionalLimit: 1 })],
    ["MAX_RELATIONSHIP_CONTEXT_SIZE", written([heavy])],
    ["ATTEMPT_TO_RECREATE_RELATIONSHIP", () => promises.writeRelationships(
      v1.WriteRelationshipsRequest.create({ updates: updates(CREATE, "document:readme#owner@user:ann") }))],
    ["TOO_MANY_CHECKS_IN_REQUEST", () => promises.checkBulkPermissions(
      v1.CheckBulkPermissionsRequest.create({ items: Array(10_001).fill(item) }))],
    ["EXCEEDS_MAXIMUM_ALLOWABLE_LIMIT", found({ optionalLimit: 1001 })],
    ["EXCEEDS_MAXIMUM_ALLOWABLE_LIMIT", read({ optionalLimit: 1001 })],
    ["EXCEEDS_MAXIMUM_ALLOWABLE_LIMIT", deleted({ optionalLimit: 1001 })],
    ["EXCEEDS_MAXIMUM_ALLOWABLE_LIMIT", subjects],
    ["EXCEEDS_MAXIMUM_ALLOWABLE_LIMIT", exported({ optionalLimit: 10_001 })],
    ["INVALID_FILTER", read({ relationshipFilter: v1.RelationshipFilter.create({}) })],
    ["INVALID_FILTER", read({ relationshipFilter: both })],
    ["INVALID_FILTER", deleted({ relationshipFilter: v1.RelationshipFilter.create({}) })],
    ["EMPTY_PRECONDITION", written([tom], { optionalPreconditions: [v1.Precondition.create({ operation: 2 })] })],
    ["COUNTER_ALREADY_REGISTERED", () => register().then(register)],
    ["COUNTER_NOT_REGISTERED", () => promises.experimentalCountRelationships({ name: "none" })],
    ["COUNTER_NOT_REGISTERED", () => promises.experimentalUnregisterRelationshipCounter({ name: "none" })],
    ["UNSPECIFIED", () => promises.experimentalCountRelationships({ name: "" })],
    ["WILDCARD_NOT_ALLOWED", checked("document:readme#view@user:*")],
    ["WILDCARD_NOT_ALLOWED", found({ subject: sub("user:*") })],
    ["TRANSACTION_METADATA_TOO_LARGE", written([tom], { optionalTransactionMetadata: struct({ why: "x".repeat(65_000) }) })],
  ];
  const pages = documented();
  for (const [number, [reason, call]] of table.entries()) {
    const name = `${reason}, ${number}`;
    const error = await call().then(() => null, (raised) => raised);
    if (!error) {
      t.same(name, "answered", reason);
      continue;
    }
    const info = infoOf(error);
    t.same(name, [info.reason, info.domain], [`ERROR_REASON_${reason}`, "authzed.com"]);
    t.same(`${name}: its number`, typeof v1.ErrorReason[reason], "number");
    const page = pages[`ERROR_REASON_${reason}`] ?? { statuses: [], keys: [] };
    t.same(`${name}: status ${codeOf(error)}`, page.statuses.includes(codeOf(error)), true);
    const keys = Object.keys(info.metadata).sort().join();
    t.same(`${name}: metadata ${keys}`, page.keys.includes(keys), true);
    const empty = Object.keys(info.metadata).filter((key) => !info.metadata[key] && !MAY_BE_EMPTY.includes(key)
      && !key.startsWith("new_filter_"));
    t.same(`${name}: keys without a value`, empty, []);
    t.same(`${name}: a message`, Boolean(error.details), true);
  }
  await promises.deleteRelationships(v1.DeleteRelationshipsRequest.create({ relationshipFilter: ofType("heap") }));
  await promises.writeSchema(v1.WriteSchemaRequest.create({ schema: SCHEMA }));
  const unregistered = await promises.experimentalUnregisterRelationshipCounter({ name: "twice" }).then(() => "OK", codeOf);
  t.same("the counter is unregistered", unregistered, "OK");
}

async function withoutReason(t, client) {
  const { promises } = client;
  await furnish(client);
  for (const [name, call] of [
    ["an id with a blank", () => promises.checkPermission(check("document:a b#view@user:tom"))],
    ["an empty id", () => promises.checkPermission(check("document:#view@user:tom"))],
    ["a type with capitals", () => promises.checkPermission(check("Document:a#view@user:tom"))],
    ["an update without an operation", () => promises.writeRelationships(
      v1.WriteRelationshipsRequest.create({ updates: [v1.RelationshipUpdate.create({ relationship: rel("document:a#owner@user:b") })] }))],
    ["no filter", () => promises.readRelationships(v1.ReadRelationshipsRequest.create({}))],
    ["a context that is too large", () => promises.checkPermission(check("document:a#view@user:tom", { day: "x".repeat(5000) }))],
  ]) {
    await t.refused(name, call, "INVALID_ARGUMENT");
  }
}

module.exports = { byReason, withoutReason };
