"""Checks, bulk checks, expansions and lookups: normal, at the edges, and wrong."""

import harness as h
from authzed.api.v1 import (
    CheckBulkPermissionsRequest,
    CheckBulkPermissionsRequestItem,
    CheckPermissionRequest,
    Cursor,
    ExpandPermissionTreeRequest,
    LookupResourcesRequest,
    LookupSubjectsRequest,
    ObjectReference,
    SubjectReference,
)

from corpus import World

DRIVE = """use expiration

caveat only_on(day string, level int) {
  day == "tuesday" && level > 3
}
caveat ranked(scores map<int>) {
  scores["high"] > 3
}
definition user {}
definition team {
  relation lead: user
  relation member: user | team#member | team#everyone
  permission everyone = lead + member
}
definition folder {
  relation parent: folder
  relation viewer: user | team#member | user with only_on
  permission view = viewer + parent->view
}
definition document {
  relation parent: folder
  relation owner: user
  relation viewer: user | user:* | team#everyone | user with only_on | user with ranked | user with expiration
  relation banned: user | team#member
  permission edit = owner
  permission view = (viewer + owner + parent->view) - banned
  permission both = viewer & owner
  permission all_parents = parent.all(view)
  permission nobody = nil
}
"""

DATA = [
    "team:eng#member@user:tom",
    "team:eng#lead@user:lea",
    "team:all#member@team:eng#everyone",
    "team:interns#member@user:ian",
    "team:all#member@team:interns#member",
    "folder:root#viewer@user:ron",
    "folder:root#viewer@team:interns#member",
    "folder:sub#parent@folder:root",
    'folder:sub#viewer@user:eve[only_on:{"day":"tuesday"}]',
    "folder:deep#parent@folder:sub",
    "document:readme#parent@folder:deep",
    "document:readme#viewer@team:all#everyone",
    "document:readme#owner@user:ann",
    "document:readme#viewer@user:bob",
    "document:readme#banned@user:bob",
    "document:readme#banned@team:interns#member",
    "document:open#viewer@user:*",
    "document:open#banned@user:bob",
    "document:open#owner@user:ann",
    "document:late#viewer@user:tom[expiration:2090-01-01T00:00:00Z]",
    "document:gone#viewer@user:tom[expiration:2020-01-01T00:00:00Z]",
    "document:odd#viewer@user:flo[ranked]",
    'document:sure#viewer@user:eve[only_on:{"day":"tuesday","level":4}]',
    'document:never#viewer@user:eve[only_on:{"day":"monday"}]',
    "document:two#parent@folder:root",
    "document:two#parent@folder:sub",
    "document:both#viewer@user:ann",
    "document:both#owner@user:ann",
]

CONTEXTS = [None, {}, {"level": 4}, {"level": 3}, {"day": "monday", "level": 9}, {"level": "4"}, {"level": "many"}, {"level": 4.5}, {"level": None}, {"other": 1}]

# As a map: text of a type, values that are right, values that are not.
TYPES = {
    "bool": [True, False, "true", 1, "yes", None, [], {}],
    "string": ["a", "", 1, True, ["a"], {"a": 1}],
    "int": [1, -1, 0, 1.5, "1", "-9223372036854775808", "9223372036854775808", "x", True, 1e3],
    "uint": [1, 0, -1, "1", "-1", 1.5, "x"],
    "double": [1, 1.5, -0.5, "1.5", "x", True],
    "bytes": ["YWJj", "!!!", "", 1],
    "duration": ["1h", "90s", "1h30m", "x", 1, ""],
    "timestamp": ["2026-01-01T00:00:00Z", "2026-01-01", "2026-01-01T00:00:00+02:00", "x", 1],
    "ipaddress": ["10.0.0.1", "::1", "10.0.0", "x", 1],
    "list<string>": [["a"], [], ["a", 1], "a", {"a": "b"}],
    "list<int>": [[1], [1.5], ["1"], [[1]]],
    "map<string>": [{"a": "b"}, {}, {"a": 1}, ["a"], "a"],
    "map<any>": [{"a": 1}, {"a": {"b": 1}}, []],
    "any": [1, "a", True, [], {}],
}
EXPRESSIONS = {
    "bool": "v",
    "string": 'v == "a"',
    "int": "v > 0",
    "uint": "v > 0",
    "double": "v > 1.0",
    "bytes": "size(v) > 0",
    "duration": 'v > duration("2m")',
    "timestamp": 'v > timestamp("2025-01-01T00:00:00Z")',
    "ipaddress": 'v.in_cidr("10.0.0.0/8")',
    "list<string>": '"a" in v',
    "list<int>": "1 in v",
    "map<string>": '"a" in v',
    "map<any>": '"a" in v',
    "any": "v == 1",
}


