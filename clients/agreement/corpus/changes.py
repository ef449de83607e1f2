"""Relationships written, deleted, read, imported, exported, counted; watched; and each consistency."""

import itertools

import harness as h
from authzed.api.v1 import (
    BulkCheckPermissionRequest,
    BulkCheckPermissionRequestItem,
    BulkExportRelationshipsRequest,
    BulkImportRelationshipsRequest,
    Consistency,
    ContextualizedCaveat,
    Cursor,
    DeleteRelationshipsRequest,
    ObjectReference,
    Precondition,
    ReadRelationshipsRequest,
    Relationship,
    RelationshipFilter,
    RelationshipUpdate,
    SubjectFilter,
    SubjectReference,
    WatchRequest,
    WriteRelationshipsRequest,
    ZedToken,
)
from authzed.api.v1 import experimental_service_pb2 as counters
from authzed.api.v1.permission_service_pb2 import ExportBulkRelationshipsRequest, ImportBulkRelationshipsRequest

from corpus import World
from corpus.questions import DATA, DRIVE, what, who

MUST, MUST_NOT = Precondition.OPERATION_MUST_MATCH, Precondition.OPERATION_MUST_NOT_MATCH


def combinations():
    """Every combination of a filter's fields, set to something that is there or to what is not."""
    types = ["", "document", "team"]
    ids = [{}, {"optional_resource_id": "readme"}, {"optional_resource_id_prefix": "re"}, {"optional_resource_id": "absent"}]
    relations = ["", "viewer", "member"]
    subjects = [
        None,
        SubjectFilter(subject_type="user"),
        SubjectFilter(subject_type="user", optional_subject_id="tom"),
        SubjectFilter(subject_type="team", optional_relation=SubjectFilter.RelationFilter(relation="everyone")),
        SubjectFilter(subject_type="user", optional_relation=SubjectFilter.RelationFilter(relation="")),
        SubjectFilter(subject_type="user", optional_subject_id="*"),
    ]
    for of, by_id, relation, subject in itertools.product(types, ids, relations, subjects):
        filter = RelationshipFilter(resource_type=of, optional_relation=relation, optional_subject_filter=subject, **by_id)
        said = [of or "any", *by_id.values(), relation, "" if subject is None else "@" + subject.subject_type]
        if subject is not None:
            said += [subject.optional_subject_id, "#" + subject.optional_relation.relation if subject.HasField("optional_relation") else ""]
        yield " ".join(filter_part for filter_part in said if filter_part), filter


WRONG_FILTERS = {
    "an empty filter": RelationshipFilter(),
    "id and prefix": RelationshipFilter(resource_type="document", optional_resource_id="a", optional_resource_id_prefix="a"),
    "an unknown type": RelationshipFilter(resource_type="nothing"),
    "an unknown relation": RelationshipFilter(resource_type="document", optional_relation="nothing"),
    "a permission": RelationshipFilter(resource_type="document", optional_relation="view"),
    "an unknown subject type": RelationshipFilter(resource_type="document", optional_subject_filter=SubjectFilter(subject_type="nothing")),
    "an unknown subject relation": RelationshipFilter(
        resource_type="document",
        optional_subject_filter=SubjectFilter(subject_type="team", optional_relation=SubjectFilter.RelationFilter(relation="nothing")),
    ),
    "a subject filter without a type": RelationshipFilter(resource_type="document", optional_subject_filter=SubjectFilter(optional_subject_id="tom")),
    "a bad type": RelationshipFilter(resource_type="Doc"),
    "a bad id": RelationshipFilter(resource_type="document", optional_resource_id="a b"),
    "a bad prefix": RelationshipFilter(resource_type="document", optional_resource_id_prefix="a b"),
    "the id *": RelationshipFilter(resource_type="document", optional_resource_id="*"),
    "a bad relation": RelationshipFilter(resource_type="document", optional_relation="R"),
    "a bad subject id": RelationshipFilter(resource_type="document", optional_subject_filter=SubjectFilter(subject_type="user", optional_subject_id="a b")),
    "a relation of no type": RelationshipFilter(optional_relation="nothing"),
}


