"""Errors by reason: each that a client can provoke, with its status and metadata; docs/errors.md must say the same.

That page has a heading for every reason and below it a line `Status: … Metadata: …`, which is read here.
"""

import pathlib
import re

from authzed.api.v1 import (
    CheckBulkPermissionsRequest,
    CheckBulkPermissionsRequestItem,
    Cursor,
    DeleteRelationshipsRequest,
    LookupResourcesRequest,
    LookupSubjectsRequest,
    Precondition,
    ReadRelationshipsRequest,
    RelationshipFilter,
    RelationshipUpdate,
    WriteRelationshipsRequest,
    WriteSchemaRequest,
)
from authzed.api.v1.experimental_service_pb2 import (
    ExperimentalCountRelationshipsRequest,
    ExperimentalRegisterRelationshipCounterRequest,
    ExperimentalUnregisterRelationshipCounterRequest,
)
from authzed.api.v1.permission_service_pb2 import ExportBulkRelationshipsRequest

import grpc

from harness import CREATE, check, info_of, of_type, ref, struct, sub, updates, write
from world import SCHEMA, furnish

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "errors.md"
# A caveat that takes more steps than a question may.
HEAVY = """caveat heavy(items list<int>) {
  items.all(x, items.all(y, items.all(z, x + y + z > 0)))
}
definition heap {
  relation holder: user with heavy
}
"""
# Schemas that are well written but do not hold together, behind a definition `user`; each with other metadata.
SENSELESS = [
    "definition doc {\n relation viewer: user#member\n}",
    "definition doc {\n permission view = viewer\n}",
    "definition doc {\n relation viewer: user | user\n}",
    "definition doc {\n relation parent: user:*\n permission view = parent->view\n}",
    "definition group {\n relation member: user:*\n}\ndefinition doc {\n relation viewer: group#member\n}",
    "definition doc {\n relation viewer: user with nothing\n}",
    "caveat only(a int, b int) { a > 1 }",
]
# What there may be nothing to say about.
MAY_BE_EMPTY = {"subject_relation", "source_code", "filter", "filter_resource_type"}


def documented():
    """Reason -> status and sets of metadata keys, as the page has them."""
    found = {}
    for heading in re.split(r"^### ", PAGE.read_text(), flags=re.M)[1:]:
        reason = heading.split("\n", 1)[0].strip()
        line = re.search(r"^Status: (.+?)\. Metadata: (.+?)\.$", heading, flags=re.M)
        if line:
            statuses = set(re.findall(r"`([A-Z_]+)`", line[1]))
            keys = [set(re.findall(r"`(\w+)`", part)) for part in line[2].split("; or ")]
            found[reason] = (statuses, keys)
    return found


