"""PermissionsService: every call, with its consistency, context, limits, cursors and traces."""

import asyncio

import grpc
from authzed.api.v1 import (
    AsyncClient,
    CheckBulkPermissionsRequest,
    CheckBulkPermissionsRequestItem,
    CheckPermissionResponse,
    Consistency,
    ContextualizedCaveat,
    Cursor,
    DeleteRelationshipsRequest,
    DeleteRelationshipsResponse,
    ExpandPermissionTreeRequest,
    LookupResourcesRequest,
    LookupSubjectsRequest,
    Precondition,
    ReadRelationshipsRequest,
    SubjectFilter,
    SyncClient,
    WriteRelationshipsRequest,
    ZedToken,
)
from authzed.api.v1.core_pb2 import AlgebraicSubjectSet
from authzed.api.v1.debug_pb2 import CaveatEvalInfo, CheckDebugTrace
from authzed.api.v1.permission_service_pb2 import ExportBulkRelationshipsRequest, ImportBulkRelationshipsRequest
from google.protobuf import text_format
from grpcutil import insecure_bearer_token_credentials

from harness import CREATE, DELETE, check, info_of, of_type, ref, rel, said, struct, sub, updates, write
from world import RELATIONSHIPS, furnish

NO, HAS, CONDITIONAL = (
    CheckPermissionResponse.PERMISSIONSHIP_NO_PERMISSION,
    CheckPermissionResponse.PERMISSIONSHIP_HAS_PERMISSION,
    CheckPermissionResponse.PERMISSIONSHIP_CONDITIONAL_PERMISSION,
)
# LookupPermissionship of the lookups.
SURE, PERHAPS = 1, 2
FULL = Consistency(fully_consistent=True)


def checks_and_consistency(t, client):
    first = furnish(client)
    for text, want in [
        ("document:readme#view@user:tom", HAS),
        ("document:readme#view@user:ann", HAS),
        ("document:readme#view@user:bob", NO),
        ("document:readme#view@user:nobody", NO),
        ("document:readme#view@user:eve", CONDITIONAL),
        ("document:open#view@user:anyone", HAS),
        ("document:open#view@user:bob", NO),
        ("document:readme#viewer@group:all#member", HAS),
        ("document:readme#viewer@group:eng#member", HAS),
        ("group:eng#member@group:eng#member", HAS),
        ("document:nothing#view@user:tom", NO),
    ]:
        t.same(f"check {text}", client.CheckPermission(check(text, consistency=FULL)).permissionship, want)
    eve = "document:readme#view@user:eve"
    missing = client.CheckPermission(check(eve)).partial_caveat_info.missing_required_context
    t.same("a conditional answer names what is missing", list(missing), ["level"])
    t.same("context decides: has", client.CheckPermission(check(eve, {"level": 5})).permissionship, HAS)
    t.same("context decides: no", client.CheckPermission(check(eve, {"level": 3})).permissionship, NO)
    stored = check(eve, {"level": 5, "day": "monday"})
    t.same("what is stored wins over the context", client.CheckPermission(stored).permissionship, HAS)
    unknown = check(eve, {"level": 5, "colour": "red"})
    t.same("unknown context is ignored", client.CheckPermission(unknown).permissionship, HAS)
    late = client.CheckPermission(check("document:late#view@user:tom"))
    t.same("until when an answer holds", late.optional_expires_at.ToJsonString(), "2040-01-01T00:00:00Z")
    readme = client.CheckPermission(check("document:readme#view@user:tom"))
    t.same("an answer without an end", readme.HasField("optional_expires_at"), False)

    second = client.WriteRelationships(write("document:plan#viewer@user:zoe")).written_at
    zoe = "document:plan#view@user:zoe"
    stranger = ZedToken(token="GhUKEzE3MDAwMDAwMDAwMDAwMDAwMDA=")
    for name, consistency, want in [
        ("none", None, (HAS, second)),
        ("minimize_latency", Consistency(minimize_latency=True), (HAS, second)),
        ("fully_consistent", FULL, (HAS, second)),
        ("at_least_as_fresh of an older token", Consistency(at_least_as_fresh=first), (HAS, second)),
        ("at_least_as_fresh of the newest token", Consistency(at_least_as_fresh=second), (HAS, second)),
        ("at_least_as_fresh of another server's token", Consistency(at_least_as_fresh=stranger), (HAS, second)),
        ("at_exact_snapshot before", Consistency(at_exact_snapshot=first), (NO, first)),
        ("at_exact_snapshot after", Consistency(at_exact_snapshot=second), (HAS, second)),
    ]:
        answer = client.CheckPermission(check(zoe, consistency=consistency))
        t.same(f"consistency {name}", (answer.permissionship, answer.checked_at), want)
        item = CheckBulkPermissionsRequestItem(resource=ref("document:plan"), permission="view", subject=sub("user:zoe"))
        bulk = client.CheckBulkPermissions(CheckBulkPermissionsRequest(consistency=consistency, items=[item]))
        t.same(f"consistency {name}: bulk", (bulk.pairs[0].item.permissionship, bulk.checked_at), want)
        read = client.ReadRelationships(
            ReadRelationshipsRequest(
                consistency=consistency,
                relationship_filter=of_type("document", optional_resource_id="plan", optional_relation="viewer"),
            )
        )
        got = [(said(m.relationship), m.read_at) for m in read]
        t.same(f"consistency {name}: read", got, [("document:plan#viewer@user:zoe", second)] if want[0] == HAS else [])
        found = client.LookupResources(lookup("user:zoe", consistency=consistency))
        got = sorted(m.resource_object_id for m in found)
        t.same(f"consistency {name}: resources", got, ["open", "plan"] if want[0] == HAS else ["open"])
        found = client.LookupSubjects(who("document:plan", consistency=consistency))
        got = sorted(m.subject.subject_object_id for m in found)
        t.same(f"consistency {name}: subjects", got, ["ann", "zoe"] if want[0] == HAS else ["ann"])
        tree = client.ExpandPermissionTree(
            ExpandPermissionTreeRequest(consistency=consistency, resource=ref("document:plan"), permission="viewer")
        )
        got = ([s.object.object_id for s in tree.tree_root.leaf.subjects], tree.expanded_at)
        t.same(f"consistency {name}: expand", got, (["zoe"] if want[0] == HAS else [], want[1]))
        out = client.ExportBulkRelationships(ExportBulkRelationshipsRequest(consistency=consistency))
        t.same(f"consistency {name}: export", sum(len(m.relationships) for m in out), 13 if want[0] == HAS else 12)


