// SchemaService: written, read, reflected, compared; and the calls of ExperimentalService that do the same.
"use strict";
const { full, v1 } = require("./harness");
const { SCHEMA, furnish } = require("./world");

const CANONICAL = `use expiration

/** only_on holds on tuesdays, from level four on. */
caveat only_on(day string, level int) {
\tday == "tuesday" && level > 3
}
`;

async function written(t, client) {
  const { promises } = client;
  const token = await furnish(client);
  const readSchema = () => promises.readSchema(v1.ReadSchemaRequest.create({}));
  const writeSchema = (schema) => promises.writeSchema(v1.WriteSchemaRequest.create({ schema }));
  const read = await readSchema();
  t.same("the schema is of the newest revision", read.readAt, token);
  t.same("the canonical text begins with the caveats", read.schemaText.slice(0, CANONICAL.length), CANONICAL);
  const names = [...read.schemaText.matchAll(/^(?:caveat|definition) (\w+)/gm)].map(([, name]) => name);
  t.same("its order", names, ["only_on", "ranked", "document", "group", "user"]);
  await writeSchema(read.schemaText);
  t.same("writing back what was read changes nothing", (await readSchema()).schemaText, read.schemaText);
  const { writtenAt } = await writeSchema(SCHEMA + "definition folder {}\n");
  const wider = await readSchema();
  t.same("a definition more", [wider.schemaText.includes("definition folder"), wider.readAt], [true, writtenAt]);
  // Nearly the 4 MiB that a schema may have.
  await writeSchema(`${SCHEMA}/*${"x".repeat(4_100_000)}*/\ndefinition large {}\n`);
  t.same("a schema of 4 MB", (await readSchema()).schemaText.length > 4_100_000, true);
  await t.refused("a schema of more than 4 MiB", () => writeSchema(`${SCHEMA}//${"x".repeat(4_200_000)}`),
    "INVALID_ARGUMENT", "SCHEMA_PARSE_ERROR");
  await writeSchema(SCHEMA);
}

