"""What is around the calls: health, reflection, tokens, headers and trailers, moments in the past."""

import time

import grpc
from authzed.api.v1 import InsecureClient, LookupResourcesRequest, ReadSchemaRequest, WatchRequest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from harness import PATIENCE_SECONDS, check, sub, write
from world import furnish

SERVICES = [f"authzed.api.v1.{name}Service" for name in ("Permissions", "Schema", "Watch", "Experimental")]


def health(t, client, address):
    with grpc.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ["", *SERVICES]:
            status = stub.Check(health_pb2.HealthCheckRequest(service=service)).status
            t.same(f"health of {service or 'the server'}", status, health_pb2.HealthCheckResponse.SERVING)
            first = next(stub.Watch(health_pb2.HealthCheckRequest(service=service), timeout=PATIENCE_SECONDS)).status
            t.same(f"health watched of {service or 'the server'}", first, health_pb2.HealthCheckResponse.SERVING)
        unknown = health_pb2.HealthCheckRequest(service="nothing")
        t.refused("health of nothing", lambda: stub.Check(unknown), "NOT_FOUND")


def reflection(t, client, address):
    with grpc.insecure_channel(address) as channel:
        for version in ("v1", "v1alpha"):
            # Both versions have the same messages.
            ask = channel.stream_stream(
                f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
                request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
                response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
            )
            requests = [
                reflection_pb2.ServerReflectionRequest(list_services=""),
                *(reflection_pb2.ServerReflectionRequest(file_containing_symbol=name) for name in SERVICES),
            ]
            answers = list(ask(iter(requests), timeout=PATIENCE_SECONDS))
            listed = {service.name for service in answers[0].list_services_response.service}
            t.same(f"reflection {version} lists", {*SERVICES, "grpc.health.v1.Health"} - listed, set())
            for name, answer in zip(SERVICES, answers[1:]):
                found = b"".join(answer.file_descriptor_response.file_descriptor_proto)
                t.same(f"reflection {version} of {name}", name.rsplit(".", 1)[1].encode() in found, True)


def tokens(t, client, address):
    tom = check("document:readme#view@user:tom")
    furnish(client)
    for name, given, code in [("no token", "", "UNAUTHENTICATED"), ("a wrong token", "wrong", "PERMISSION_DENIED")]:
        other = InsecureClient(address, given)
        t.refused(f"check with {name}", lambda: other.CheckPermission(tom), code)
        t.refused(f"schema with {name}", lambda: other.ReadSchema(ReadSchemaRequest()), code)
        t.refused(f"watch with {name}", lambda: other.Watch(WatchRequest(), timeout=PATIENCE_SECONDS), code)
        write_it = write("document:readme#viewer@user:mallory")
        t.refused(f"write with {name}", lambda: other.WriteRelationships(write_it), code)
    mallory = client.CheckPermission(check("document:readme#view@user:mallory"))
    t.same("nothing of it was written", mallory.permissionship, 1)


def metadata(t, client):
    furnish(client)
    tom = check("document:readme#view@user:tom")
    lookup = LookupResourcesRequest(resource_object_type="document", permission="view", subject=sub("user:tom"))

    def trailers_of(call):
        return {key.lower(): value for key, value in call.trailing_metadata()}

    _, call = client.CheckPermission.with_call(tom)
    trailers = trailers_of(call)
    count = trailers["io.spicedb.respmeta.dispatchedoperationscount"]
    t.true("trailer: operations", int(count) > 0, count)
    t.true("trailer: cached", trailers["io.spicedb.respmeta.cachedoperationscount"].isdigit(), trailers)
    t.true("trailer: a request id", trailers["x-request-id"], trailers)
    t.same("trailer: the same id twice", trailers["io.spicedb.respmeta.requestid"], trailers["x-request-id"])
    t.same("trailer: no version unless asked", "io.spicedb.debug.version" in trailers, False)
    _, other = client.CheckPermission.with_call(tom)
    t.same("each call has its id", trailers_of(other)["x-request-id"] == trailers["x-request-id"], False)
    asked = [("x-request-id", "mine-1"), ("io.spicedb.requestversion", "1")]
    _, call = client.CheckPermission.with_call(tom, metadata=asked)
    trailers = trailers_of(call)
    t.same("a given request id is repeated", trailers["x-request-id"], "mine-1")
    t.true("the version when asked", trailers["io.spicedb.debug.version"].startswith("v"), trailers)
    stream = client.LookupResources(lookup, metadata=asked)
    t.same("a stream: answers", len(list(stream)), 3)
    t.same("a stream: trailers", trailers_of(stream)["x-request-id"], "mine-1")
    try:
        client.CheckPermission(check("nothing:a#view@user:tom"), metadata=asked)
    except grpc.RpcError as error:
        trailers = trailers_of(error)
        t.same("a refusal has them too", trailers["x-request-id"], "mine-1")
        t.true("a refusal: version", trailers.get("io.spicedb.debug.version", "").startswith("v"), trailers)


def past(t, client):
    furnish(client)
    zoe = check("document:plan#view@user:zoe")
    time.sleep(0.05)
    before = time.time()
    time.sleep(0.05)
    client.WriteRelationships(write("document:plan#viewer@user:zoe"))
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(before)) + f".{int(before % 1 * 1e6):06}Z"
    as_of = [("idhini-as-of", moment)]
    t.same("now", client.CheckPermission(zoe).permissionship, 2)
    t.same("as of a moment before", client.CheckPermission(zoe, metadata=as_of).permissionship, 1)
    zoes = LookupResourcesRequest(resource_object_type="document", permission="view", subject=sub("user:zoe"))
    t.same("a lookup now", sorted(m.resource_object_id for m in client.LookupResources(zoes)), ["open", "plan"])
    found = client.LookupResources(zoes, metadata=as_of)
    t.same("a lookup as of it", sorted(m.resource_object_id for m in found), ["open"])
    for name, value, code in [
        ("nonsense", "yesterday", "INVALID_ARGUMENT"),
        ("the future", "2999-01-01T00:00:00Z", "INVALID_ARGUMENT"),
    ]:
        t.refused(f"as of {name}", lambda: client.CheckPermission(zoe, metadata=[("idhini-as-of", value)]), code)
    early = lambda: client.CheckPermission(zoe, metadata=[("idhini-as-of", "2001-01-01T00:00:00Z")])  # noqa: E731
    t.refused("as of a moment before the first schema", early, "FAILED_PRECONDITION", "UNKNOWN_DEFINITION",
              definition_name="document")