def lookup(subject, **rest):
    return LookupResourcesRequest(resource_object_type="document", permission="view", subject=sub(subject), **rest)


def who(resource, permission="view", **rest):
    return LookupSubjectsRequest(resource=ref(resource), permission=permission, subject_object_type="user", **rest)


def bulk_checks(t, client):
    furnish(client)
    texts = [
        "document:readme#view@user:tom",
        "document:readme#view@user:bob",
        "document:readme#view@user:eve",
        "document:readme#nothing@user:tom",
        "nothing:readme#view@user:tom",
        "document:odd#view@user:flo",
        "document:readme#view@user:tom",
    ]
    items = [
        CheckBulkPermissionsRequestItem(resource=r.resource, permission=r.relation, subject=r.subject)
        for r in map(rel, texts)
    ]
    items.append(
        CheckBulkPermissionsRequestItem(
            resource=ref("document:readme"), permission="view", subject=sub("user:eve"), context=struct({"level": 9})
        )
    )
    pairs = client.CheckBulkPermissions(CheckBulkPermissionsRequest(items=items)).pairs
    t.same("each pair repeats its request", [pair.request for pair in pairs], items)
    kinds = [pair.WhichOneof("response") for pair in pairs]
    t.same("items and errors", kinds, ["item", "item", "item", "error", "error", "error", "item", "item"])
    got = [pair.item.permissionship for pair in pairs if pair.HasField("item")]
    t.same("permissionships", got, [HAS, NO, CONDITIONAL, HAS, HAS])
    t.same("missing of an item", list(pairs[2].item.partial_caveat_info.missing_required_context), ["level"])
    failed = grpc.StatusCode.FAILED_PRECONDITION.value[0]
    invalid = grpc.StatusCode.INVALID_ARGUMENT.value[0]
    t.same("codes of errors", [pairs[i].error.code for i in (3, 4, 5)], [failed, failed, invalid])
    traced = client.CheckBulkPermissions(CheckBulkPermissionsRequest(items=items[:2], with_tracing=True)).pairs
    t.same("traces of items", [p.item.debug_trace.check.result for p in traced], [2, 1])


