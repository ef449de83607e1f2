// PermissionsService: every call, with its consistency, context, limits, cursors and traces.
"use strict";
const {
  CREATE, DELETE, check, codeOf, full, gather, infoOf, load, ofType, ref, rel, said, saidSubject, saidTime, struct, sub,
  updates, v1, whole, write,
} = require("./harness");
const { RELATIONSHIPS, furnish } = require("./world");

const { NO_PERMISSION: NO, HAS_PERMISSION: HAS, CONDITIONAL_PERMISSION: CONDITIONAL } =
  v1.CheckPermissionResponse_Permissionship;
const { HAS_PERMISSION: SURE, CONDITIONAL_PERMISSION: PERHAPS } = v1.LookupPermissionship;

const lookup = (subject, rest = {}) =>
  v1.LookupResourcesRequest.create({ resourceObjectType: "document", permission: "view", subject: sub(subject), ...rest });
const who = (resource, rest = {}) =>
  v1.LookupSubjectsRequest.create({ resource: ref(resource), permission: "view", subjectObjectType: "user", ...rest });
const item = (of, context) => {
  const { resource, relation, subject } = rel(of);
  const rest = context ? { context: struct(context) } : {};
  return v1.CheckBulkPermissionsRequestItem.create({ resource, permission: relation, subject, ...rest });
};
const resourcesOf = (found) => found.map((m) => m.resourceObjectId).sort();
const subjectsOf = (found) => found.map((m) => m.subject.subjectObjectId).sort();

async function checksAndConsistency(t, client) {
  const { promises } = client;
  const first = await furnish(client);
  for (const [of, want] of [
    ["document:readme#view@user:tom", HAS],
    ["document:readme#view@user:ann", HAS],
    ["document:readme#view@user:bob", NO],
    ["document:readme#view@user:nobody", NO],
    ["document:readme#view@user:eve", CONDITIONAL],
    ["document:open#view@user:anyone", HAS],
    ["document:open#view@user:bob", NO],
    ["document:readme#viewer@group:all#member", HAS],
    ["document:readme#viewer@group:eng#member", HAS],
    ["group:eng#member@group:eng#member", HAS],
    ["document:nothing#view@user:tom", NO],
  ]) {
    const answer = await promises.checkPermission(check(of, undefined, { consistency: full }));
    t.same(`check ${of}`, answer.permissionship, want);
  }
  const eve = "document:readme#view@user:eve";
  const asked = async (context) => (await promises.checkPermission(check(eve, context))).permissionship;
  const conditional = await promises.checkPermission(check(eve));
  t.same("a conditional answer names what is missing", conditional.partialCaveatInfo.missingRequiredContext, ["level"]);
  t.same("context decides: has", await asked({ level: 5 }), HAS);
  t.same("context decides: no", await asked({ level: 3 }), NO);
  t.same("what is stored wins over the context", await asked({ level: 5, day: "monday" }), HAS);
  t.same("unknown context is ignored", await asked({ level: 5, colour: "red" }), HAS);
  const late = await promises.checkPermission(check("document:late#view@user:tom"));
  const until = late.optionalExpiresAt && saidTime(late.optionalExpiresAt);
  t.same("until when an answer holds", until, "2040-01-01T00:00:00Z");
  const readme = await promises.checkPermission(check("document:readme#view@user:tom"));
  t.same("an answer without an end", readme.optionalExpiresAt, undefined);

  const second = (await promises.writeRelationships(write(["document:plan#viewer@user:zoe"]))).writtenAt;
  const stranger = v1.ZedToken.create({ token: "GhUKEzE3MDAwMDAwMDAwMDAwMDAwMDA=" });
  const only = (oneofKind, value) => v1.Consistency.create({ requirement: { oneofKind, [oneofKind]: value } });
  for (const [name, consistency, has, at] of [
    ["none", undefined, true, second],
    ["minimize_latency", only("minimizeLatency", true), true, second],
    ["fully_consistent", full, true, second],
    ["at_least_as_fresh of an older token", only("atLeastAsFresh", first), true, second],
    ["at_least_as_fresh of the newest token", only("atLeastAsFresh", second), true, second],
    ["at_least_as_fresh of another server's token", only("atLeastAsFresh", stranger), true, second],
    ["at_exact_snapshot before", only("atExactSnapshot", first), false, first],
    ["at_exact_snapshot after", only("atExactSnapshot", second), true, second],
  ]) {
    const zoe = "document:plan#view@user:zoe";
    const one = await promises.checkPermission(check(zoe, undefined, { consistency }));
    t.same(`consistency ${name}`, [one.permissionship, one.checkedAt], [has ? HAS : NO, at]);
    const bulk = await promises.checkBulkPermissions({ consistency, items: [item(zoe)], withTracing: false });
    const got = [bulk.pairs[0].response.item.permissionship, bulk.checkedAt];
    t.same(`consistency ${name}: bulk`, got, [has ? HAS : NO, at]);
    const relationshipFilter = ofType("document", { optionalResourceId: "plan", optionalRelation: "viewer" });
    const read = await promises.readRelationships(
      v1.ReadRelationshipsRequest.create({ consistency, relationshipFilter }),
    );
    const rows = read.map((m) => [said(m.relationship), m.readAt]);
    t.same(`consistency ${name}: read`, rows, has ? [["document:plan#viewer@user:zoe", at]] : []);
    const resources = resourcesOf(await promises.lookupResources(lookup("user:zoe", { consistency })));
    t.same(`consistency ${name}: resources`, resources, has ? ["open", "plan"] : ["open"]);
    const subjects = subjectsOf(await promises.lookupSubjects(who("document:plan", { consistency })));
    t.same(`consistency ${name}: subjects`, subjects, has ? ["ann", "zoe"] : ["ann"]);
    const tree = await promises.expandPermissionTree(
      v1.ExpandPermissionTreeRequest.create({ consistency, resource: ref("document:plan"), permission: "viewer" }),
    );
    const leaf = tree.treeRoot.treeType.leaf.subjects.map(saidSubject);
    t.same(`consistency ${name}: expand`, [leaf, tree.expandedAt], [has ? ["user:zoe"] : [], at]);
    const out = await promises.exportBulkRelationships(v1.ExportBulkRelationshipsRequest.create({ consistency }));
    const count = out.reduce((sum, m) => sum + m.relationships.length, 0);
    t.same(`consistency ${name}: export`, count, has ? 13 : 12);
  }
}

