"""SchemaService: written, read, reflected, compared; and the calls of ExperimentalService that do the same."""

from types import SimpleNamespace

from authzed.api.v1 import (
    ComputablePermissionsRequest,
    Consistency,
    DependentRelationsRequest,
    DiffSchemaRequest,
    ReadSchemaRequest,
    ReflectionSchemaFilter,
    ReflectSchemaRequest,
    WriteSchemaRequest,
)
from authzed.api.v1 import experimental_service_pb2 as experimental

from world import SCHEMA, furnish

# What is read back: caveats, then definitions, each by name, with one way of writing.
CANONICAL = """use expiration

/** only_on holds on tuesdays, from level four on. */
caveat only_on(day string, level int) {
\tday == "tuesday" && level > 3
}
"""


def written(t, client):
    token = furnish(client)
    read = client.ReadSchema(ReadSchemaRequest())
    t.same("the schema is of the newest revision", read.read_at, token)
    t.same("the canonical text begins with the caveats", read.schema_text[: len(CANONICAL)], CANONICAL)
    names = [line.split()[1].split("(")[0] for line in read.schema_text.splitlines() if line.startswith(("caveat", "definition"))]
    t.same("its order", names, ["only_on", "ranked", "document", "group", "user"])
    client.WriteSchema(WriteSchemaRequest(schema=read.schema_text))
    t.same("writing back what was read changes nothing", client.ReadSchema(ReadSchemaRequest()).schema_text, read.schema_text)
    wider = SCHEMA + "definition folder {}\n"
    at = client.WriteSchema(WriteSchemaRequest(schema=wider)).written_at
    read = client.ReadSchema(ReadSchemaRequest())
    t.same("a definition more", ("definition folder" in read.schema_text, read.read_at), (True, at))
    # Nearly the 4 MiB that a schema may have.
    large = SCHEMA + "/*" + "x" * 4_100_000 + "*/\n"
    client.WriteSchema(WriteSchemaRequest(schema=large + "definition large {}\n"))
    t.same("a schema of 4 MB", len(client.ReadSchema(ReadSchemaRequest()).schema_text) > 4_100_000, True)
    beyond = WriteSchemaRequest(schema=SCHEMA + "//" + "x" * 4_200_000)
    t.refused("a schema of more than 4 MiB", lambda: client.WriteSchema(beyond), "INVALID_ARGUMENT", "SCHEMA_PARSE_ERROR")
    client.WriteSchema(WriteSchemaRequest(schema=SCHEMA))


PLAIN = SimpleNamespace(
    reflect=("ReflectSchema", ReflectSchemaRequest, ReflectionSchemaFilter),
    computable=("ComputablePermissions", ComputablePermissionsRequest),
    dependent=("DependentRelations", DependentRelationsRequest),
    diff=("DiffSchema", DiffSchemaRequest),
)
EXPERIMENTAL = SimpleNamespace(
    reflect=(
        "ExperimentalReflectSchema",
        experimental.ExperimentalReflectSchemaRequest,
        experimental.ExpSchemaFilter,
    ),
    computable=("ExperimentalComputablePermissions", experimental.ExperimentalComputablePermissionsRequest),
    dependent=("ExperimentalDependentRelations", experimental.ExperimentalDependentRelationsRequest),
    diff=("ExperimentalDiffSchema", experimental.ExperimentalDiffSchemaRequest),
)


