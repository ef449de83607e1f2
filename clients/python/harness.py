"""Checks that are counted and printed, and short ways to say requests.

A check compares a value with the one that is wanted; that nothing was raised is never enough. What a section could not
even ask because a call before it failed counts as failed too.
"""

import json
import re
import sys
import traceback

import grpc
from authzed.api.v1 import (
    CheckPermissionRequest,
    ContextualizedCaveat,
    ObjectReference,
    Relationship,
    RelationshipFilter,
    RelationshipUpdate,
    SubjectReference,
    WriteRelationshipsRequest,
)
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

CREATE, TOUCH, DELETE = (
    RelationshipUpdate.OPERATION_CREATE,
    RelationshipUpdate.OPERATION_TOUCH,
    RelationshipUpdate.OPERATION_DELETE,
)
# How long a call may take before its check fails.
PATIENCE_SECONDS = 20
# Characters of a value that are shown.
SHOWN_MAX = 1500


class Checks:
    """The checks of one run."""

    def __init__(self):
        self.passed = 0
        self.failed = 0

    def same(self, name, got, want):
        if got == want:
            self.passed += 1
            print(f"ok    {name}")
        else:
            self.failed += 1
            print(f"FAIL  {name}\n        wanted {repr(want)[:SHOWN_MAX]}\n        got    {repr(got)[:SHOWN_MAX]}")
        sys.stdout.flush()

    def true(self, name, got, why=""):
        self.same(name, bool(got) or why or got, True)

    def refused(self, name, call, code, reason="", keys=None, **values):
        """`call` must fail with this code, reason and exactly these metadata keys; `values` are looked at besides."""
        try:
            answer = call()
            # A stream fails when it is read.
            answer = list(answer) if hasattr(answer, "__next__") else answer
        except grpc.RpcError as error:
            info = info_of(error)
            got = (error.code().name, info.reason.removeprefix("ERROR_REASON_"), sorted(info.metadata))
            want = (code, reason, sorted([*(keys or []), *values]))
            self.same(name, got, want)
            if reason:
                self.same(f"{name}: domain", info.domain, "authzed.com")
            for key, value in values.items():
                self.same(f"{name}: {key}", info.metadata[key], str(value))
        else:
            self.same(name, f"answered {answer}", f"{code} {reason}")

    def section(self, name, run, *arguments):
        print(f"-- {name}")
        try:
            run(self, *arguments)
        except Exception:  # noqa: BLE001: whatever it was, the other sections are still of interest
            self.failed += 1
            print(f"FAIL  {name}: broke off\n{traceback.format_exc()}")


def info_of(error):
    """The ErrorInfo of a failed call; an empty one if it has none."""
    info = ErrorInfo()
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            status = Status.FromString(value)
            for detail in status.details:
                detail.Unpack(info)
    return info


def ref(text):
    """`document:readme` as a message."""
    object_type, object_id = text.split(":", 1)
    return ObjectReference(object_type=object_type, object_id=object_id)


def sub(text):
    """`user:tom` or `group:eng#member` as a message."""
    whole, _, relation = text.partition("#")
    return SubjectReference(object=ref(whole), optional_relation=relation)


def struct(values):
    return ParseDict(values, Struct())


def rel(text):
    """`document:readme#viewer@user:tom[only_on:{"day":"tuesday"}][expiration:2040-01-01T00:00:00Z]` as a message."""
    plain = text.split("[", 1)[0]
    resource, relation, subject = re.fullmatch(r"([^#]+)#([^@]+)@(.+)", plain).groups()
    message = Relationship(resource=ref(resource), relation=relation, subject=sub(subject))
    for name, value in re.findall(r"\[(\w+)(?::(.*?))?\](?=\[|$)", text[len(plain) :]):
        if name == "expiration":
            until = Timestamp()
            until.FromJsonString(value)
            message.optional_expires_at.CopyFrom(until)
        else:
            caveat = ContextualizedCaveat(caveat_name=name)
            if value:
                caveat.context.CopyFrom(struct(json.loads(value)))
            message.optional_caveat.CopyFrom(caveat)
    return message


def said(relationship):
    """A relationship as the text that `rel` reads."""
    r, s = relationship.resource, relationship.subject
    text = f"{r.object_type}:{r.object_id}#{relationship.relation}@{s.object.object_type}:{s.object.object_id}"
    if s.optional_relation:
        text += f"#{s.optional_relation}"
    caveat = relationship.optional_caveat
    if caveat.caveat_name:
        context = {name: value_of(value) for name, value in sorted(caveat.context.fields.items())}
        stored = ":" + json.dumps(context, separators=(",", ":")) if context else ""
        text += f"[{caveat.caveat_name}{stored}]"
    if relationship.HasField("optional_expires_at"):
        text += f"[expiration:{relationship.optional_expires_at.ToJsonString()}]"
    return text


def value_of(value):
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return {name: value_of(inner) for name, inner in value.struct_value.fields.items()}
    if kind == "list_value":
        return [value_of(inner) for inner in value.list_value.values]
    plain = getattr(value, kind)
    return int(plain) if kind == "number_value" and plain.is_integer() else plain


def updates(operation, *texts):
    return [RelationshipUpdate(operation=operation, relationship=rel(text)) for text in texts]


def write(*texts, operation=TOUCH, **rest):
    return WriteRelationshipsRequest(updates=updates(operation, *texts), **rest)


def check(text, context=None, **rest):
    """`document:readme#view@user:tom` as a request."""
    r = rel(text)
    rest |= {"context": struct(context)} if context is not None else {}
    return CheckPermissionRequest(resource=r.resource, permission=r.relation, subject=r.subject, **rest)


def of_type(resource_type, **rest):
    return RelationshipFilter(resource_type=resource_type, **rest)