def filters():
    w = World("filters", DRIVE, DATA)
    for name, filter in [*combinations(), *WRONG_FILTERS.items()]:
        w.ask(f"read {name}", "ReadRelationships", ReadRelationshipsRequest(relationship_filter=filter))
    for name, filter in [*itertools.islice(combinations(), 0, None, 5), *WRONG_FILTERS.items()]:
        w.ask(f"export {name}", "ExportBulkRelationships", ExportBulkRelationshipsRequest(optional_relationship_filter=filter))
        held = [Precondition(operation=MUST, filter=filter)]
        w.write(f"if {name}", (h.TOUCH, "document:guard#owner@user:x"), optional_preconditions=held)
        w.write(f"if not {name}", (h.TOUCH, "document:guard#owner@user:y"), optional_preconditions=[Precondition(operation=MUST_NOT, filter=filter)])
    for size in (1, 2, 7, 1000):
        read = ReadRelationshipsRequest(relationship_filter=h.of_type("document"))
        w.ask(f"read in pages of {size}", "ReadRelationships", read, paged=("optional_limit", size))
        w.ask(f"export in pages of {size}", "ExportBulkRelationships", ExportBulkRelationshipsRequest(), paged=("optional_limit", size))
    for name, rest in {"limit 1001": {"optional_limit": 1001}, "a bad cursor": {"optional_cursor": Cursor(token="nonsense")}, "an empty cursor": {"optional_cursor": Cursor()}}.items():
        w.ask(f"read with {name}", "ReadRelationships", ReadRelationshipsRequest(relationship_filter=h.of_type("document"), **rest))
        w.ask(f"export with {name}", "ExportBulkRelationships", ExportBulkRelationshipsRequest(**rest))
    w.ask("export with limit 10001", "ExportBulkRelationships", ExportBulkRelationshipsRequest(optional_limit=10_001))
    w.ask("read without a filter", "ReadRelationships", ReadRelationshipsRequest())
    w.ask("a page", "ReadRelationships", ReadRelationshipsRequest(relationship_filter=h.of_type("document"), optional_limit=1), keep="page")
    w.ask("read with the cursor of another filter", "ReadRelationships",
          lambda kept: ReadRelationshipsRequest(relationship_filter=h.of_type("team"), optional_cursor=kept["page"][-1].after_result_cursor))
    w.ask("export with the cursor of a read", "ExportBulkRelationships",
          lambda kept: ExportBulkRelationshipsRequest(optional_cursor=kept["page"][-1].after_result_cursor))
    for name, filter in [*itertools.islice(combinations(), 3, None, 7), *WRONG_FILTERS.items()]:
        w.ask(f"delete {name}", "DeleteRelationships", DeleteRelationshipsRequest(relationship_filter=filter))
    return w