async function bulkChecks(t, client) {
  const { promises } = client;
  await furnish(client);
  const items = [
    item("document:readme#view@user:tom"),
    item("document:readme#view@user:bob"),
    item("document:readme#view@user:eve"),
    item("document:readme#nothing@user:tom"),
    item("nothing:readme#view@user:tom"),
    item("document:odd#view@user:flo"),
    item("document:readme#view@user:tom"),
    item("document:readme#view@user:eve", { level: 9 }),
  ];
  const { pairs } = await promises.checkBulkPermissions(v1.CheckBulkPermissionsRequest.create({ items }));
  const json = (items) => items.map((i) => v1.CheckBulkPermissionsRequestItem.toJson(i));
  t.same("each pair repeats its request", json(pairs.map((p) => p.request)), json(items));
  const kinds = pairs.map((p) => p.response.oneofKind);
  t.same("items and errors", kinds, ["item", "item", "item", "error", "error", "error", "item", "item"]);
  const got = pairs.flatMap((p) => (p.response.item ? [p.response.item.permissionship] : []));
  t.same("permissionships", got, [HAS, NO, CONDITIONAL, HAS, HAS]);
  const missing = pairs[2].response.item.partialCaveatInfo.missingRequiredContext;
  t.same("missing of an item", missing, ["level"]);
  t.same("codes of errors", [3, 4, 5].map((at) => pairs[at].response.error.code), [9, 9, 3]);
  const traced = await promises.checkBulkPermissions(
    v1.CheckBulkPermissionsRequest.create({ items: items.slice(0, 2), withTracing: true }),
  );
  t.same("traces of items", traced.pairs.map((p) => p.response.item.debugTrace.check.result), [2, 1]);
}

function* walk(node) {
  yield node;
  if (node.resolution.oneofKind === "subProblems") {
    for (const inner of node.resolution.subProblems.traces) yield* walk(inner);
  }
}

