"""ExperimentalService: bulk calls and counters; what it has of schemas is in `schemas`."""

import time

from authzed.api.v1 import (
    BulkCheckPermissionRequest,
    BulkCheckPermissionRequestItem,
    BulkExportRelationshipsRequest,
    BulkImportRelationshipsRequest,
    Consistency,
)
from authzed.api.v1.experimental_service_pb2 import (
    ExperimentalCountRelationshipsRequest,
    ExperimentalRegisterRelationshipCounterRequest,
    ExperimentalUnregisterRelationshipCounterRequest,
)

from harness import PATIENCE_SECONDS, of_type, rel, said, write
from world import RELATIONSHIPS, furnish

FULL = Consistency(fully_consistent=True)


def bulk_calls(t, client):
    token = furnish(client)
    texts = [
        "document:readme#view@user:tom",
        "document:readme#view@user:bob",
        "document:readme#view@user:eve",
        "document:readme#nothing@user:tom",
    ]
    items = [BulkCheckPermissionRequestItem(resource=r.resource, permission=r.relation, subject=r.subject) for r in map(rel, texts)]
    answer = client.BulkCheckPermission(BulkCheckPermissionRequest(consistency=FULL, items=items))
    t.same("BulkCheckPermission: requests", [p.request for p in answer.pairs], items)
    t.same("BulkCheckPermission: answers", [p.item.permissionship for p in answer.pairs[:3]], [2, 1, 3])
    missing = list(answer.pairs[2].item.partial_caveat_info.missing_required_context)
    t.same("BulkCheckPermission: missing", missing, ["level"])
    t.same("BulkCheckPermission: an item's error", answer.pairs[3].error.code, 9)
    t.same("BulkCheckPermission: at", answer.checked_at, token)

    more = [f"document:b{n:02}#viewer@user:u{n}" for n in range(25)]
    sent = [BulkImportRelationshipsRequest(relationships=map(rel, more[at : at + 10])) for at in (0, 10, 20)]
    t.same("BulkImportRelationships", client.BulkImportRelationships(iter(sent)).num_loaded, 25)
    found = list(client.BulkExportRelationships(BulkExportRelationshipsRequest(consistency=FULL, optional_limit=7)))
    got = sorted(said(r) for m in found for r in m.relationships)
    t.same("BulkExportRelationships", got, sorted(RELATIONSHIPS + more))
    t.same("BulkExportRelationships: at most a limit", max(len(m.relationships) for m in found) <= 7, True)
    rest = BulkExportRelationshipsRequest(consistency=FULL, optional_limit=7, optional_cursor=found[0].after_result_cursor)
    rest = sorted(said(r) for m in client.BulkExportRelationships(rest) for r in m.relationships)
    t.same("BulkExportRelationships behind a cursor", sorted([*rest, *map(said, found[0].relationships)]), got)
    groups = BulkExportRelationshipsRequest(consistency=FULL, optional_relationship_filter=of_type("group"))
    got = sorted(said(r) for m in client.BulkExportRelationships(groups) for r in m.relationships)
    t.same("BulkExportRelationships of a filter", got, sorted(x for x in RELATIONSHIPS if x.startswith("group:")))
    again = [BulkImportRelationshipsRequest(relationships=[rel(more[0])])]
    t.refused("BulkImportRelationships of what is there", lambda: client.BulkImportRelationships(iter(again)), "ALREADY_EXISTS",
              "ATTEMPT_TO_RECREATE_RELATIONSHIP", relationship=more[0], resource_type="document", resource_object_id="b00",
              resource_relation="viewer", subject_type="user", subject_object_id="u0", subject_relation="")


def counters(t, client):
    furnish(client)

    def register(name, **filter):
        request = ExperimentalRegisterRelationshipCounterRequest(name=name, relationship_filter=of_type("document", **filter))
        return client.ExperimentalRegisterRelationshipCounter(request)

    def unregister(name):
        request = ExperimentalUnregisterRelationshipCounterRequest(name=name)
        return client.ExperimentalUnregisterRelationshipCounter(request)

    def count(name):
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            answer = client.ExperimentalCountRelationships(ExperimentalCountRelationshipsRequest(name=name))
            if answer.WhichOneof("counter_result") == "read_counter_value" or time.monotonic() > until:
                return answer.read_counter_value
            time.sleep(0.2)

    register("documents")
    register("banned", optional_relation="banned")
    t.same("a counter of a type", count("documents").relationship_count, 10)
    t.same("a counter of a relation", count("banned").relationship_count, 2)
    t.true("a counter's revision", count("banned").read_at.token, "no token")
    client.WriteRelationships(write("document:plan#banned@user:x"))
    until = time.monotonic() + PATIENCE_SECONDS
    while count("banned").relationship_count != 3 and time.monotonic() < until:
        time.sleep(0.2)
    t.same("a counter counts on", count("banned").relationship_count, 3)
    twice = ["resource_type", "resource_id", "resource_id_prefix", "relation", "subject_type", "subject_id", "subject_relation"]
    t.refused("a counter registered twice", lambda: register("documents"), "FAILED_PRECONDITION",
              "COUNTER_ALREADY_REGISTERED", [f"new_filter_{key}" for key in twice], counter_name="documents")
    unregister("documents")
    unregister("banned")
    t.refused("a counter that is not there", lambda: count("documents"), "FAILED_PRECONDITION",
              "COUNTER_NOT_REGISTERED", counter_name="documents")
    t.refused("unregistering what is not there", lambda: unregister("documents"), "FAILED_PRECONDITION",
              "COUNTER_NOT_REGISTERED", counter_name="documents")