def writes():
    w = World("writes", DRIVE, DATA)
    new, old = "document:new#owner@user:x", "document:readme#owner@user:ann"
    w.write("create", (h.CREATE, new))
    w.write("create again", (h.CREATE, new))
    w.write("touch what is there", (h.TOUCH, old))
    w.write("delete", (h.DELETE, new))
    w.write("delete what is not there", (h.DELETE, new))
    w.write("create what was deleted", (h.CREATE, new))
    w.write("nothing")
    w.write("touch a caveat onto it", (h.TOUCH, "document:readme#viewer@user:bob[only_on]"))
    w.write("touch another context", (h.TOUCH, 'document:readme#viewer@user:bob[only_on:{"level":1}]'))
    w.write("touch the caveat off", (h.TOUCH, "document:readme#viewer@user:bob"))
    w.write("create it with a caveat", (h.CREATE, "document:readme#viewer@user:bob[only_on]"))
    w.write("delete it naming a caveat that it has not", (h.DELETE, "document:readme#viewer@user:bob[only_on]"))
    w.write("an expiration", (h.TOUCH, "document:new#viewer@user:late[expiration:2091-01-01T00:00:00Z]"))
    w.write("another expiration", (h.TOUCH, "document:new#viewer@user:late[expiration:2092-01-01T00:00:00Z]"))
    w.write("an expiration that is over", (h.TOUCH, "document:new#viewer@user:over[expiration:2001-01-01T00:00:00Z]"))
    w.write("create where an expired one stands", (h.CREATE, "document:gone#viewer@user:tom"))
    w.write("a caveat where none is allowed", (h.TOUCH, "document:new#owner@user:x[only_on]"))
    w.write("an expiration where none is allowed", (h.TOUCH, "document:new#owner@user:x[expiration:2091-01-01T00:00:00Z]"))
    w.write("caveat and expiration where only one is allowed", (h.TOUCH, "document:new#viewer@user:x[only_on][expiration:2091-01-01T00:00:00Z]"))
    for text in (
        "document:new#view@user:x", "document:new#nothing@user:x", "nothing:new#owner@user:x", "document:new#owner@nothing:x", "document:new#owner@team:eng#member",
        "document:new#viewer@team:eng", "document:new#viewer@team:eng#nothing", "document:new#viewer@team:eng#lead", "document:new#owner@user:*", "document:new#viewer@user:*",
        "document:*#owner@user:x", "document:a b#owner@user:x", "document:new#owner@user:a b", "document:#owner@user:x", "document:new#owner@user:", "Doc:new#owner@user:x",
        "document:new#Owner@user:x", f"document:{'x' * 1024}#owner@user:x", f"document:{'x' * 1025}#owner@user:x", "document:new#viewer@user:x[nothing]",
        'document:new#viewer@user:x[only_on:{"colour":"red"}]', 'document:new#viewer@user:x[only_on:{"level":"many"}]', 'document:new#viewer@user:x[only_on:{"level":"4"}]',
        "document:new#viewer@user:*[only_on]", "document:new#viewer@user:*[expiration:2091-01-01T00:00:00Z]", "document:new#owner@user:x#...", "document:new#viewer@user:x[ranked]",
    ):  # fmt: skip
        for operation, name in ((h.TOUCH, "touch"), (h.CREATE, "create"), (h.DELETE, "delete")):
            w.write(f"{name} {text[:60]}", (operation, text))
    w.write("the same twice", (h.TOUCH, new), (h.TOUCH, new))
    w.write("touch and delete of the same", (h.TOUCH, new), (h.DELETE, new))
    w.write("the same with two caveats", (h.TOUCH, "document:new#viewer@user:x[only_on]"), (h.TOUCH, "document:new#viewer@user:x"))
    w.write("a good and a bad one", (h.TOUCH, "document:new#owner@user:good"), (h.TOUCH, "document:new#nothing@user:x"))
    w.write("a new one and one that is there", (h.CREATE, "document:new#owner@user:good"), (h.CREATE, old))
    w.write("1,000 updates", *[(h.TOUCH, f"document:m{n}#owner@user:x") for n in range(1000)])
    w.write("1,001 updates", *[(h.TOUCH, f"document:n{n}#owner@user:x") for n in range(1001)])
    w.write("a context of 26,000 bytes", (h.TOUCH, 'document:new#viewer@user:x[only_on:{"day":"' + "x" * 26_000 + '"}]'))
    w.write("a context of 24,000 bytes", (h.TOUCH, 'document:new#viewer@user:x[only_on:{"day":"' + "x" * 24_000 + '"}]'))
    w.write("metadata", (h.TOUCH, old), optional_transaction_metadata=h.struct({"why": "so", "n": 1, "list": [1, "a", None]}))
    w.write("metadata of 66,000 bytes", (h.TOUCH, old), optional_transaction_metadata=h.struct({"why": "x" * 66_000}))
    none = h.of_type("document", optional_resource_id="absent")
    some = h.of_type("document", optional_resource_id="readme")
    for name, operation, filter in [
        ("must match, and does", MUST, some), ("must match, and does not", MUST, none), ("must not match, and does not", MUST_NOT, none), ("must not match, but does", MUST_NOT, some),
        ("of no operation", 0, some), ("of an unknown operation", 9, some), ("without a filter", MUST, None), ("with an empty filter", MUST, RelationshipFilter()),
    ]:  # fmt: skip
        held = [Precondition(operation=operation, filter=filter)]
        w.write(f"a precondition {name}", (h.TOUCH, old), optional_preconditions=held)
        w.ask(f"a delete, precondition {name}", "DeleteRelationships",
              DeleteRelationshipsRequest(relationship_filter=h.of_type("document", optional_resource_id="new"), optional_preconditions=held))
    every = h.of_type("document", optional_resource_id="readme", optional_relation="viewer",
                      optional_subject_filter=SubjectFilter(subject_type="user", optional_subject_id="none", optional_relation=SubjectFilter.RelationFilter(relation="")))  # fmt: skip
    w.write("a precondition of all fields that fails", (h.TOUCH, old), optional_preconditions=[Precondition(operation=MUST, filter=every)])
    w.write("two preconditions, the second fails", (h.TOUCH, old),
            optional_preconditions=[Precondition(operation=MUST, filter=some), Precondition(operation=MUST_NOT, filter=some)])
    w.write("1,001 preconditions", (h.TOUCH, old), optional_preconditions=[Precondition(operation=MUST, filter=some)] * 1001)
    relationship = h.rel(old)
    for name, update in {
        "an update of nothing": RelationshipUpdate(), "an update without an operation": RelationshipUpdate(relationship=relationship), "an unknown operation": RelationshipUpdate(operation=9, relationship=relationship),
        "an update without a relationship": RelationshipUpdate(operation=h.TOUCH),
        "a relationship without a subject": RelationshipUpdate(operation=h.TOUCH, relationship=Relationship(resource=h.ref("document:new"), relation="owner")),
        "a relationship without a resource": RelationshipUpdate(operation=h.TOUCH, relationship=Relationship(relation="owner", subject=h.sub("user:x"))),
        "a relationship without a relation": RelationshipUpdate(operation=h.TOUCH, relationship=Relationship(resource=h.ref("document:new"), subject=h.sub("user:x"))),
        "an empty subject": RelationshipUpdate(operation=h.TOUCH, relationship=Relationship(resource=h.ref("document:new"), relation="owner", subject=SubjectReference(object=ObjectReference()))),
        "a caveat without a name": RelationshipUpdate(operation=h.TOUCH, relationship=Relationship(resource=h.ref("document:new"), relation="owner", subject=h.sub("user:x"), optional_caveat=ContextualizedCaveat())),
    }.items():  # fmt: skip
        w.ask(name, "WriteRelationships", WriteRelationshipsRequest(updates=[update]))
    return w