def item(text, context=None):
    r = h.rel(text)
    rest = {"context": h.struct(context)} if context is not None else {}
    return CheckBulkPermissionsRequestItem(resource=r.resource, permission=r.relation, subject=r.subject, **rest)


def who(resource="document:readme", permission="view", subject_type="user", relation="", **rest):
    return LookupSubjectsRequest(
        resource=h.ref(resource), permission=permission, subject_object_type=subject_type, optional_subject_relation=relation, **rest
    )


def what(subject="user:tom", permission="view", resource_type="document", **rest):
    return LookupResourcesRequest(resource_object_type=resource_type, permission=permission, subject=h.sub(subject), **rest)


def checks():
    w = World("checks", DRIVE, DATA)
    users = ["tom", "lea", "ian", "ron", "eve", "ann", "bob", "flo", "nobody"]
    for document in ("readme", "open", "late", "gone", "sure", "never", "two", "both", "nothing"):
        for user in users[:8]:
            w.check(f"document:{document}#view@user:{user}")
    for permission in ("edit", "both", "nobody", "viewer", "owner", "all_parents", "parent"):
        for document in ("readme", "two", "both"):
            w.check(f"document:{document}#{permission}@user:ann")
    for context in CONTEXTS:
        w.check("folder:deep#view@user:eve", context)
        w.check("document:sure#view@user:eve", context)
    for scores in ({"high": 4}, {"high": 1}, {"low": 1}, {"high": "many"}, None):
        w.check("document:odd#view@user:flo", {"scores": scores})
    for subject in ("team:all#everyone", "team:all#member", "team:eng#everyone", "team:interns#member", "team:eng", "folder:root", "document:readme#view"):
        w.check(f"document:readme#view@{subject}")
        w.check(f"document:readme#viewer@{subject}")
    w.check("team:eng#everyone@team:eng#everyone")
    w.check("team:none#everyone@team:none#everyone")
    w.check("document:readme#viewer@document:readme#viewer")
    for text in (
        "nothing:a#view@user:tom", "document:readme#nothing@user:tom", "document:readme#view@nothing:tom",
        "document:readme#view@user:tom#nothing", "document:readme#view@team:eng#nothing", "document:readme#view@user:*",
        "document:*#view@user:tom", "document:a b#view@user:tom", "document:ä#view@user:tom", "document:#view@user:tom",
        "Document:a#view@user:tom", "do:a#view@user:tom", "document:readme#View@user:tom", "document:readme#v@user:tom",
        f"document:{'x' * 1024}#view@user:tom", f"document:{'x' * 1025}#view@user:tom", f"document:readme#view@user:{'x' * 1025}",
        "document:a/b_c|d-e=f+g#view@user:tom", "a/b:c#view@user:tom", "document:readme#view@user:tom#...", f"{'d' * 65}:a#view@user:tom",
    ):  # fmt: skip
        w.check(text)
    readme, tom = h.ref("document:readme"), h.sub("user:tom")
    for name, request in {
        "no resource": CheckPermissionRequest(permission="view", subject=tom),
        "no permission": CheckPermissionRequest(resource=readme, subject=tom),
        "no subject": CheckPermissionRequest(resource=readme, permission="view"),
        "an empty subject": CheckPermissionRequest(resource=readme, permission="view", subject=SubjectReference()),
        "an empty object": CheckPermissionRequest(resource=ObjectReference(), permission="view", subject=tom),
        "nothing": CheckPermissionRequest(),
    }.items():
        w.ask(f"check with {name}", "CheckPermission", request)
    w.check("folder:deep#view@user:eve", {"day": "x" * 3000}, " of 3000")
    w.check("folder:deep#view@user:eve", {"day": "x" * 5000}, " of 5000")
    for text, context in (("document:readme#view@user:tom", None), ("document:readme#view@user:bob", None),
                          ("folder:sub#view@user:eve", None), ("folder:sub#view@user:eve", {"level": 4}), ("document:odd#view@user:flo", {"scores": {"low": 1}})):
        w.ask(f"traced answer {text} {context}", "CheckPermission", h.check(text, context, with_tracing=True))
    return w