def traces(t, client):
    furnish(client)
    trace = client.CheckPermission(check("document:readme#view@user:tom", with_tracing=True)).debug_trace
    top = trace.check
    got = (top.resource, top.permission, top.permission_type, top.subject, top.result)
    want = (ref("document:readme"), "view", CheckDebugTrace.PERMISSION_TYPE_PERMISSION, sub("user:tom"), 2)
    t.same("what the trace is of", got, want)
    t.true("the trace has the schema", "permission view" in trace.schema_used, trace.schema_used)

    def walk(node):
        yield node
        for inner in node.sub_problems.traces:
            yield from walk(inner)

    names = {(n.resource.object_type, n.resource.object_id, n.permission, n.result) for n in walk(top)}
    t.true("the trace reaches the group", ("group", "eng", "member", 2) in names, names)
    t.same("results of the trace are has or no", {n.result for n in walk(top)} - {1, 2}, set())
    untraced = client.CheckPermission(check("document:readme#view@user:tom"))
    t.same("no trace unless asked", untraced.HasField("debug_trace"), False)

    eve = "document:readme#view@user:eve"
    for context, result, value in [
        (None, CaveatEvalInfo.RESULT_MISSING_SOME_CONTEXT, CONDITIONAL),
        ({"level": 5}, CaveatEvalInfo.RESULT_TRUE, HAS),
        ({"level": 1}, CaveatEvalInfo.RESULT_FALSE, NO),
    ]:
        answer = client.CheckPermission(check(eve, context, with_tracing=True))
        t.same(f"traced answer with {context}", answer.permissionship, value)
        infos = [n.caveat_evaluation_info for n in walk(answer.debug_trace.check) if n.HasField("caveat_evaluation_info")]
        infos = [info for info in infos if info.caveat_name == "only_on"]
        t.true(f"the trace shows the caveat with {context}", infos, str(answer.debug_trace))
        info = infos[0]
        t.same(f"caveat result with {context}", info.result, result)
        t.same(f"caveat expression with {context}", info.expression, 'day == "tuesday" && level > 3')
        want = {"day": "tuesday", **({"level": float(context["level"])} if context else {})}
        t.same(f"caveat context with {context}", {k: v for k, v in info.context.items()}, want)
        missing = list(info.partial_caveat_info.missing_required_context)
        t.same(f"caveat missing with {context}", missing, [] if context else ["level"])
    try:
        client.CheckPermission(check("document:odd#view@user:flo", with_tracing=True))
        t.same("a failing traced check", "answered", "refused")
    except grpc.RpcError as error:
        text = info_of(error).metadata["debug_trace_proto_text"]
        parsed = text_format.Parse(text, type(trace)())
        t.same("the trace of a failed check", parsed.check.resource, ref("document:odd"))


def expansion(t, client):
    furnish(client)

    def tree(permission):
        return client.ExpandPermissionTree(
            ExpandPermissionTreeRequest(resource=ref("document:readme"), permission=permission, consistency=FULL)
        ).tree_root

    def told(node):
        if node.WhichOneof("tree_type") == "leaf":
            return sorted(said_subject(s) for s in node.leaf.subjects)
        operation = AlgebraicSubjectSet.Operation.Name(node.intermediate.operation).removeprefix("OPERATION_")
        return {operation: [told(child) for child in node.intermediate.children]}

    top = tree("view")
    t.same("expand: of what", (top.expanded_object, top.expanded_relation), (ref("document:readme"), "view"))
    viewers = ["group:all#member", "user:bob", "user:eve"]
    want = {"EXCLUSION": [{"UNION": [viewers, ["user:ann"]]}, ["user:bob"]]}
    t.same("expand: an exclusion of a union", told(top), want)
    t.same("expand: a relation", told(tree("viewer")), viewers)


def said_subject(subject):
    relation = f"#{subject.optional_relation}" if subject.optional_relation else ""
    return f"{subject.object.object_type}:{subject.object.object_id}{relation}"