def deletes():
    w = World("deletes", DRIVE, [f"document:x{n:02}#owner@user:u" for n in range(20)] + DATA)
    of = h.of_type("document", optional_resource_id_prefix="x")
    for name, rest in [
        ("more than the limit", {"optional_limit": 5}), ("partly", {"optional_limit": 5, "optional_allow_partial_deletions": True}),
        ("partly again", {"optional_limit": 7, "optional_allow_partial_deletions": True}), ("exactly the limit", {"optional_limit": 8, "optional_allow_partial_deletions": True}),
        ("nothing is left", {"optional_limit": 5}), ("nothing, without a limit", {}), ("limit 1001", {"optional_limit": 1001}), ("partial without a limit", {"optional_allow_partial_deletions": True}),
    ]:  # fmt: skip
        w.ask(name, "DeleteRelationships", DeleteRelationshipsRequest(relationship_filter=of, **rest))
    w.ask("no filter", "DeleteRelationships", DeleteRelationshipsRequest())
    w.ask("metadata of 66,000 bytes", "DeleteRelationships",
          DeleteRelationshipsRequest(relationship_filter=of, optional_transaction_metadata=h.struct({"why": "x" * 66_000})))
    for filter in (h.of_type("document", optional_resource_id="late"), h.of_type("document", optional_resource_id="gone"), RelationshipFilter(optional_relation="banned"), h.of_type("team")):
        w.ask(f"of {str(filter)!r}", "DeleteRelationships", DeleteRelationshipsRequest(relationship_filter=filter))
    return w


def bulk_calls():
    w = World("bulk import", DRIVE, DATA[:3])
    loads = {
        "two messages": [["document:i1#owner@user:a"], ["document:i2#owner@user:a", "document:i3#viewer@user:a[only_on]"]],
        "none": [], "an empty message": [[]], "what is there": [["document:i4#owner@user:a", "document:i1#owner@user:a"]], "the same twice": [["document:i5#owner@user:a", "document:i5#owner@user:a"]],
        "an unknown relation": [["document:i6#nothing@user:a"]], "an unknown type": [["nothing:i6#owner@user:a"]], "a permission": [["document:i6#view@user:a"]], "a subject that does not fit": [["document:i6#owner@team:eng"]],
        "an unknown caveat": [["document:i6#viewer@user:a[nothing]"]], "a bad context": [['document:i6#viewer@user:a[only_on:{"level":"many"}]']], "a bad id": [["document:a b#owner@user:a"]],
        "an expired one": [["document:i7#viewer@user:a[expiration:2001-01-01T00:00:00Z]"]],
    }  # fmt: skip
    for name, messages in loads.items():
        w.ask(name, "ImportBulkRelationships", [ImportBulkRelationshipsRequest(relationships=map(h.rel, m)) for m in messages])
        renamed = [[text.replace(":i", ":j") for text in m] for m in messages]
        w.ask(f"{name}, of the older call", "BulkImportRelationships", [BulkImportRelationshipsRequest(relationships=map(h.rel, m)) for m in renamed])
    for size in (0, 1, 3, 1000):
        w.ask(f"export of the older call in pages of {size}", "BulkExportRelationships", BulkExportRelationshipsRequest(), paged=("optional_limit", size))
    for name, filter in WRONG_FILTERS.items():
        w.ask(f"export of the older call with {name}", "BulkExportRelationships", BulkExportRelationshipsRequest(optional_relationship_filter=filter))
    w.ask("export of the older call with limit 10001", "BulkExportRelationships", BulkExportRelationshipsRequest(optional_limit=10_001))
    w.ask("export of the older call with a bad cursor", "BulkExportRelationships", BulkExportRelationshipsRequest(optional_cursor=Cursor(token="x")))
    item = lambda text: (lambda r: BulkCheckPermissionRequestItem(resource=r.resource, permission=r.relation, subject=r.subject))(h.rel(text))  # noqa: E731
    for name, texts in {
        "one": ["document:i1#edit@user:a"], "none": [], "wrong ones among others": ["document:i1#edit@user:a", "document:i1#nothing@user:a", "nothing:i1#edit@user:a", "document:i1#edit@user:*", "document:a b#edit@user:a"],
    }.items():  # fmt: skip
        w.ask(f"check of the older call: {name}", "BulkCheckPermission", BulkCheckPermissionRequest(items=map(item, texts)))
    return w