async function traces(t, client) {
  const { promises } = client;
  await furnish(client);
  const tom = await promises.checkPermission(check("document:readme#view@user:tom", undefined, { withTracing: true }));
  const top = tom.debugTrace.check;
  const got = [top.resource.objectId, top.permission, top.permissionType, saidSubject(top.subject), top.result];
  t.same("what the trace is of", got, ["readme", "view", 2, "user:tom", 2]);
  t.same("the trace has the schema", tom.debugTrace.schemaUsed.includes("permission view"), true);
  const names = [...walk(top)].map((n) => `${n.resource.objectType}:${n.resource.objectId}#${n.permission} ${n.result}`);
  t.same("the trace reaches the group", names.includes("group:eng#member 2"), true);
  const plain = await promises.checkPermission(check("document:readme#view@user:tom"));
  t.same("no trace unless asked", plain.debugTrace, undefined);
  for (const [context, result, value] of [
    [undefined, 4, CONDITIONAL],
    [{ level: 5 }, 3, HAS],
    [{ level: 1 }, 2, NO],
  ]) {
    const name = JSON.stringify(context);
    const answer = await promises.checkPermission(check("document:readme#view@user:eve", context, { withTracing: true }));
    t.same(`traced answer with ${name}`, answer.permissionship, value);
    const infos = [...walk(answer.debugTrace.check)].flatMap((n) => n.caveatEvaluationInfo ?? []);
    const info = infos.find((i) => i.caveatName === "only_on");
    const seen = [info.result, info.expression, v1.PbStruct.toJson(info.context)];
    t.same(`caveat with ${name}`, seen, [result, 'day == "tuesday" && level > 3', { day: "tuesday", ...context }]);
    const missing = info.partialCaveatInfo?.missingRequiredContext ?? [];
    t.same(`caveat missing with ${name}`, missing, context ? [] : ["level"]);
  }
  try {
    await promises.checkPermission(check("document:odd#view@user:flo", undefined, { withTracing: true }));
    t.same("a failing traced check", "answered", "refused");
  } catch (error) {
    const trace = infoOf(error).metadata.debug_trace_proto_text ?? "";
    t.same("the trace of a failed check", /object_id:\s*"odd"/.test(trace), true);
  }
}

async function expansion(t, client) {
  await furnish(client);
  const told = ({ treeType }) => {
    if (treeType.oneofKind === "leaf") return treeType.leaf.subjects.map(saidSubject).sort();
    const { operation, children } = treeType.intermediate;
    return { [v1.AlgebraicSubjectSet_Operation[operation]]: children.map(told) };
  };
  const tree = async (permission) => {
    const request = v1.ExpandPermissionTreeRequest.create({ resource: ref("document:readme"), permission });
    return (await client.promises.expandPermissionTree(request)).treeRoot;
  };
  const top = await tree("view");
  t.same("expand: of what", [top.expandedObject.objectId, top.expandedRelation], ["readme", "view"]);
  const viewers = ["group:all#member", "user:bob", "user:eve"];
  t.same("expand: an exclusion of a union", told(top), { EXCLUSION: [{ UNION: [viewers, ["user:ann"]] }, ["user:bob"]] });
  t.same("expand: a relation", told(await tree("viewer")), viewers);
}

/** All answers, page by page; no page may be longer than asked. */
async function pagesOf(call, make, limit, size) {
  const found = [];
  let optionalCursor;
  for (;;) {
    const page = await call(make({ optionalCursor, [limit]: size }));
    if (page.length > size) throw new Error(`${page.length} on a page of ${size}`);
    found.push(...page);
    if (page.length < size) return found;
    optionalCursor = page.at(-1).afterResultCursor;
  }
}