def lookups(t, client):
    furnish(client)
    client.WriteRelationships(write(*[f"document:d{n:02}#viewer@user:tom" for n in range(10)]))
    ids = sorted(["readme", "open", "late", *(f"d{n:02}" for n in range(10))])
    found = list(client.LookupResources(lookup("user:tom", consistency=FULL)))
    t.same("resources", sorted(m.resource_object_id for m in found), ids)
    t.same("resources: each sure", {m.permissionship for m in found}, {SURE})
    debugged = client.LookupResources(lookup("user:tom", consistency=FULL, with_debug=True))
    t.same("resources with debugging", sorted(m.resource_object_id for m in debugged), ids)
    t.same("resources: one revision", len({m.looked_up_at.token for m in found}), 1)
    eve = {m.resource_object_id: m for m in client.LookupResources(lookup("user:eve"))}
    t.same("resources of a conditional subject", {k: m.permissionship for k, m in eve.items()}, {"readme": PERHAPS, "open": SURE})
    missing = list(eve["readme"].partial_caveat_info.missing_required_context)
    t.same("resources: what is missing", missing, ["level"])
    for level, want in [(5, ["open", "readme"]), (1, ["open"])]:
        got = client.LookupResources(lookup("user:eve", context=struct({"level": level})))
        t.same(f"resources with level {level}", sorted(m.resource_object_id for m in got), want)
    for size in (1, 2, 7, 1000):
        pages = pages_of(client.LookupResources, lambda **rest: lookup("user:tom", **rest), "optional_limit", size)
        t.same(f"resources in pages of {size}", sorted(m.resource_object_id for m in pages), ids)
    # A page of a revision: what is written between two pages is not seen.
    first = list(client.LookupResources(lookup("user:tom", optional_limit=3)))
    client.WriteRelationships(write("document:new#viewer@user:tom"))
    rest = list(client.LookupResources(lookup("user:tom", optional_cursor=first[-1].after_result_cursor)))
    t.same("resources: pages of one revision", sorted(m.resource_object_id for m in first + rest), ids)

    subjects = list(client.LookupSubjects(who("document:readme", consistency=FULL)))
    got = {m.subject.subject_object_id: m.subject.permissionship for m in subjects}
    t.same("subjects", got, {"tom": SURE, "ann": SURE, "eve": PERHAPS})
    old = {m.subject_object_id: m.permissionship for m in subjects}
    t.same("subjects: the older fields too", old, got)
    usersets = client.LookupSubjects(
        LookupSubjectsRequest(
            resource=ref("document:readme"), permission="view", subject_object_type="group", optional_subject_relation="member"
        )
    )
    t.same("subjects: usersets", sorted(m.subject.subject_object_id for m in usersets), ["all", "eng"])
    wild = list(client.LookupSubjects(who("document:open")))
    t.same("subjects: the wildcard", [m.subject.subject_object_id for m in wild], ["*"])
    excluded = [(s.subject_object_id, s.permissionship) for s in wild[0].excluded_subjects]
    t.same("subjects: who is excluded from it", (excluded, list(wild[0].excluded_subject_ids)), ([("bob", SURE)], ["bob"]))
    for option, want in [
        (LookupSubjectsRequest.WILDCARD_OPTION_UNSPECIFIED, ["*"]),
        (LookupSubjectsRequest.WILDCARD_OPTION_INCLUDE_WILDCARDS, ["*"]),
        (LookupSubjectsRequest.WILDCARD_OPTION_EXCLUDE_WILDCARDS, []),
    ]:
        got = [m.subject.subject_object_id for m in client.LookupSubjects(who("document:open", wildcard_option=option))]
        t.same(f"subjects: wildcard option {option}", got, want)
    for size in (1, 2, 7, 1000):
        make = lambda **rest: who("document:readme", **rest)  # noqa: E731
        pages = pages_of(client.LookupSubjects, make, "optional_concrete_limit", size)
        got = sorted(m.subject.subject_object_id for m in pages)
        t.same(f"subjects in pages of {size}", got, ["ann", "eve", "tom"])