def bulk():
    w = World("bulk", DRIVE, DATA)
    items = {
        "one": [item("document:readme#view@user:tom")],
        "none": [],
        "twice the same": [item("document:readme#view@user:tom")] * 2,
        "the same with two contexts": [item("folder:sub#view@user:eve", {"level": 4}), item("folder:sub#view@user:eve", {"level": 1}), item("folder:sub#view@user:eve")],
        "an unknown permission among others": [item("document:readme#view@user:tom"), item("document:readme#nothing@user:tom"), item("document:open#view@user:x")],
        "an unknown type among others": [item("nothing:a#view@user:tom"), item("document:readme#view@user:bob")],
        "an unknown subject type among others": [item("document:readme#view@nothing:tom"), item("document:readme#view@user:bob")],
        "a wildcard among others": [item("document:open#view@user:*"), item("document:open#view@user:tom")],
        "a bad id among others": [item("document:a b#view@user:tom"), item("document:open#view@user:tom")],
        "a failing caveat among others": [item("document:odd#view@user:flo", {"scores": {"low": 1}}), item("document:open#view@user:flo")],
        "many subjects": [item(f"document:readme#view@user:{u}") for u in ("tom", "lea", "ian", "ron", "ann", "bob", "flo", "x")],
        "many resources": [item(f"document:{d}#view@user:tom") for d in ("readme", "open", "late", "gone", "sure", "never", "nothing")],
        "a bad context": [item("folder:sub#view@user:eve", {"level": "many"}), item("document:open#view@user:tom")],
        "an empty item": [CheckBulkPermissionsRequestItem()],
        "a large context": [item("folder:sub#view@user:eve", {"day": "x" * 5000})],
    }  # fmt: skip
    for name, of in items.items():
        w.ask(name, "CheckBulkPermissions", CheckBulkPermissionsRequest(items=of))
    w.ask("10,001 items", "CheckBulkPermissions", CheckBulkPermissionsRequest(items=items["one"] * 10_001))
    return w


def expansions():
    w = World("expand", DRIVE, DATA)
    for text in ("document:readme#view", "document:readme#viewer", "document:readme#owner", "document:readme#both", "document:readme#nobody", "document:open#viewer",
                 "document:odd#viewer", "document:gone#viewer", "document:late#viewer", "folder:deep#view", "folder:sub#viewer", "team:all#everyone", "team:all#member",
                 "document:nothing#view", "document:readme#nothing", "nothing:a#view", "document:a b#view", "document:*#view", "document:readme#parent", "document:two#all_parents"):  # fmt: skip
        resource, permission = text.split("#")
        w.ask(text, "ExpandPermissionTree", ExpandPermissionTreeRequest(resource=h.ref(resource), permission=permission))
    w.ask("no permission", "ExpandPermissionTree", ExpandPermissionTreeRequest(resource=h.ref("document:readme")))
    w.ask("no resource", "ExpandPermissionTree", ExpandPermissionTreeRequest(permission="view"))
    return w