async function lookups(t, client) {
  const { promises } = client;
  await furnish(client);
  const more = Array.from({ length: 10 }, (_, n) => `d0${n}`);
  await promises.writeRelationships(write(more.map((id) => `document:${id}#viewer@user:tom`)));
  const ids = ["readme", "open", "late", ...more].sort();
  const found = await promises.lookupResources(lookup("user:tom", { consistency: full }));
  t.same("resources", resourcesOf(found), ids);
  t.same("resources: each sure", [...new Set(found.map((m) => m.permissionship))], [SURE]);
  const debugged = await promises.lookupResources(lookup("user:tom", { consistency: full, withDebug: true }));
  t.same("resources with debugging", resourcesOf(debugged), ids);
  t.same("resources: one revision", new Set(found.map((m) => m.lookedUpAt.token)).size, 1);
  const eve = await promises.lookupResources(lookup("user:eve"));
  const perhaps = eve.find((m) => m.resourceObjectId === "readme");
  t.same("resources of a conditional subject", [resourcesOf(eve), perhaps.permissionship], [["open", "readme"], PERHAPS]);
  t.same("resources: what is missing", perhaps.partialCaveatInfo.missingRequiredContext, ["level"]);
  for (const [level, want] of [[5, ["open", "readme"]], [1, ["open"]]]) {
    const got = await promises.lookupResources(lookup("user:eve", { context: struct({ level }) }));
    t.same(`resources with level ${level}`, resourcesOf(got), want);
  }
  for (const size of [1, 2, 7, 1000]) {
    const pages = await pagesOf((r) => promises.lookupResources(r), (rest) => lookup("user:tom", rest), "optionalLimit", size);
    t.same(`resources in pages of ${size}`, resourcesOf(pages), ids);
    const subjects = await pagesOf((r) => promises.lookupSubjects(r), (rest) => who("document:readme", rest), "optionalConcreteLimit", size);
    t.same(`subjects in pages of ${size}`, subjectsOf(subjects), ["ann", "eve", "tom"]);
  }
  const page = await promises.lookupResources(lookup("user:tom", { optionalLimit: 3 }));
  await promises.writeRelationships(write(["document:new#viewer@user:tom"]));
  const optionalCursor = page.at(-1).afterResultCursor;
  const rest = await promises.lookupResources(lookup("user:tom", { optionalCursor }));
  t.same("resources: pages of one revision", resourcesOf([...page, ...rest]), ids);
  await t.refused("a cursor of another question", () => promises.lookupResources(lookup("user:ann", { optionalCursor })),
    "INVALID_ARGUMENT", "INVALID_CURSOR");

  const subjects = await promises.lookupSubjects(who("document:readme", { consistency: full }));
  const got = Object.fromEntries(subjects.map((m) => [m.subject.subjectObjectId, m.subject.permissionship]));
  t.same("subjects", got, { tom: SURE, ann: SURE, eve: PERHAPS });
  t.same("subjects: the older fields too", subjects.map((m) => m.subjectObjectId).sort(), ["ann", "eve", "tom"]);
  const usersets = await promises.lookupSubjects(
    who("document:readme", { subjectObjectType: "group", optionalSubjectRelation: "member" }),
  );
  t.same("subjects: usersets", subjectsOf(usersets), ["all", "eng"]);
  const wild = await promises.lookupSubjects(who("document:open"));
  t.same("subjects: the wildcard", subjectsOf(wild), ["*"]);
  const excluded = wild[0].excludedSubjects.map((s) => [s.subjectObjectId, s.permissionship]);
  t.same("subjects: who is excluded from it", [excluded, wild[0].excludedSubjectIds], [[["bob", SURE]], ["bob"]]);
  for (const [wildcardOption, want] of [[0, ["*"]], [1, ["*"]], [2, []]]) {
    const got = subjectsOf(await promises.lookupSubjects(who("document:open", { wildcardOption })));
    t.same(`subjects: wildcard option ${wildcardOption}`, got, want);
  }
}

async function reading(t, client) {
  const { promises } = client;
  await furnish(client);
  const read = async (type, rest) => {
    const request = v1.ReadRelationshipsRequest.create({ relationshipFilter: ofType(type, rest) });
    return (await promises.readRelationships(request)).map((m) => said(m.relationship)).sort();
  };
  const documents = RELATIONSHIPS.filter((of) => of.startsWith("document:")).sort();
  const subject = (subjectType, rest = {}) => ({
    optionalSubjectFilter: v1.SubjectFilter.create({ subjectType, ...rest }),
  });
  const owners = documents.filter((of) => of.includes("#owner@"));
  for (const [name, type, filter, want] of [
    ["a type, with caveats and expirations", "document", {}, documents],
    ["by id", "document", { optionalResourceId: "plan" }, ["document:plan#owner@user:ann"]],
    ["by prefix", "document", { optionalResourceIdPrefix: "o" }, documents.filter((of) => of.startsWith("document:o"))],
    ["by relation", "document", { optionalRelation: "owner" }, owners],
    ["by relation of any type", "", { optionalRelation: "owner" }, owners],
    ["by subject", "", subject("user", { optionalSubjectId: "tom" }), RELATIONSHIPS.filter((of) => of.includes("@user:tom")).sort()],
    ["by userset", "", subject("group", { optionalRelation: { relation: "member" } }), RELATIONSHIPS.filter((of) => of.includes("@group:")).sort()],
    ["by subjects without relation", "", subject("group", { optionalRelation: { relation: "" } }), []],
    ["by wildcard", "", subject("user", { optionalSubjectId: "*" }), ["document:open#viewer@user:*"]],
  ]) {
    t.same(`read ${name}`, await read(type, filter), want);
  }
  for (const size of [1, 2, 7, 1000]) {
    const make = (rest) => v1.ReadRelationshipsRequest.create({ relationshipFilter: ofType("document"), ...rest });
    const pages = await pagesOf((r) => promises.readRelationships(r), make, "optionalLimit", size);
    t.same(`read in pages of ${size}`, pages.map((m) => said(m.relationship)).sort(), documents);
  }
}