def pages_of(call, make, limit, size):
    """All answers, page by page; no page may be longer than asked."""
    found, cursor = [], None
    while True:
        page = list(call(make(optional_cursor=cursor, **{limit: size})))
        assert len(page) <= size, (len(page), size)
        found += page
        if len(page) < size:
            return found
        cursor = page[-1].after_result_cursor


def reading(t, client):
    furnish(client)

    def read(**filter):
        request = ReadRelationshipsRequest(relationship_filter=of_type(filter.pop("resource_type", ""), **filter))
        return sorted(said(m.relationship) for m in client.ReadRelationships(request))

    documents = sorted(text for text in RELATIONSHIPS if text.startswith("document:"))
    t.same("read a type, with caveats and expirations", read(resource_type="document"), documents)
    t.same("read by id", read(resource_type="document", optional_resource_id="plan"), ["document:plan#owner@user:ann"])
    want = [text for text in documents if text.startswith("document:o")]
    t.same("read by prefix", read(resource_type="document", optional_resource_id_prefix="o"), want)
    want = [text for text in documents if "#owner@" in text]
    t.same("read by relation", read(resource_type="document", optional_relation="owner"), want)
    t.same("read by relation of any type", read(optional_relation="owner"), want)
    tom = SubjectFilter(subject_type="user", optional_subject_id="tom")
    want = sorted(text for text in RELATIONSHIPS if "@user:tom" in text)
    t.same("read by subject", read(optional_subject_filter=tom), want)
    members = SubjectFilter(subject_type="group", optional_relation=SubjectFilter.RelationFilter(relation="member"))
    want = sorted(text for text in RELATIONSHIPS if "@group:" in text)
    t.same("read by userset", read(optional_subject_filter=members), want)
    bare = SubjectFilter(subject_type="group", optional_relation=SubjectFilter.RelationFilter(relation=""))
    t.same("read by subjects without relation", read(optional_subject_filter=bare), [])
    star = SubjectFilter(subject_type="user", optional_subject_id="*")
    t.same("read by wildcard", read(optional_subject_filter=star), ["document:open#viewer@user:*"])
    for size in (1, 2, 7, 1000):
        make = lambda **rest: ReadRelationshipsRequest(relationship_filter=of_type("document"), **rest)  # noqa: E731
        pages = pages_of(client.ReadRelationships, make, "optional_limit", size)
        t.same(f"read in pages of {size}", sorted(said(m.relationship) for m in pages), documents)