def counting():
    w = World("counters", DRIVE, DATA)

    def register(name, filter):
        return counters.ExperimentalRegisterRelationshipCounterRequest(name=name, relationship_filter=filter)

    def of(name):
        return counters.ExperimentalCountRelationshipsRequest(name=name)

    for name, filter in {"documents": h.of_type("document"), "viewers": h.of_type("document", optional_relation="viewer"), "teams": h.of_type("team"),
                         "of_tom": h.of_type("document", optional_subject_filter=SubjectFilter(subject_type="user", optional_subject_id="tom")),
                         "prefixed": h.of_type("document", optional_resource_id_prefix="re")}.items():  # fmt: skip
        w.ask(f"register {name}", "ExperimentalRegisterRelationshipCounter", register(name, filter))
        w.ask(f"count {name}", "ExperimentalCountRelationships", of(name))
    w.write("another viewer", (h.TOUCH, "document:readme#viewer@user:another"))
    w.ask("count viewers again", "ExperimentalCountRelationships", of("viewers"))
    w.ask("register twice", "ExperimentalRegisterRelationshipCounter", register("teams", h.of_type("document", optional_resource_id="a")))
    for name, filter in WRONG_FILTERS.items():
        w.ask(f"register with {name}", "ExperimentalRegisterRelationshipCounter", register("wrong", filter))
        w.ask(f"then unregister ({name})", "ExperimentalUnregisterRelationshipCounter", counters.ExperimentalUnregisterRelationshipCounterRequest(name="wrong"))
    for name in ("", "A", "a b", "x" * 65, "ab", "a"):
        w.ask(f"register the name {name[:10]!r}", "ExperimentalRegisterRelationshipCounter", register(name, h.of_type("team")))
        w.ask(f"count the name {name[:10]!r}", "ExperimentalCountRelationships", of(name))
    w.ask("register without a filter", "ExperimentalRegisterRelationshipCounter", counters.ExperimentalRegisterRelationshipCounterRequest(name="unfiltered"))
    for name in ("documents", "viewers", "teams", "of_tom", "prefixed", "none"):
        w.ask(f"unregister {name}", "ExperimentalUnregisterRelationshipCounter", counters.ExperimentalUnregisterRelationshipCounterRequest(name=name))
    w.ask("count what was unregistered", "ExperimentalCountRelationships", of("documents"))
    return w


def token_of(kept, name):
    return kept[name].written_at


# Each consistency, some from the tokens of two writes.
MODES = {
    "none": lambda kept: None,
    "minimize_latency": lambda kept: Consistency(minimize_latency=True),
    "minimize_latency false": lambda kept: Consistency(minimize_latency=False),
    "fully_consistent": lambda kept: Consistency(fully_consistent=True),
    "fully_consistent false": lambda kept: Consistency(fully_consistent=False),
    "empty": lambda kept: Consistency(),
    "at_least_as_fresh first": lambda kept: Consistency(at_least_as_fresh=token_of(kept, "first")),
    "at_least_as_fresh second": lambda kept: Consistency(at_least_as_fresh=token_of(kept, "second")),
    "at_exact_snapshot first": lambda kept: Consistency(at_exact_snapshot=token_of(kept, "first")),
    "at_exact_snapshot second": lambda kept: Consistency(at_exact_snapshot=token_of(kept, "second")),
    "at_least_as_fresh nonsense": lambda kept: Consistency(at_least_as_fresh=ZedToken(token="nonsense")),
    "at_exact_snapshot nonsense": lambda kept: Consistency(at_exact_snapshot=ZedToken(token="nonsense")),
    "at_least_as_fresh empty": lambda kept: Consistency(at_least_as_fresh=ZedToken()),
    "at_exact_snapshot empty": lambda kept: Consistency(at_exact_snapshot=ZedToken()),
}


