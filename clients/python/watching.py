"""WatchService: from now, from a token, from the beginning; kinds, filters, metadata and resuming."""

import threading

import grpc
from authzed.api.v1 import RelationshipUpdate, SubjectFilter, WatchRequest, WriteSchemaRequest, ZedToken
from authzed.api.v1 import watch_service_pb2 as messages
from google.protobuf.json_format import MessageToDict

from harness import DELETE, PATIENCE_SECONDS, TOUCH, of_type, rel, said, struct, updates, write
from world import RELATIONSHIPS, SCHEMA, furnish

UPDATES, SCHEMAS, CHECKPOINTS = (
    messages.WATCH_KIND_INCLUDE_RELATIONSHIP_UPDATES,
    messages.WATCH_KIND_INCLUDE_SCHEMA_UPDATES,
    messages.WATCH_KIND_INCLUDE_CHECKPOINTS,
)


def take(client, count, metadata=None, act=None, **request):
    """The first `count` messages of a watch; `act` is done once it has begun."""
    stream = client.Watch(WatchRequest(**request), timeout=PATIENCE_SECONDS, metadata=metadata)
    if act:
        stream.initial_metadata()
        threading.Timer(0.3, act).start()
    found = [message for _, message in zip(range(count), stream)]
    stream.cancel()
    return found


def told(message):
    names = {TOUCH: "TOUCH", DELETE: "DELETE", RelationshipUpdate.OPERATION_CREATE: "CREATE"}
    return [f"{names[u.operation]} {said(u.relationship)}" for u in message.updates]


def watch(t, client):
    token = furnish(client)
    one = client.WriteRelationships(
        write("document:a#owner@user:w", optional_transaction_metadata=struct({"why": "a test", "number": 7}))
    ).written_at
    both = updates(TOUCH, "document:b#owner@user:w") + updates(DELETE, "document:a#owner@user:w")
    two = client.WriteRelationships(type(write())(updates=both)).written_at
    three = client.WriteRelationships(write("group:g#member@user:w")).written_at

    found = take(client, 3, optional_start_cursor=token)
    want = [
        ["TOUCH document:a#owner@user:w"],
        ["DELETE document:a#owner@user:w", "TOUCH document:b#owner@user:w"],
        ["TOUCH group:g#member@user:w"],
    ]
    t.same("from a token: updates", [sorted(told(m)) for m in found], want)
    t.same("from a token: revisions", [m.changes_through for m in found], [one, two, three])
    metadata = MessageToDict(found[0].optional_transaction_metadata)
    t.same("transaction metadata", metadata, {"why": "a test", "number": 7.0})
    t.same("full revision metadata", [MessageToDict(m) for m in found[0].full_revision_metadata], [metadata])
    t.same("no metadata where none was given", found[1].HasField("optional_transaction_metadata"), False)
    rest = take(client, 2, optional_start_cursor=found[0].changes_through)
    t.same("resuming from a message", [m.changes_through for m in rest], [two, three])

    found = take(client, 1, optional_start_cursor=token, optional_object_types=["group"])
    t.same("object types", [told(m) for m in found], [["TOUCH group:g#member@user:w"]])
    filters = [of_type("document", optional_resource_id="b"), of_type("group")]
    found = take(client, 2, optional_start_cursor=token, optional_relationship_filters=filters)
    t.same("filters", [told(m) for m in found], [["TOUCH document:b#owner@user:w"], ["TOUCH group:g#member@user:w"]])
    subject = of_type("", optional_subject_filter=SubjectFilter(subject_type="user", optional_subject_id="late"))
    act = lambda: client.WriteRelationships(write("group:g#member@user:late", "group:g#member@user:other"))  # noqa: E731
    found = take(client, 1, act=act, optional_relationship_filters=[subject])
    t.same("from now, by subject", [told(m) for m in found], [["TOUCH group:g#member@user:late"]])

    wider = SCHEMA + "definition folder {}\n"
    at = client.WriteSchema(WriteSchemaRequest(schema=wider)).written_at
    found = take(client, 1, optional_start_cursor=token, optional_update_kinds=[SCHEMAS])
    t.same("schema updates alone", [(m.schema_updated, m.changes_through, len(m.updates)) for m in found], [(True, at, 0)])
    client.WriteSchema(WriteSchemaRequest(schema=SCHEMA))
    head = client.WriteRelationships(write("group:g#member@user:head")).written_at
    found = take(client, 1, optional_start_cursor=token, optional_update_kinds=[CHECKPOINTS])
    t.same("checkpoints alone", [(m.is_checkpoint, m.changes_through, len(m.updates)) for m in found], [(True, head, 0)])
    kinds = [UPDATES, SCHEMAS, CHECKPOINTS]
    found = take(client, 8, optional_start_cursor=token, optional_update_kinds=kinds)
    kind = lambda m: "checkpoint" if m.is_checkpoint else "schema" if m.schema_updated else "updates"  # noqa: E731
    want = ["updates"] * 4 + ["schema"] * 2 + ["updates", "checkpoint"]
    t.same("all kinds in order", [kind(m) for m in found], want)

    furnish(client)
    head = client.WriteRelationships(write("group:g#member@user:last")).written_at
    act = lambda: client.WriteRelationships(write("group:g#member@user:later"))  # noqa: E731
    found = take(client, 2, act=act, metadata=[("idhini-watch-from", "beginning")])
    t.same("from the beginning: what is there", sorted(told(found[0])),
           sorted(f"TOUCH {said(rel(text))}" for text in [*RELATIONSHIPS, "group:g#member@user:last"]))
    t.same("from the beginning: its revision", found[0].changes_through, head)
    t.same("from the beginning: then changes", told(found[1]), ["TOUCH group:g#member@user:later"])

    stream = client.Watch(WatchRequest(), timeout=0.5)
    try:
        t.same("a watch with a deadline", list(stream), "DEADLINE_EXCEEDED")
    except grpc.RpcError as error:
        t.same("a watch with a deadline", error.code().name, "DEADLINE_EXCEEDED")
    both = {"optional_object_types": ["group"], "optional_relationship_filters": [of_type("group")]}
    t.refused("types and filters", lambda: take(client, 1, **both), "INVALID_ARGUMENT")
    t.refused("an unknown kind", lambda: take(client, 1, optional_update_kinds=[9]), "INVALID_ARGUMENT")
    stranger = ZedToken(token="GhUKEzE3MDAwMDAwMDAwMDAwMDAwMDA=")
    t.refused("a token of another server", lambda: take(client, 1, optional_start_cursor=stranger), "OUT_OF_RANGE")
    garbage = ZedToken(token="garbage")
    t.refused("no token at all", lambda: take(client, 1, optional_start_cursor=garbage), "INVALID_ARGUMENT")