def writing(t, client):
    furnish(client)
    has = lambda text: client.CheckPermission(check(text, consistency=FULL)).permissionship == HAS  # noqa: E731
    client.WriteRelationships(write("document:w#owner@user:ann", operation=CREATE))
    t.same("CREATE writes", has("document:w#owner@user:ann"), True)
    client.WriteRelationships(write("document:w#owner@user:ann"))
    t.same("TOUCH of what is there", has("document:w#owner@user:ann"), True)
    client.WriteRelationships(write("document:w#owner@user:ann", "document:w#owner@user:nobody", operation=DELETE))
    t.same("DELETE, also of what is not there", has("document:w#owner@user:ann"), False)
    both = updates(CREATE, "document:w#owner@user:x") + updates(DELETE, "document:plan#owner@user:ann")
    client.WriteRelationships(WriteRelationshipsRequest(updates=both))
    t.same("one write of several operations", (has("document:w#owner@user:x"), has("document:plan#owner@user:ann")), (True, False))

    there = of_type("document", optional_resource_id="w", optional_relation="owner")
    absent = of_type("document", optional_resource_id="nowhere")
    for name, operation, filter in [
        ("MUST_MATCH", Precondition.OPERATION_MUST_MATCH, there),
        ("MUST_NOT_MATCH", Precondition.OPERATION_MUST_NOT_MATCH, absent),
    ]:
        held = [Precondition(operation=operation, filter=filter)]
        client.WriteRelationships(write(f"document:{name}#owner@user:x", optional_preconditions=held))
        t.same(f"a precondition {name} that holds", has(f"document:{name}#owner@user:x"), True)
    wrong = [Precondition(operation=Precondition.OPERATION_MUST_MATCH, filter=absent)]
    guarded = write("document:guarded#owner@user:x", optional_preconditions=wrong)
    reason = "WRITE_OR_DELETE_PRECONDITION_FAILURE"
    t.refused("a precondition that fails", lambda: client.WriteRelationships(guarded), "FAILED_PRECONDITION", reason,
              precondition_operation="OPERATION_MUST_MATCH", precondition_resource_type="document",
              precondition_resource_id="nowhere")
    t.same("nothing of it was written", has("document:guarded#owner@user:x"), False)
    delete = DeleteRelationshipsRequest(relationship_filter=there, optional_preconditions=wrong)
    t.refused("a delete whose precondition fails", lambda: client.DeleteRelationships(delete), "FAILED_PRECONDITION",
              reason, precondition_operation="OPERATION_MUST_MATCH", precondition_resource_type="document",
              precondition_resource_id="nowhere")
    t.same("nothing of it was deleted", has("document:w#owner@user:x"), True)
    bare = SubjectFilter(subject_type="user", optional_relation=SubjectFilter.RelationFilter(relation=""))
    nobody = of_type("document", optional_resource_id="nowhere", optional_subject_filter=bare)
    held = [Precondition(operation=Precondition.OPERATION_MUST_MATCH, filter=nobody)]
    guarded = write("document:guarded#owner@user:x", optional_preconditions=held)
    t.refused("a precondition on subjects without a relation", lambda: client.WriteRelationships(guarded),
              "FAILED_PRECONDITION", reason, precondition_operation="OPERATION_MUST_MATCH",
              precondition_resource_type="document", precondition_resource_id="nowhere",
              precondition_subject_type="user", precondition_subject_relation="")
    again = write('document:readme#viewer@user:eve[only_on:{"day":"monday"}]', operation=CREATE)
    t.refused("what is created again is named without its condition", lambda: client.WriteRelationships(again),
              "ALREADY_EXISTS", "ATTEMPT_TO_RECREATE_RELATIONSHIP", relationship="document:readme#viewer@user:eve",
              resource_type="document", resource_object_id="readme", resource_relation="viewer", subject_type="user",
              subject_object_id="eve", subject_relation="")
    nameless = write("document:w#viewer@user:nameless")
    nameless.updates[0].relationship.optional_caveat.CopyFrom(ContextualizedCaveat())
    t.refused("a caveat without a name", lambda: client.WriteRelationships(nameless), "INVALID_ARGUMENT")
    t.same("and no grant without a condition", has("document:w#viewer@user:nameless"), False)


def deleting(t, client):
    furnish(client)
    client.WriteRelationships(write(*[f"document:x{n}#owner@user:u" for n in range(10)]))
    filter = of_type("document", optional_resource_id_prefix="x")

    def delete(**rest):
        answer = client.DeleteRelationships(DeleteRelationshipsRequest(relationship_filter=filter, **rest))
        return answer.deletion_progress, answer.relationships_deleted_count

    complete = DeleteRelationshipsResponse.DELETION_PROGRESS_COMPLETE
    partial = DeleteRelationshipsResponse.DELETION_PROGRESS_PARTIAL
    t.same("a partial delete", delete(optional_limit=4, optional_allow_partial_deletions=True), (partial, 4))
    t.same("the next one", delete(optional_limit=4, optional_allow_partial_deletions=True), (partial, 4))
    t.same("the last one", delete(optional_limit=4, optional_allow_partial_deletions=True), (complete, 2))
    t.same("a delete of nothing", delete(), (complete, 0))
    client.WriteRelationships(write(*[f"document:x{n}#owner@user:u" for n in range(3)]))
    t.same("a delete without a limit", delete(), (complete, 3))