async function reflected(t, client, prefix, filterType) {
  const { promises } = client;
  const token = await furnish(client);
  const name = (of) => (prefix ? `experimental${of}` : of[0].toLowerCase() + of.slice(1));
  const type = (of) => v1[`${prefix}${of}Request`];
  const call = (of, request) => promises[name(of)](type(of).create({ consistency: full, ...request }));

  const answer = await call("ReflectSchema", { optionalFilters: [] });
  const at = `${prefix}ReflectSchema`;
  t.same(`${at}: at`, answer.readAt, token);
  t.same(`${at}: definitions`, answer.definitions.map((d) => d.name), ["document", "group", "user"]);
  t.same(`${at}: caveats`, answer.caveats.map((c) => c.name), ["only_on", "ranked"]);
  const [document] = answer.definitions;
  t.same(`${at}: comment`, document.comment, "/** A document is what people read. */");
  t.same(`${at}: relations`, document.relations.map((r) => r.name), ["owner", "viewer", "banned"]);
  t.same(`${at}: permissions`, document.permissions.map((p) => p.name), ["view", "edit"]);
  const types = document.relations[1].subjectTypes.map((s) =>
    [s.subjectDefinitionName, s.optionalCaveatName, s.typeref.oneofKind, s.typeref[s.typeref.oneofKind]].join(" "),
  );
  t.same(`${at}: subject types`, [...new Set(types)].sort(), [
    "group  optionalRelationName member",
    "user  isPublicWildcard true",
    "user  isTerminalSubject true",
    "user only_on isTerminalSubject true",
    "user ranked isTerminalSubject true",
  ]);
  const [onlyOn] = answer.caveats;
  t.same(`${at}: caveat comment`, onlyOn.comment, "/** only_on holds on tuesdays, from level four on. */");
  const parameters = onlyOn.parameters.map((p) => `${p.parentCaveatName} ${p.name} ${p.type}`).sort();
  t.same(`${at}: caveat parameters`, parameters, ["only_on day string", "only_on level int"]);
  t.same(`${at}: caveat expression`, onlyOn.expression, 'day == "tuesday" && level > 3');
  for (const [fields, definitions, caveats] of [
    [{ optionalDefinitionNameFilter: "doc" }, ["document"], []],
    [{ optionalCaveatNameFilter: "rank" }, [], ["ranked"]],
    [{ optionalDefinitionNameFilter: "document", optionalRelationNameFilter: "own" }, ["document"], []],
    [{ optionalDefinitionNameFilter: "document", optionalPermissionNameFilter: "vi" }, ["document"], []],
    [{ optionalDefinitionNameFilter: "nothing" }, [], []],
  ]) {
    const got = await call("ReflectSchema", { optionalFilters: [filterType.create(fields)] });
    const found = [got.definitions.map((d) => d.name), got.caveats.map((c) => c.name)];
    t.same(`${at} filtered by ${JSON.stringify(fields)}`, found, [definitions, caveats]);
  }
  const alone = [filterType.create({ optionalRelationNameFilter: "own" })];
  await t.refused(`${at}: a filter of a relation alone`, () => call("ReflectSchema", { optionalFilters: alone }),
    "INVALID_ARGUMENT", "INVALID_FILTER", {}, ["filter"]);

  const references = (found) => found.map((r) => `${r.definitionName}#${r.relationName} ${r.isPermission}`).sort();
  const owner = await call("ComputablePermissions", { definitionName: "document", relationName: "owner" });
  const want = ["document#edit true", "document#view true"];
  t.same(`${prefix}ComputablePermissions`, [references(owner.permissions), owner.readAt], [want, token]);
  const members = await call("ComputablePermissions", {
    definitionName: "group", relationName: "member", optionalDefinitionNameFilter: "docu",
  });
  const ofMembers = ["document#view true", "document#viewer false"];
  t.same(`${prefix}ComputablePermissions of another definition`, references(members.permissions), ofMembers);
  await t.refused(`${prefix}ComputablePermissions of nothing`,
    () => call("ComputablePermissions", { definitionName: "document", relationName: "nothing" }),
    "FAILED_PRECONDITION", "UNKNOWN_RELATION_OR_PERMISSION",
    { definition_name: "document", relation_or_permission_name: "nothing" });
  const view = await call("DependentRelations", { definitionName: "document", permissionName: "view" });
  const rests = ["document#banned false", "document#owner false", "document#viewer false", "group#member false"];
  t.same(`${prefix}DependentRelations`, [references(view.relations), view.readAt], [rests, token]);
  await t.refused(`${prefix}DependentRelations of a relation`,
    () => call("DependentRelations", { definitionName: "document", permissionName: "owner" }),
    "INVALID_ARGUMENT", "UNKNOWN_RELATION_OR_PERMISSION",
    { definition_name: "document", relation_or_permission_name: "owner" });

  const diff = (comparisonSchema) => call("DiffSchema", { comparisonSchema });
  t.same(`${prefix}DiffSchema of the same`, (await diff(SCHEMA)).diffs, []);
  for (const [change, old, fresh, kinds] of [
    ["a definition more", "definition user {}", "definition user {}\ndefinition folder {}", ["definitionAdded"]],
    ["a comment", "/** A document is what people read. */", "/** Other. */", ["definitionDocCommentChanged"]],
    ["a relation more", "relation owner: user", "relation owner: user\n  relation extra: user", ["relationAdded"]],
    ["a subject type more", "relation owner: user", "relation owner: user | group#member", ["relationSubjectTypeAdded"]],
    ["a subject type less", "user | user:* |", "user |", ["relationSubjectTypeRemoved"]],
    ["a permission more", "permission edit = owner", "permission edit = owner\n  permission more = owner", ["permissionAdded"]],
    ["a permission less", "permission edit = owner", "", ["permissionRemoved"]],
    ["a permission's rule", "permission edit = owner", "permission edit = viewer", ["permissionExprChanged"]],
    ["a caveat more", "definition user {}", "caveat extra(a int) { a > 1 }\ndefinition user {}", ["caveatAdded"]],
    ["a caveat's rule", "level > 3", "level > 4", ["caveatExprChanged"]],
    ["a parameter's type", "level int)", "level uint)", ["caveatParameterTypeChanged"]],
  ]) {
    if (!SCHEMA.includes(old)) throw new Error(`the schema has no ${old}`);
    const { diffs } = await diff(SCHEMA.replace(old, fresh));
    t.same(`${prefix}DiffSchema: ${change}`, diffs.map((d) => d.diff.oneofKind), kinds);
  }
  await t.refused(`${prefix}DiffSchema of what is no schema`, () => diff("definition {"), "INVALID_ARGUMENT",
    "SCHEMA_PARSE_ERROR", {},
    ["start_line_number", "start_column_position", "end_line_number", "end_column_position", "source_code"]);
}

module.exports = { reflected, written };
