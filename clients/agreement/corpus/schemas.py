"""Schemas: written, refused, orphaning; read, reflected, compared."""

from authzed.api.v1 import (
    ComputablePermissionsRequest,
    DependentRelationsRequest,
    DiffSchemaRequest,
    ReadSchemaRequest,
    ReflectionSchemaFilter,
    ReflectSchemaRequest,
    WriteSchemaRequest,
)
from authzed.api.v1 import experimental_service_pb2 as experimental

from corpus import World
from corpus.questions import DATA, DRIVE

USER = "definition user {}\n"
ACCEPTED_OR_NOT = {
    "empty": "",
    "a comment": "// nothing\n",
    "one definition": USER,
    "a relation": USER + "definition doc {\n  relation viewer: user\n}",
    "on one line": USER + "definition doc { relation viewer: user }",
    "nested names": "definition a/b/user {}\ndefinition a/doc {\n relation viewer: a/b/user\n}",
    "a name of two letters": "definition ab {}",
    "a name of 64": f"definition {'d' * 64} {{}}",
    "a name of 65": f"definition {'d' * 65} {{}}",
    "a capital": "definition User {}",
    "twice the same": USER + USER,
    "twice the same relation": USER + "definition doc {\n relation viewer: user\n relation viewer: user\n}",
    "a relation and a permission of one name": USER + "definition doc {\n relation viewer: user\n permission viewer = viewer\n}",
    "an unknown type": "definition doc {\n relation viewer: user\n}",
    "an unknown relation of a type": USER + "definition doc {\n relation viewer: user#member\n}",
    "an unknown member": USER + "definition doc {\n permission view = viewer\n}",
    "an arrow over nothing": USER + "definition doc {\n permission view = parent->view\n}",
    "an arrow to nothing": USER + "definition doc {\n relation parent: doc\n permission view = parent->nothing\n}",
    "an arrow over a permission": USER + "definition doc {\n relation parent: doc\n permission up = parent\n permission view = up->view\n}",
    "an arrow over a wildcard": USER + "definition doc {\n relation parent: user | user:*\n permission view = parent->view\n}",
    "a wildcard behind a userset": USER + "definition group {\n relation member: user:*\n}\ndefinition doc {\n relation viewer: group#member\n}",
    "a permission that names itself": USER + "definition doc {\n permission view = view\n}",
    "the same subject type twice": USER + "definition doc {\n relation viewer: user | user\n}",
    "a caveat": USER + "caveat c_one(a int) { a > 1 }\ndefinition doc {\n relation viewer: user with c_one\n}",
    "an unknown caveat": USER + "definition doc {\n relation viewer: user with nothing\n}",
    "a caveat without parameters": "caveat c_one() { true }",
    "an unused parameter": "caveat c_one(a int, b int) { a > 1 }",
    "an unknown parameter": "caveat c_one(a int) { b > 1 }",
    "a caveat that is no bool": "caveat c_one(a int) { a + 1 }",
    "an unknown parameter type": "caveat c_one(a nothing) { a > 1 }",
    "ill typed": 'caveat c_one(a int) { a == "x" }',
    "twice the same caveat": "caveat c_one(a int) { a > 1 }\ncaveat c_one(a int) { a > 1 }",
    "a caveat and a definition of one name": "caveat user(a int) { a > 1 }\n" + USER,
    "an expiration without use": USER + "definition doc {\n relation viewer: user with expiration\n}",
    "an expiration": "use expiration\n" + USER + "definition doc {\n relation viewer: user with expiration\n}",
    "caveat and expiration": "use expiration\ncaveat c_one(a int) { a > 1 }\n" + USER + "definition doc {\n relation viewer: user with c_one and expiration\n}",
    "an unknown use": "use nothing\n" + USER,
    "use behind a definition": USER + "use expiration\n",
    "self without use": "definition user {\n permission me = self\n}",
    "self": "use self\ndefinition user {\n permission me = self\n}",
    "typechecking": "use typechecking\n" + USER + "definition doc {\n relation viewer: user\n permission view: user = viewer\n}",
    "typechecking that fails": "use typechecking\n" + USER + "definition group {}\ndefinition doc {\n relation viewer: user\n permission view: group = viewer\n}",
    "a partial": "use partial\n" + USER + "partial has_viewer {\n relation viewer: user\n}\ndefinition doc {\n ...has_viewer\n}",
    "a partial without use": USER + "partial has_viewer {\n relation viewer: user\n}\ndefinition doc {\n ...has_viewer\n}",
    "an unknown partial": "use partial\n" + USER + "definition doc {\n ...nothing\n}",
    "an import": 'use import\nimport "other.zed"\n' + USER,
    "no end": "definition user {",
    "nonsense": "!!! what",
    "a keyword as a name": "definition relation {}",
    "all operators": USER + "definition doc {\n relation aaa: user\n relation bbb: user\n relation ccc: user\n permission view = aaa - bbb + ccc & aaa\n permission other = (aaa + nil) & (bbb - ccc)\n}",
    "arrows": USER + "definition doc {\n relation parent: doc\n relation viewer: user\n permission view = viewer + parent->view + parent.any(view) + parent.all(view)\n}",
    "comments": "/** a user */\ndefinition user {}\n\n// of documents\n/** a doc */\ndefinition doc {\n  /** who views */\n  relation viewer: user // at the end\n  /* may */\n  permission view = viewer\n}",
    "strings and escapes": 'caveat c_one(a string) { a == "x\\"y" || a.startsWith(\'z\') }',
    "all types": "caveat c_one(a any, b bool, s string, i int, u uint, d double, y bytes, r duration, t timestamp, l list<string>, m map<any>, p ipaddress) {\n  b && s == \"x\" && i > 1 && u > uint(1) && d > 1.0 && size(y) > 1 && r > duration(\"1s\") && t > timestamp(\"2020-01-01T00:00:00Z\") && \"x\" in l && \"x\" in m && p.in_cidr(\"10.0.0.0/8\") && a == 1\n}",
}  # fmt: skip