def consistencies():
    w = World("consistency", DRIVE, DATA)
    w.ask("first", "WriteRelationships", h.write("document:c#viewer@user:one"), keep="first")
    w.ask("second", "WriteRelationships", h.write("document:c#viewer@user:two"), keep="second")
    of_c = h.of_type("document", optional_resource_id="c")
    made = {
        "check": ("CheckPermission", lambda c: h.check("document:c#view@user:two", consistency=c)),
        "resources": ("LookupResources", lambda c: what("user:two", consistency=c)),
        "subjects": ("LookupSubjects", lambda c: who("document:c", consistency=c)),
        "read": ("ReadRelationships", lambda c: ReadRelationshipsRequest(relationship_filter=of_c, consistency=c)),
        "export": ("ExportBulkRelationships", lambda c: ExportBulkRelationshipsRequest(consistency=c)),
    }
    # The other server's newest revision is up to five seconds old where the least latency is asked for.
    wait = 6.0
    for mode, of in MODES.items():
        for name, (call, make) in made.items():
            w.ask(f"{name} {mode}", call, lambda kept, make=make, of=of: make(of(kept)), as_it_is=True, wait=wait)
            wait = 0
    return w


def watches():
    w = World("watch", DRIVE, DATA)
    w.ask("a start", "WriteRelationships", h.write("document:w#viewer@user:zero"), keep="start")
    w.write("one", (h.TOUCH, "document:w#viewer@user:one"), optional_transaction_metadata=h.struct({"why": "one"}))
    w.write("two at once", (h.TOUCH, "document:w#viewer@user:two"), (h.DELETE, "document:w#viewer@user:one"))
    w.write("a caveat", (h.TOUCH, 'document:w#viewer@user:three[only_on:{"level":1}]'))
    w.write("an expiration", (h.TOUCH, "document:w#viewer@user:four[expiration:2090-01-01T00:00:00Z]"))
    w.write("a team", (h.CREATE, "team:w#member@user:five"))
    w.ask("a delete", "DeleteRelationships", DeleteRelationshipsRequest(relationship_filter=h.of_type("document", optional_resource_id="w")))
    start = lambda kept, **rest: WatchRequest(optional_start_cursor=kept["start"].written_at, **rest)  # noqa: E731
    w.ask("everything", "Watch", start, take=6)
    w.ask("teams", "Watch", lambda kept: start(kept, optional_object_types=["team"]), take=1)
    w.ask("documents", "Watch", lambda kept: start(kept, optional_object_types=["document"]), take=5)
    for name, filter in {"an id": h.of_type("document", optional_resource_id="w"), "a prefix": h.of_type("team", optional_resource_id_prefix="w"),
                         "a subject": RelationshipFilter(optional_subject_filter=SubjectFilter(subject_type="user", optional_subject_id="five"))}.items():  # fmt: skip
        w.ask(f"a filter of {name}", "Watch", lambda kept, filter=filter: start(kept, optional_relationship_filters=[filter]), take=1)
    for name, filter in WRONG_FILTERS.items():
        if name not in ("a permission", "a relation of no type", "the id *"):
            w.ask(f"with {name}", "Watch", lambda kept, filter=filter: start(kept, optional_relationship_filters=[filter]), take=1)
    w.ask("types and filters", "Watch", lambda kept: start(kept, optional_object_types=["team"], optional_relationship_filters=[h.of_type("team")]), take=1)
    w.ask("an unknown type", "Watch", lambda kept: start(kept, optional_object_types=["nothing", "team"]), take=1)
    w.ask("a bad type", "Watch", lambda kept: start(kept, optional_object_types=["No"]), take=1)
    w.ask("from nonsense", "Watch", WatchRequest(optional_start_cursor=ZedToken(token="nonsense")), take=1)
    w.ask("from an empty token", "Watch", WatchRequest(optional_start_cursor=ZedToken()), take=1)
    return w


def worlds():
    return [filters(), writes(), deletes(), bulk_calls(), counting(), consistencies(), watches()]