def lookups():
    w = World("lookups", DRIVE, DATA)
    for subject in ("tom", "lea", "ian", "ron", "eve", "ann", "bob", "flo", "nobody"):
        for permission in ("view", "edit", "both", "viewer", "nobody"):
            request = what(f"user:{subject}", permission) if subject != "flo" else what("user:flo", permission, context=h.struct({"scores": {"high": 5}}))
            w.ask(f"resources {permission} user:{subject}", "LookupResources", request)
        w.ask(f"folders view user:{subject}", "LookupResources", what(f"user:{subject}", "view", "folder"))
    for subject in ("team:eng#member", "team:all#everyone", "team:interns#member", "team:eng", "folder:root"):
        w.ask(f"resources view {subject}", "LookupResources", what(subject))
        w.ask(f"teams everyone {subject}", "LookupResources", what(subject, "everyone", "team"))
    for context in CONTEXTS:
        rest = {"context": h.struct(context)} if context is not None else {}
        w.ask(f"resources view user:eve {context}", "LookupResources", what("user:eve", **rest))
        w.ask(f"subjects of folder:deep {context}", "LookupSubjects", who("folder:deep", **rest))
    for size in (1, 2, 3, 1000):
        w.ask(f"resources of user:tom in pages of {size}", "LookupResources", what("user:tom"), paged=("optional_limit", size))
        w.ask(f"resources of user:ann in pages of {size}", "LookupResources", what("user:ann"), paged=("optional_limit", size))
    for name, request in {
        "an unknown type": what(resource_type="nothing"), "an unknown permission": what(permission="nothing"), "an unknown subject type": what("nothing:tom"),
        "an unknown subject relation": what("team:eng#nothing"), "a wildcard": what("user:*"), "a bad id": what("user:a b"), "no permission": what(permission=""),
        "no type": what(resource_type=""), "no subject": LookupResourcesRequest(resource_object_type="document", permission="view"), "a limit of 1001": what(optional_limit=1001),
        "a bad cursor": what(optional_cursor=Cursor(token="nonsense")), "an empty cursor": what(optional_cursor=Cursor()), "a large context": what(context=h.struct({"day": "x" * 5000})),
        "nothing": LookupResourcesRequest(),
    }.items():  # fmt: skip
        w.ask(f"resources with {name}", "LookupResources", request)
    w.ask("a page", "LookupResources", what("user:tom", optional_limit=1), keep="page")
    w.ask("resources with the cursor of another subject", "LookupResources", lambda kept: what("user:ann", optional_cursor=kept["page"][-1].after_result_cursor))
    w.ask("resources with the cursor of another permission", "LookupResources", lambda kept: what("user:tom", "viewer", optional_cursor=kept["page"][-1].after_result_cursor))
    w.ask("resources with the cursor and another context", "LookupResources",
          lambda kept: what("user:tom", context=h.struct({"level": 1}), optional_cursor=kept["page"][-1].after_result_cursor))

    for resource, permission in [(f"document:{d}", "view") for d in ("readme", "open", "late", "gone", "sure", "never", "two", "both", "nothing")] + [
        ("document:readme", "viewer"), ("document:readme", "both"), ("document:readme", "nobody"), ("folder:deep", "view"), ("folder:sub", "viewer"), ("team:all", "everyone"), ("team:all", "member"),
    ]:  # fmt: skip
        w.ask(f"subjects {resource}#{permission}", "LookupSubjects", who(resource, permission))
    for subject_type, relation in (("team", "member"), ("team", "everyone"), ("team", ""), ("team", "..."), ("folder", ""), ("user", "")):
        w.ask(f"subjects document:readme#view of {subject_type}#{relation}", "LookupSubjects", who("document:readme", "view", subject_type, relation))
    for option in (0, 1, 2, 9):
        w.ask(f"subjects of document:open, wildcards {option}", "LookupSubjects", who("document:open", wildcard_option=option))
    for scores in ({"high": 4}, {"low": 1}, {"high": "x"}):
        w.ask(f"subjects of document:odd {scores}", "LookupSubjects", who("document:odd", context=h.struct({"scores": scores})))
    for name, request in {
        "an unknown type": who("nothing:a"), "an unknown permission": who(permission="nothing"), "an unknown subject type": who(subject_type="nothing"),
        "an unknown subject relation": who(subject_type="team", relation="nothing"), "a bad id": who("document:a b"), "the id *": who("document:*"), "no permission": who(permission=""),
        "no subject type": who(subject_type=""), "no resource": LookupSubjectsRequest(permission="view", subject_object_type="user"), "a limit": who(optional_concrete_limit=1),
        "a limit of 1001": who(optional_concrete_limit=1001), "a bad cursor": who(optional_cursor=Cursor(token="nonsense")), "a large context": who(context=h.struct({"day": "x" * 5000})),
        "nothing": LookupSubjectsRequest(),
    }.items():  # fmt: skip
        w.ask(f"subjects with {name}", "LookupSubjects", request)
    return w


def caveat_types():
    caveats, relations, data = [], [], []
    for number, of in enumerate(TYPES):
        caveats.append(f"caveat of_{number:02}(v {of}) {{ {EXPRESSIONS[of]} }}\n")
        relations.append(f"  relation rel_{number:02}: user with of_{number:02}\n")
        data.append(f"thing:one#rel_{number:02}@user:tom[of_{number:02}]")
    schema = "".join(caveats) + "definition user {}\ndefinition thing {\n" + "".join(relations) + "}\n"
    w = World("types", schema, data)
    for number, (of, values) in enumerate(TYPES.items()):
        for value in values:
            w.ask(f"{of} asked with {value!r}", "CheckPermission", h.check(f"thing:one#rel_{number:02}@user:tom", {"v": value}))
    for number, (of, values) in enumerate(TYPES.items()):
        for at, value in enumerate(values):
            stored = h.rel(f"thing:two#rel_{number:02}@user:u{at}[of_{number:02}]")
            stored.optional_caveat.context.CopyFrom(h.struct({"v": value}))
            update = h.RelationshipUpdate(operation=h.TOUCH, relationship=stored)
            w.ask(f"{of} stored as {value!r}", "WriteRelationships", h.WriteRelationshipsRequest(updates=[update]))
            w.ask(f"{of} stored as {value!r}, asked", "CheckPermission", h.check(f"thing:two#rel_{number:02}@user:u{at}"))
    return w


def worlds():
    return [checks(), bulk(), expansions(), lookups(), caveat_types()]