def reflected(t, client, calls):
    token = furnish(client)
    name, request, filter = calls.reflect
    call = getattr(client, name)
    full = Consistency(fully_consistent=True)
    answer = call(request(consistency=full))
    t.same(f"{name}: at", answer.read_at, token)
    t.same(f"{name}: definitions", [d.name for d in answer.definitions], ["document", "group", "user"])
    t.same(f"{name}: caveats", [c.name for c in answer.caveats], ["only_on", "ranked"])
    document = answer.definitions[0]
    t.same(f"{name}: comment", document.comment, "/** A document is what people read. */")
    t.same(f"{name}: relations", [r.name for r in document.relations], ["owner", "viewer", "banned"])
    t.same(f"{name}: permissions", [p.name for p in document.permissions], ["view", "edit"])
    t.same(f"{name}: parents", {m.parent_definition_name for m in [*document.relations, *document.permissions]}, {"document"})
    viewer = document.relations[1]
    got = {
        (s.subject_definition_name, s.optional_caveat_name, s.optional_relation_name, s.is_terminal_subject, s.is_public_wildcard)
        for s in viewer.subject_types
    }
    want = {
        ("user", "", "", True, False),
        ("user", "", "", False, True),
        ("group", "", "member", False, False),
        ("user", "only_on", "", True, False),
        ("user", "ranked", "", True, False),
    }
    t.same(f"{name}: subject types", got, want)
    only_on = answer.caveats[0]
    t.same(f"{name}: caveat comment", only_on.comment, "/** only_on holds on tuesdays, from level four on. */")
    parameters = {(p.name, p.type, p.parent_caveat_name) for p in only_on.parameters}
    t.same(f"{name}: caveat parameters", parameters, {("day", "string", "only_on"), ("level", "int", "only_on")})
    t.same(f"{name}: caveat expression", only_on.expression, 'day == "tuesday" && level > 3')
    for fields, definitions, caveats in [
        ({"optional_definition_name_filter": "doc"}, ["document"], []),
        ({"optional_caveat_name_filter": "rank"}, [], ["ranked"]),
        ({"optional_definition_name_filter": "document", "optional_relation_name_filter": "own"}, ["document"], []),
        ({"optional_definition_name_filter": "document", "optional_permission_name_filter": "vi"}, ["document"], []),
        ({"optional_definition_name_filter": "nothing"}, [], []),
    ]:
        got = call(request(consistency=full, optional_filters=[filter(**fields)]))
        found = ([d.name for d in got.definitions], [c.name for c in got.caveats])
        t.same(f"{name} filtered by {fields}", found, (definitions, caveats))
        if "optional_relation_name_filter" in fields:
            members = ([r.name for r in got.definitions[0].relations], len(got.definitions[0].permissions))
            t.same(f"{name}: the relations that it names, and the permissions", members, (["owner"], 2))
    wrong = request(optional_filters=[filter(optional_relation_name_filter="own")])
    t.refused(f"{name}: a filter of a relation alone", lambda: call(wrong), "INVALID_ARGUMENT", "INVALID_FILTER", ["filter"])

    name, request = calls.computable
    call = getattr(client, name)
    got = call(request(consistency=full, definition_name="document", relation_name="owner"))
    found = {(r.definition_name, r.relation_name, r.is_permission) for r in got.permissions}
    want = {("document", "edit", True), ("document", "view", True)}
    t.same(name, (found, got.read_at), (want, token))
    got = call(request(definition_name="group", relation_name="member", optional_definition_name_filter="docu", consistency=full))
    found = {(r.definition_name, r.relation_name, r.is_permission) for r in got.permissions}
    t.same(f"{name} of another definition", found, {("document", "viewer", False), ("document", "view", True)})
    unknown = request(definition_name="document", relation_name="nothing", consistency=full)
    t.refused(f"{name} of nothing", lambda: call(unknown), "FAILED_PRECONDITION", "UNKNOWN_RELATION_OR_PERMISSION",
              definition_name="document", relation_or_permission_name="nothing")

    name, request = calls.dependent
    call = getattr(client, name)
    got = call(request(consistency=full, definition_name="document", permission_name="view"))
    found = {(r.definition_name, r.relation_name, r.is_permission) for r in got.relations}
    want = {("document", "viewer", False), ("document", "owner", False), ("document", "banned", False), ("group", "member", False)}
    t.same(name, (found, got.read_at), (want, token))
    relation = request(definition_name="document", permission_name="owner", consistency=full)
    t.refused(f"{name} of a relation", lambda: call(relation), "INVALID_ARGUMENT", "UNKNOWN_RELATION_OR_PERMISSION",
              definition_name="document", relation_or_permission_name="owner")

    name, request = calls.diff
    call = getattr(client, name)
    same = call(request(consistency=full, comparison_schema=SCHEMA))
    t.same(f"{name} of the same", (list(same.diffs), same.read_at), ([], token))
    for change, old, new, want in [
        ("a definition more", "definition user {}", "definition user {}\ndefinition folder {}", ["definition_added"]),
        ("a comment", "/** A document is what people read. */", "/** Other. */", ["definition_doc_comment_changed"]),
        ("a relation more", "relation owner: user", "relation owner: user\n  relation extra: user", ["relation_added"]),
        ("a subject type more", "relation owner: user", "relation owner: user | group#member", ["relation_subject_type_added"]),
        ("a subject type less", "user | user:* |", "user |", ["relation_subject_type_removed"]),
        ("a permission more", "permission edit = owner", "permission edit = owner\n  permission more = owner", ["permission_added"]),
        ("a permission less", "permission edit = owner", "", ["permission_removed"]),
        ("a permission's rule", "permission edit = owner", "permission edit = viewer", ["permission_expr_changed"]),
        ("a permission's comment", "/** view is for whoever was let in. */", "/** v */", ["permission_doc_comment_changed"]),
        ("a caveat more", "definition user {}", "caveat extra(a int) { a > 1 }\ndefinition user {}", ["caveat_added"]),
        ("a caveat's rule", "level > 3", "level > 4", ["caveat_expr_changed"]),
        ("a caveat's comment", "/** only_on holds on tuesdays, from level four on. */", "/** c */", ["caveat_doc_comment_changed"]),
        ("a parameter more", 'level int) {\n  day', 'level int, other int) {\n  other > 1 && day',
         ["caveat_expr_changed", "caveat_parameter_added"]),
        ("a parameter's type", "level int)", "level uint)", ["caveat_parameter_type_changed"]),
    ]:
        assert old in SCHEMA, old
        diffs = call(request(consistency=full, comparison_schema=SCHEMA.replace(old, new))).diffs
        t.same(f"{name}: {change}", sorted(d.WhichOneof("diff") for d in diffs), want)
    broken = request(comparison_schema="definition {", consistency=full)
    keys = ["start_line_number", "start_column_position", "end_line_number", "end_column_position", "source_code"]
    t.refused(f"{name} of what is no schema", lambda: call(broken), "INVALID_ARGUMENT", "SCHEMA_PARSE_ERROR", keys)