def by_reason(t, client):
    furnish(client)
    client.WriteSchema(WriteSchemaRequest(schema=SCHEMA + HEAVY))
    client.WriteRelationships(write("heap:a#holder@user:tom[heavy]"))
    tom = "document:a#viewer@user:tom"
    heavy = 'document:a#viewer@user:tom[only_on:{"day":"' + "x" * 30_000 + '"}]'
    readme = ref("document:readme")
    item = CheckBulkPermissionsRequestItem(resource=readme, permission="view", subject=sub("user:tom"))
    absent = of_type("document", optional_resource_id="absent")
    must = Precondition(operation=Precondition.OPERATION_MUST_MATCH, filter=absent)
    lookup = lambda **rest: LookupResourcesRequest(  # noqa: E731
        **{"resource_object_type": "document", "permission": "view", "subject": sub("user:tom"), **rest}
    )
    delete = lambda **rest: DeleteRelationshipsRequest(relationship_filter=of_type("document"), **rest)  # noqa: E731
    read = lambda filter, **rest: ReadRelationshipsRequest(relationship_filter=filter, **rest)  # noqa: E731
    both = RelationshipFilter(resource_type="document", optional_resource_id="a", optional_resource_id_prefix="a")
    register = ExperimentalRegisterRelationshipCounterRequest(name="twice", relationship_filter=of_type("document"))
    without = lambda old, new="": WriteSchemaRequest(schema=(SCHEMA + HEAVY).replace(old, new))  # noqa: E731
    with_metadata = write(tom, optional_transaction_metadata=struct({"why": "x" * 65_000}))
    flo = check("document:odd#view@user:flo")
    wild = "document:readme#view@user:*"
    table = [
        ("SCHEMA_PARSE_ERROR", client.WriteSchema, WriteSchemaRequest(schema="definition {")),
        ("SCHEMA_TYPE_ERROR", client.WriteSchema, WriteSchemaRequest(schema="definition abc { relation def: ghi }")),
        ("SCHEMA_TYPE_ERROR", client.WriteSchema, without("  relation banned: user\n", "  relation banned: group#member\n")),
        ("SCHEMA_TYPE_ERROR", client.WriteSchema, without("user:* | ")),
        ("SCHEMA_TYPE_ERROR", client.WriteSchema, without('(day string, level int) {\n  day == "tuesday" && level > 3', "(level int) {\n level > 3")),
        *(("SCHEMA_TYPE_ERROR", client.WriteSchema, WriteSchemaRequest(schema=f"definition user {{}}\n{text}")) for text in SENSELESS),
        ("UNKNOWN_DEFINITION", client.CheckPermission, check("nothing:a#view@user:tom")),
        ("UNKNOWN_DEFINITION", client.WriteRelationships, write("nothing:a#view@user:tom")),
        ("UNKNOWN_RELATION_OR_PERMISSION", client.CheckPermission, check("document:a#nothing@user:tom")),
        ("UNKNOWN_RELATION_OR_PERMISSION", client.WriteRelationships, write("document:a#nothing@user:tom")),
        ("TOO_MANY_UPDATES_IN_REQUEST", client.WriteRelationships, write(*[f"document:d{n}#viewer@user:t" for n in range(1001)])),
        ("TOO_MANY_PRECONDITIONS_IN_REQUEST", client.WriteRelationships, write(tom, optional_preconditions=[must] * 1001)),
        ("WRITE_OR_DELETE_PRECONDITION_FAILURE", client.WriteRelationships, write(tom, optional_preconditions=[must])),
        ("WRITE_OR_DELETE_PRECONDITION_FAILURE", client.DeleteRelationships, delete(optional_preconditions=[must])),
        ("UNKNOWN_CAVEAT", client.WriteRelationships, write(tom + "[nothing]")),
        ("INVALID_SUBJECT_TYPE", client.WriteRelationships, write("document:a#viewer@group:eng")),
        ("INVALID_SUBJECT_TYPE", client.WriteRelationships, write("document:a#banned@user:*")),
        ("INVALID_SUBJECT_TYPE", client.WriteRelationships, write("document:a#banned@user:tom[only_on]")),
        ("CAVEAT_PARAMETER_TYPE_ERROR", client.WriteRelationships, write(tom + '[only_on:{"day":1}]')),
        ("CAVEAT_PARAMETER_TYPE_ERROR", client.WriteRelationships, write(tom + '[only_on:{"colour":"red"}]')),
        ("CAVEAT_PARAMETER_TYPE_ERROR", client.CheckPermission, check("document:readme#view@user:eve", {"level": "many"})),
        ("UPDATES_ON_SAME_RELATIONSHIP", client.WriteRelationships, write(tom, tom)),
        ("CANNOT_UPDATE_PERMISSION", client.WriteRelationships, write("document:a#view@user:tom")),
        ("CAVEAT_EVALUATION_ERROR", client.CheckPermission, flo),
        ("MAXIMUM_DEPTH_EXCEEDED", client.CheckPermission, check("heap:a#holder@user:tom", {"items": [1] * 100})),
        ("INVALID_CURSOR", client.LookupResources, lookup(optional_cursor=Cursor(token="nonsense"))),
        ("INVALID_CURSOR", client.ReadRelationships, read(of_type("document"), optional_cursor=Cursor(token="nonsense"))),
        ("INVALID_CURSOR", client.ExportBulkRelationships, ExportBulkRelationshipsRequest(optional_cursor=Cursor(token="x"))),
        ("TOO_MANY_RELATIONSHIPS_FOR_TRANSACTIONAL_DELETE", client.DeleteRelationships, delete(optional_limit=1)),
        ("MAX_RELATIONSHIP_CONTEXT_SIZE", client.WriteRelationships, write(heavy)),
        ("ATTEMPT_TO_RECREATE_RELATIONSHIP", client.WriteRelationships,
         WriteRelationshipsRequest(updates=updates(CREATE, "document:readme#owner@user:ann"))),
        ("TOO_MANY_CHECKS_IN_REQUEST", client.CheckBulkPermissions, CheckBulkPermissionsRequest(items=[item] * 10_001)),
        ("EXCEEDS_MAXIMUM_ALLOWABLE_LIMIT", client.LookupResources, lookup(optional_limit=1001)),
        ("EXCEEDS_MAXIMUM_ALLOWABLE_LIMIT", client.ReadRelationships, read(of_type("document"), optional_limit=1001)),
        ("EXCEEDS_MAXIMUM_ALLOWABLE_LIMIT", client.LookupSubjects, LookupSubjectsRequest(
            resource=readme, permission="view", subject_object_type="user", optional_concrete_limit=1001)),
        ("EXCEEDS_MAXIMUM_ALLOWABLE_LIMIT", client.DeleteRelationships, delete(optional_limit=1001)),
        ("EXCEEDS_MAXIMUM_ALLOWABLE_LIMIT", client.ExportBulkRelationships, ExportBulkRelationshipsRequest(optional_limit=10_001)),
        ("INVALID_FILTER", client.ReadRelationships, read(RelationshipFilter())),
        ("INVALID_FILTER", client.ReadRelationships, read(both)),
        ("INVALID_FILTER", client.DeleteRelationships, DeleteRelationshipsRequest(relationship_filter=RelationshipFilter())),
        ("EMPTY_PRECONDITION", client.WriteRelationships, write(tom, optional_preconditions=[Precondition(operation=2)])),
        ("COUNTER_ALREADY_REGISTERED", client.ExperimentalRegisterRelationshipCounter, register),
        ("COUNTER_NOT_REGISTERED", client.ExperimentalCountRelationships, ExperimentalCountRelationshipsRequest(name="none")),
        ("COUNTER_NOT_REGISTERED", client.ExperimentalUnregisterRelationshipCounter,
         ExperimentalUnregisterRelationshipCounterRequest(name="none")),
        ("UNSPECIFIED", client.ExperimentalCountRelationships, ExperimentalCountRelationshipsRequest()),
        ("WILDCARD_NOT_ALLOWED", client.CheckPermission, check(wild)),
        ("WILDCARD_NOT_ALLOWED", client.LookupResources, lookup(subject=sub("user:*"))),
        ("TRANSACTION_METADATA_TOO_LARGE", client.WriteRelationships, with_metadata),
    ]
    pages = documented()
    try:
        client.ExperimentalRegisterRelationshipCounter(register)
    except grpc.RpcError as error:
        t.same("registering a counter", error.code().name, "OK")
    for number, (reason, call, request) in enumerate(table):
        name = f"{reason}, {number}"
        try:
            answer = call(request)
            answer = list(answer) if hasattr(answer, "__next__") else answer
            t.same(name, f"answered {answer}", reason)
            continue
        except grpc.RpcError as raised:
            error, info = raised, info_of(raised)
        t.same(name, (info.reason, info.domain), (f"ERROR_REASON_{reason}", "authzed.com"))
        statuses, keys = pages.get(f"ERROR_REASON_{reason}", (set(), []))
        t.true(f"{name}: status", error.code().name in statuses, f"{error.code().name}, documented {statuses}")
        t.true(f"{name}: metadata", set(info.metadata) in keys, f"{sorted(info.metadata)}, documented {keys}")
        empty = {key for key, value in info.metadata.items() if not value and not key.startswith("new_filter_")}
        t.same(f"{name}: keys without a value", empty - MAY_BE_EMPTY, set())
        t.true(f"{name}: a message", error.details(), "no message")
    try:
        client.ExperimentalUnregisterRelationshipCounter(ExperimentalUnregisterRelationshipCounterRequest(name="twice"))
    except grpc.RpcError as error:
        t.same("unregistering a counter", error.code().name, "OK")
    client.DeleteRelationships(DeleteRelationshipsRequest(relationship_filter=of_type("heap")))
    client.WriteSchema(WriteSchemaRequest(schema=SCHEMA))
    values = info_values(client, write(*[f"document:d{n}#viewer@user:t" for n in range(1001)]))
    t.same("the values of a limit", values, {"update_count": "1001", "maximum_updates_allowed": "1000"})



def info_values(client, request):
    try:
        client.WriteRelationships(request)
    except grpc.RpcError as error:
        return dict(info_of(error).metadata)
    return {}


def without_reason(t, client):
    furnish(client)
    for name, call, request in [
        ("an id with a blank", client.CheckPermission, check("document:a b#view@user:tom")),
        ("an empty id", client.CheckPermission, check("document:#view@user:tom")),
        ("a type with capitals", client.CheckPermission, check("Document:a#view@user:tom")),
        ("an update without an operation", client.WriteRelationships, WriteRelationshipsRequest(updates=[RelationshipUpdate()])),
        ("no filter", client.ReadRelationships, ReadRelationshipsRequest()),
        ("a context that is too large", client.CheckPermission, check("document:a#view@user:tom", {"day": "x" * 5000})),
    ]:
        t.refused(name, lambda: call(request), "INVALID_ARGUMENT")