async function writing(t, client) {
  const { promises } = client;
  await furnish(client);
  const has = async (of) => (await promises.checkPermission(check(of, undefined, { consistency: full }))).permissionship === HAS;
  await promises.writeRelationships(write(["document:w#owner@user:ann"], {}, CREATE));
  t.same("CREATE writes", await has("document:w#owner@user:ann"), true);
  await promises.writeRelationships(write(["document:w#owner@user:ann", "document:w#owner@user:nobody"], {}, DELETE));
  t.same("DELETE, also of what is not there", await has("document:w#owner@user:ann"), false);
  const both = [...updates(CREATE, "document:w#owner@user:x"), ...updates(DELETE, "document:plan#owner@user:ann")];
  await promises.writeRelationships(v1.WriteRelationshipsRequest.create({ updates: both }));
  const got = [await has("document:w#owner@user:x"), await has("document:plan#owner@user:ann")];
  t.same("one write of several operations", got, [true, false]);

  const there = ofType("document", { optionalResourceId: "w" });
  const absent = ofType("document", { optionalResourceId: "nowhere" });
  const { MUST_MATCH, MUST_NOT_MATCH } = v1.Precondition_Operation;
  for (const [name, operation, filter] of [["must", MUST_MATCH, there], ["mustnot", MUST_NOT_MATCH, absent]]) {
    const optionalPreconditions = [v1.Precondition.create({ operation, filter })];
    await promises.writeRelationships(write([`document:${name}#owner@user:x`], { optionalPreconditions }));
    t.same(`a precondition ${name} that holds`, await has(`document:${name}#owner@user:x`), true);
  }
  const optionalPreconditions = [v1.Precondition.create({ operation: MUST_MATCH, filter: absent })];
  const failed = ["FAILED_PRECONDITION", "WRITE_OR_DELETE_PRECONDITION_FAILURE", {
    precondition_operation: "OPERATION_MUST_MATCH", precondition_resource_type: "document", precondition_resource_id: "nowhere",
  }];
  const guarded = write(["document:guarded#owner@user:x"], { optionalPreconditions });
  await t.refused("a precondition that fails", () => promises.writeRelationships(guarded), ...failed);
  t.same("nothing of it was written", await has("document:guarded#owner@user:x"), false);
  const remove = v1.DeleteRelationshipsRequest.create({ relationshipFilter: there, optionalPreconditions });
  await t.refused("a delete whose precondition fails", () => promises.deleteRelationships(remove), ...failed);
  t.same("nothing of it was deleted", await has("document:w#owner@user:x"), true);
  const bare = v1.SubjectFilter.create({ subjectType: "user", optionalRelation: { relation: "" } });
  const nobody = ofType("document", { optionalResourceId: "nowhere", optionalSubjectFilter: bare });
  const held = { optionalPreconditions: [v1.Precondition.create({ operation: MUST_MATCH, filter: nobody })] };
  const [code, reason, keys] = failed;
  await t.refused("a precondition on subjects without a relation",
    () => promises.writeRelationships(write(["document:guarded#owner@user:x"], held)), code, reason,
    { ...keys, precondition_subject_type: "user", precondition_subject_relation: "" });
  const again = write(['document:readme#viewer@user:eve[only_on:{"day":"monday"}]'], {}, CREATE);
  await t.refused("what is created again is named without its condition", () => promises.writeRelationships(again),
    "ALREADY_EXISTS", "ATTEMPT_TO_RECREATE_RELATIONSHIP", {
      relationship: "document:readme#viewer@user:eve", resource_type: "document", resource_object_id: "readme",
      resource_relation: "viewer", subject_type: "user", subject_object_id: "eve", subject_relation: "",
    });
  const nameless = write(["document:w#viewer@user:nameless"]);
  nameless.updates[0].relationship.optionalCaveat = v1.ContextualizedCaveat.create({});
  await t.refused("a caveat without a name", () => promises.writeRelationships(nameless), "INVALID_ARGUMENT");
  t.same("and no grant without a condition", await has("document:w#viewer@user:nameless"), false);

  const tens = Array.from({ length: 10 }, (_, n) => `document:x${n}#owner@user:u`);
  await promises.writeRelationships(write(tens));
  const relationshipFilter = ofType("document", { optionalResourceIdPrefix: "x" });
  const { COMPLETE, PARTIAL } = v1.DeleteRelationshipsResponse_DeletionProgress;
  for (const [name, rest, want] of [
    ["a partial delete", { optionalLimit: 4, optionalAllowPartialDeletions: true }, [PARTIAL, "4"]],
    ["the next one", { optionalLimit: 4, optionalAllowPartialDeletions: true }, [PARTIAL, "4"]],
    ["the last one", { optionalLimit: 4, optionalAllowPartialDeletions: true }, [COMPLETE, "2"]],
    ["a delete of nothing", {}, [COMPLETE, "0"]],
  ]) {
    const answer = await promises.deleteRelationships(v1.DeleteRelationshipsRequest.create({ relationshipFilter, ...rest }));
    t.same(name, [answer.deletionProgress, answer.relationshipsDeletedCount], want);
  }
}