def written():
    w = World("schemas", USER)
    for name, text in ACCEPTED_OR_NOT.items():
        w.ask(f"write {name}", "WriteSchema", WriteSchemaRequest(schema=text))
        w.ask(f"read {name}", "ReadSchema", ReadSchemaRequest())
        w.ask(f"back from {name}", "WriteSchema", WriteSchemaRequest(schema=USER))
    return w


def orphaning():
    w = World("orphans", DRIVE, DATA)
    changes = {
        "a definition": ("definition team {\n  relation lead: user\n  relation member: user | team#member | team#everyone\n  permission everyone = lead + member\n}\n", ""),
        "a relation": ("  relation banned: user | team#member\n", ""),
        "a subject type": ("user | user:* | team#everyone", "user | team#everyone"),
        "a userset": ("  relation viewer: user | team#member | user with only_on\n  permission view = viewer + parent->view", "  relation viewer: user | user with only_on\n  permission view = viewer + parent->view"),
        "a caveat of a type": ("user with only_on | user with ranked", "user with ranked"),
        "an expiration": (" | user with expiration", ""),
        "a caveat": ("caveat ranked(scores map<int>) {\n  scores[\"high\"] > 3\n}\n", ""),
        "a parameter": ('only_on(day string, level int) {\n  day == "tuesday" && level > 3', "only_on(level int) {\n  level > 3"),
        "a parameter's type": ("level int", "level double"),
        "an expression": ("level > 3", "level > 2"),
        "a permission": ("  permission nobody = nil\n", ""),
        "a permission that is asked": ("permission edit = owner", "permission edit = owner + viewer"),
        "a permission that becomes a relation": ("  permission nobody = nil\n", "  relation nobody: user\n"),
        "a relation that becomes a permission": ("  relation owner: user\n", "  permission owner = viewer\n"),
        "nothing": ("", ""),
        "a parameter more": ('level int) {\n  day', 'level int, more bool) {\n  more && day'),
    }  # fmt: skip
    for name, (old, new) in changes.items():
        assert old in DRIVE, name
        text = DRIVE.replace(old, new) if old else DRIVE
        if name == "a relation":
            text = text.replace(" - banned", "")
        if name == "a definition":
            text = text.replace(" | team#member", "").replace(" | team#everyone", "")
        if name == "a caveat":
            text = text.replace(" | user with ranked", "")
        w.ask(f"without or with another: {name}", "WriteSchema", WriteSchemaRequest(schema=text))
        w.ask(f"diff: {name}", "DiffSchema", DiffSchemaRequest(comparison_schema=text))
        w.ask(f"diff of the older call: {name}", "ExperimentalDiffSchema", experimental.ExperimentalDiffSchemaRequest(comparison_schema=text))
    w.ask("at the end", "ReadSchema", ReadSchemaRequest())
    return w