def bulk(t, client):
    furnish(client)
    texts = [f"document:i{n:03}#viewer@user:u{n % 7}" for n in range(250)]
    texts.append('document:i000#viewer@user:eve[only_on:{"day":"tuesday","level":4}]')
    texts.append("document:i000#viewer@user:late[expiration:2040-01-01T00:00:00Z]")
    sent = [ImportBulkRelationshipsRequest(relationships=map(rel, texts[at : at + 100])) for at in range(0, len(texts), 100)]
    t.same("import", client.ImportBulkRelationships(iter(sent)).num_loaded, len(texts))
    everything = sorted(RELATIONSHIPS + texts)
    for size in (0, 1, 7, 1000):
        found = list(client.ExportBulkRelationships(ExportBulkRelationshipsRequest(optional_limit=size)))
        t.same(f"export in messages of {size}", sorted(said(r) for m in found for r in m.relationships), everything)
        longest = max(len(m.relationships) for m in found)
        t.true(f"export: none is longer than {size}", size == 0 or longest <= size, longest)
    half = list(client.ExportBulkRelationships(ExportBulkRelationshipsRequest(optional_limit=100)))[0]
    request = ExportBulkRelationshipsRequest(optional_limit=100, optional_cursor=half.after_result_cursor)
    got = [*half.relationships, *(r for m in client.ExportBulkRelationships(request) for r in m.relationships)]
    t.same("export goes on behind a cursor", sorted(map(said, got)), everything)
    request = ExportBulkRelationshipsRequest(optional_relationship_filter=of_type("group"))
    got = sorted(said(r) for m in client.ExportBulkRelationships(request) for r in m.relationships)
    t.same("export of a filter", got, [text for text in everything if text.startswith("group:")])
    again = [ImportBulkRelationshipsRequest(relationships=[rel("document:fresh#viewer@user:a"), rel(texts[0])])]
    t.refused("an import of what is there", lambda: client.ImportBulkRelationships(iter(again)), "ALREADY_EXISTS",
              "ATTEMPT_TO_RECREATE_RELATIONSHIP", relationship=texts[0], resource_type="document",
              resource_object_id="i000", resource_relation="viewer", subject_type="user", subject_object_id="u0",
              subject_relation="")
    fresh = client.CheckPermission(check("document:fresh#viewer@user:a", consistency=FULL)).permissionship
    t.same("an import that is refused leaves nothing", fresh, NO)


def other_clients(t, client, address, token):
    furnish(client)
    sync = SyncClient(address, insecure_bearer_token_credentials(token))
    t.same("SyncClient", sync.CheckPermission(check("document:readme#view@user:tom")).permissionship, HAS)

    async def ask():
        client = AsyncClient(address, insecure_bearer_token_credentials(token))
        one = await client.CheckPermission(check("document:readme#view@user:tom"))
        many = await asyncio.gather(
            *[client.CheckPermission(check(f"document:readme#view@user:{name}")) for name in ("tom", "bob", "eve")]
        )
        found = [m.resource_object_id async for m in client.LookupResources(lookup("user:tom"))]
        read = client.ReadRelationships(ReadRelationshipsRequest(relationship_filter=of_type("group")))
        groups = sorted([said(m.relationship) async for m in read])
        sent = [ImportBulkRelationshipsRequest(relationships=[rel("document:a#viewer@user:async")])]
        loaded = (await client.ImportBulkRelationships(iter(sent))).num_loaded
        try:
            await client.CheckPermission(check("document:readme#nothing@user:tom"))
            failed = None
        except grpc.aio.AioRpcError as error:
            failed = (error.code().name, info_of(error).reason)
        return one.permissionship, [m.permissionship for m in many], sorted(found), groups, loaded, failed

    one, many, found, groups, loaded, failed = asyncio.run(ask())
    t.same("AsyncClient: check", one, HAS)
    t.same("AsyncClient: checks at once", many, [HAS, NO, CONDITIONAL])
    t.same("AsyncClient: lookup", found, ["late", "open", "readme"])
    t.same("AsyncClient: read", groups, [text for text in RELATIONSHIPS if text.startswith("group:")][::-1])
    t.same("AsyncClient: import", loaded, 1)
    t.same("AsyncClient: error", failed, ("FAILED_PRECONDITION", "ERROR_REASON_UNKNOWN_RELATION_OR_PERMISSION"))
    # Cursors of another question are refused by name.
    page = next(iter(client.LookupResources(lookup("user:tom", optional_limit=1))))
    other = lookup("user:ann", optional_cursor=page.after_result_cursor)
    t.refused("a cursor of another question", lambda: client.LookupResources(other), "INVALID_ARGUMENT", "INVALID_CURSOR")
    bad = lookup("user:tom", optional_cursor=Cursor(token="nonsense"))
    t.refused("a cursor of nobody's", lambda: client.LookupResources(bad), "INVALID_ARGUMENT", "INVALID_CURSOR")