async function bulk(t, client) {
  const { promises } = client;
  await furnish(client);
  const texts = Array.from({ length: 250 }, (_, n) => `document:i${String(n).padStart(3, "0")}#viewer@user:u${n % 7}`);
  texts.push('document:i000#viewer@user:eve[only_on:{"day":"tuesday","level":4}]');
  texts.push("document:i000#viewer@user:late[expiration:2040-01-01T00:00:00Z]");
  const messages = [0, 100, 200].map((at) =>
    v1.ImportBulkRelationshipsRequest.create({ relationships: texts.slice(at, at + 100).map(rel) }),
  );
  t.same("import", (await load(client, "importBulkRelationships", messages)).numLoaded, "252");
  const everything = [...RELATIONSHIPS, ...texts].sort();
  const exported = (rest) => promises.exportBulkRelationships(v1.ExportBulkRelationshipsRequest.create(rest));
  const flat = (found) => found.flatMap((m) => m.relationships.map(said));
  for (const optionalLimit of [0, 1, 7, 1000]) {
    const found = await exported({ optionalLimit });
    t.same(`export in messages of ${optionalLimit}`, flat(found).sort(), everything);
    const longest = Math.max(...found.map((m) => m.relationships.length));
    t.same(`export: none is longer than ${optionalLimit}`, optionalLimit === 0 || longest <= optionalLimit, true);
  }
  const [half] = await exported({ optionalLimit: 100 });
  const rest = await exported({ optionalLimit: 100, optionalCursor: half.afterResultCursor });
  t.same("export goes on behind a cursor", [...flat([half]), ...flat(rest)].sort(), everything);
  const groups = flat(await exported({ optionalRelationshipFilter: ofType("group") })).sort();
  t.same("export of a filter", groups, everything.filter((of) => of.startsWith("group:")));
  const again = [v1.ImportBulkRelationshipsRequest.create({ relationships: [rel("document:fresh#viewer@user:a"), rel(texts[0])] })];
  await t.refused("an import of what is there", () => load(client, "importBulkRelationships", again), "ALREADY_EXISTS",
    "ATTEMPT_TO_RECREATE_RELATIONSHIP", {
      relationship: texts[0], resource_type: "document", resource_object_id: "i000", resource_relation: "viewer",
      subject_type: "user", subject_object_id: "u0", subject_relation: "",
    });
  const fresh = await promises.checkPermission(check("document:fresh#viewer@user:a", undefined, { consistency: full }));
  t.same("an import that is refused leaves nothing", fresh.permissionship, NO);
}

/** The same client without promises. */
async function callbacks(t, client) {
  await furnish(client);
  const { answer } = await whole(client, "checkPermission", check("document:readme#view@user:tom"));
  t.same("callback: check", answer.permissionship, HAS);
  const { found } = await gather(client.lookupResources(lookup("user:tom")));
  t.same("callback: lookup", resourcesOf(found), ["late", "open", "readme"]);
  const read = v1.ReadRelationshipsRequest.create({ relationshipFilter: ofType("group") });
  const rows = (await gather(client.readRelationships(read))).found.map((m) => said(m.relationship)).sort();
  t.same("callback: read", rows, RELATIONSHIPS.filter((of) => of.startsWith("group:")).sort());
  try {
    await whole(client, "checkPermission", check("document:readme#nothing@user:tom"));
    t.same("callback: error", "answered", "refused");
  } catch (error) {
    t.same("callback: error", [codeOf(error), infoOf(error).reason], ["FAILED_PRECONDITION", "ERROR_REASON_UNKNOWN_RELATION_OR_PERMISSION"]);
  }
}

module.exports = { bulk, bulkChecks, callbacks, checksAndConsistency, expansion, lookups, reading, traces, writing };