def reflected():
    w = World("reflection", DRIVE)
    calls = {
        "": (ReflectSchemaRequest, ReflectionSchemaFilter, ComputablePermissionsRequest, DependentRelationsRequest, DiffSchemaRequest),
        "Experimental": (
            experimental.ExperimentalReflectSchemaRequest, experimental.ExpSchemaFilter, experimental.ExperimentalComputablePermissionsRequest,
            experimental.ExperimentalDependentRelationsRequest, experimental.ExperimentalDiffSchemaRequest,
        ),
    }  # fmt: skip
    d, c, r, p = (f"optional_{name}_name_filter" for name in ("definition", "caveat", "relation", "permission"))
    filters = [
        {}, {d: "document"}, {d: "d"}, {d: "nothing"}, {c: "only"}, {c: "nothing"}, {d: "document", r: "viewer"}, {d: "document", p: "view"}, {d: "document", r: "o"}, {d: "document", r: "nothing"},
        {r: "viewer"}, {p: "view"}, {d: "document", c: "only_on"}, {d: "document", r: "viewer", p: "view"}, {d: "DOC"},
    ]  # fmt: skip
    for prefix, (reflect, filter, computable, dependent, diff) in calls.items():
        name = lambda of: prefix + of  # noqa: E731, B023
        w.ask(f"{prefix} reflect all", name("ReflectSchema"), reflect())
        for fields in filters:
            w.ask(f"{prefix} reflect {fields}", name("ReflectSchema"), reflect(optional_filters=[filter(**fields)]))
        w.ask(f"{prefix} reflect by two", name("ReflectSchema"), reflect(optional_filters=[filter(**{d: "user"}), filter(**{c: "ranked"})]))
        for of in ("document#owner", "document#viewer", "document#banned", "team#member", "team#lead", "folder#parent", "folder#viewer", "document#view", "user#", "team#", "document#nothing", "nothing#owner", "#", "Document#owner"):
            definition, relation = of.split("#")
            w.ask(f"{prefix} computable {of}", name("ComputablePermissions"), computable(definition_name=definition, relation_name=relation))
            w.ask(f"{prefix} dependent {of}", name("DependentRelations"), dependent(definition_name=definition, permission_name=relation))
        for permission in ("edit", "both", "nobody", "all_parents"):
            w.ask(f"{prefix} dependent document#{permission}", name("DependentRelations"), dependent(definition_name="document", permission_name=permission))
        for only in ("document", "doc", "fol", "nothing"):
            w.ask(f"{prefix} computable team#member in {only}", name("ComputablePermissions"),
                  computable(definition_name="team", relation_name="member", optional_definition_name_filter=only))
        for change, text in {**ACCEPTED_OR_NOT, "the same": DRIVE}.items():
            if change != "an import":
                w.ask(f"{prefix} diff to {change}", name("DiffSchema"), diff(comparison_schema=text))
    return w


def worlds():
    return [written(), orphaning(), reflected()]
