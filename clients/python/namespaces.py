"""Namespaces, locks and tokens with `hvac`, a client that knows OpenBao, and the same over gRPC with code that grpcio-tools
makes of our own files: what one does the other sees."""

import pathlib
import subprocess
import sys
import tempfile

import grpc
import hvac
from authzed.api.v1 import InsecureClient, ReadSchemaRequest, WatchRequest, WriteSchemaRequest
from google.protobuf.duration_pb2 import Duration
from hvac import exceptions

from harness import PATIENCE_SECONDS, info_of

PROTO = pathlib.Path(__file__).resolve().parents[2] / "crates" / "wire" / "proto"
MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}
LOCK = "/v1/sys/namespaces/api-lock"


class Http:
    """A client of a server's HTTP address."""

    def __init__(self, address):
        self.url = f"http://{address}"

    def __call__(self, token, namespace=None, **rest):
        return hvac.Client(url=self.url, token=token, namespace=namespace, timeout=PATIENCE_SECONDS, **rest)


def generated():
    """The modules that grpcio-tools makes of our files."""
    folder = tempfile.mkdtemp()
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO}", f"--python_out={folder}", f"--grpc_python_out={folder}"]
    subprocess.run([*command, "idhini/v1/namespace_service.proto"], check=True)
    sys.path.insert(0, folder)
    from idhini.v1 import namespace_service_pb2, namespace_service_pb2_grpc

    return namespace_service_pb2, namespace_service_pb2_grpc


def refused(t, name, call, kind, reason="", text=""):
    """`call` must raise this error, whose body has this reason."""
    try:
        answer = call()
    except exceptions.VaultError as error:
        body = error.json or {}
        t.same(name, (type(error).__name__, body.get("reason", "")), (kind.__name__, reason))
        t.true(f"{name}: text", text in str(error), str(error))
        t.true(f"{name}: request id", body.get("request_id"), body)
    else:
        t.same(name, f"answered {answer}", f"{kind.__name__} {reason}")


def keys(answer):
    return answer["data"]["keys"]


def with_hvac(t, client, http_address, address, key):
    http = Http(http_address)
    root = http(key)
    t.true("hvac: authenticated", root.is_authenticated())
    t.same("hvac: a wrong token", http("wrong").is_authenticated(), False)
    t.true("hvac: initialized", root.sys.is_initialized())
    t.same("hvac: sealed", root.sys.is_sealed(), False)
    t.same("hvac: health, HEAD", root.sys.read_health_status().status_code, 200)
    t.same("hvac: health, GET", root.sys.read_health_status(method="GET")["initialized"], True)

    # Namespaces.
    refused(t, "hvac: an empty list", root.sys.list_namespaces, exceptions.InvalidPath)
    made = root.sys.create_namespace("team_a")["data"]
    t.same("hvac: made", made["path"], "team_a/")
    for path in ("team_a/subteam_b", "team_a/subteam_b/division_c", "team_b"):
        root.sys.create_namespace(path)
    t.same("hvac: listed", keys(root.sys.list_namespaces()), ["team_a/", "team_b/"])
    t.same("hvac: listed without LIST", keys(http(key, strict_http=True).sys.list_namespaces()), ["team_a/", "team_b/"])
    scanned = root.adapter.request("scan", "/v1/sys/namespaces")
    t.same("hvac: scanned", keys(scanned), ["team_a/", "team_a/subteam_b/", "team_a/subteam_b/division_c/", "team_b/"])
    t.same("hvac: key_info", scanned["data"]["key_info"]["team_a/"]["id"], made["id"])
    team = http(key, "team_a")
    t.same("hvac: listed of one", keys(team.sys.list_namespaces()), ["subteam_b/"])
    t.same("hvac: made again", root.sys.create_namespace("team_a")["data"]["id"], made["id"])
    set_all = root.adapter.post("/v1/sys/namespaces/team_a", json={"custom_metadata": {"owner": "ann", "tier": "1"}})
    t.same("hvac: metadata", set_all["data"]["custom_metadata"], {"owner": "ann", "tier": "1"})
    patch = {"custom_metadata": {"owner": None, "region": "eu"}}
    patched = root.adapter.request("patch", "/v1/sys/namespaces/team_a", json=patch, headers=dict(MERGE_PATCH))
    t.same("hvac: metadata patched", patched["data"]["custom_metadata"], {"tier": "1", "region": "eu"})
    read = root.adapter.get("/v1/sys/namespaces/team_a")["data"]
    t.same("hvac: read", (read["path"], read["locked"], read["custom_metadata"]), ("team_a/", False, {"tier": "1", "region": "eu"}))
    refused(t, "hvac: one with children", lambda: root.sys.delete_namespace("team_a"), exceptions.UnexpectedError,
            "NAMESPACE_HAS_CHILDREN", "team_a/subteam_b")  # fmt: skip
    refused(t, "hvac: root", lambda: root.sys.delete_namespace("root"), exceptions.InvalidRequest, "NAMESPACE_IS_ROOT")
    refused(t, "hvac: not there", lambda: root.adapter.get("/v1/sys/namespaces/x"), exceptions.InvalidPath, "NAMESPACE_NOT_FOUND")
    for name in ("a b", "a+b", "sys", "Root", "a*", "é"):
        make = lambda name=name: root.sys.create_namespace(name)  # noqa: E731
        refused(t, f"hvac: called {name}", make, exceptions.InvalidRequest, "NAMESPACE_PATH_INVALID")

    # Tokens, sealed off.
    auth = team.auth.token.create(policies=["reader"], ttl="1h", display_name="ci")["auth"]
    t.same("hvac: a token's policies", (auth["policies"], auth["renewable"]), (["reader"], True))
    member = http(auth["client_token"])
    own = member.auth.token.lookup_self()["data"]
    t.same("hvac: lookup-self", (own["accessor"], own["namespace_path"], own["display_name"]), (auth["accessor"], "team_a/", "ci"))
    t.same("hvac: a token's home", keys(member.sys.list_namespaces()), ["subteam_b/"])
    t.same("hvac: lookup by accessor", root.auth.token.lookup_accessor(auth["accessor"])["data"]["ttl"] > 3500, True)
    t.same("hvac: lookup by text", root.auth.token.lookup(auth["client_token"])["data"]["accessor"], auth["accessor"])
    t.same("hvac: accessors", keys(team.auth.token.list_accessors()), [auth["accessor"]])
    t.same("hvac: renewed", member.auth.token.renew_self()["auth"]["accessor"], auth["accessor"])
    refused(t, "hvac: may not make", lambda: member.sys.create_namespace("new"), exceptions.Forbidden, "NOT_PERMITTED")
    elsewhere = [http(auth["client_token"], name) for name in ("team_b", "nothing", "team_a2")]
    told = []
    for other in elsewhere:
        try:
            other.sys.list_namespaces()
        except exceptions.Forbidden as error:
            told.append(error.errors)
    t.same("hvac: there and not there sound the same", told, [told[0]] * 3 if told else "refusals")
    refused(t, "hvac: uses are not counted", lambda: team.auth.token.create(num_uses=1), exceptions.InvalidRequest, "", "num_uses")

    # Locks: what HTTP does gRPC hears.
    sub = http(key, "team_a/subteam_b")
    client.WriteSchema(WriteSchemaRequest(schema="definition user {}"), metadata=[("x-idhini-namespace", "team_a/subteam_b")])
    watching = client.Watch(WatchRequest(), metadata=[("x-vault-namespace", "team_a/subteam_b/")], timeout=PATIENCE_SECONDS)
    locked = root.adapter.post(f"{LOCK}/lock/team_a", json={"reason": "a leak"})["data"]
    t.same("hvac: the unlock key", len(locked["unlock_key"]), 24)
    refused(t, "hvac: locked", sub.sys.list_namespaces, exceptions.VaultDown, "NAMESPACE_LOCKED", "`team_a` is locked (a leak)")
    refused(t, "hvac: locked to its own token", member.sys.list_namespaces, exceptions.VaultDown, "NAMESPACE_LOCKED")
    refused(t, "hvac: locked twice", lambda: root.adapter.post(f"{LOCK}/lock/team_a"), exceptions.InvalidRequest, "NAMESPACE_ALREADY_LOCKED")
    refused(t, "hvac: locked below", lambda: sub.adapter.post(f"{LOCK}/lock"), exceptions.VaultDown, "NAMESPACE_LOCKED")
    refused(t, "hvac: root is not locked", lambda: root.adapter.post(f"{LOCK}/lock"), exceptions.InvalidRequest, "NAMESPACE_IS_ROOT")
    read = lambda: client.ReadSchema(ReadSchemaRequest(), metadata=[("x-idhini-namespace", "team_a/subteam_b")])  # noqa: E731
    for name, call in (("gRPC: locked", read), ("gRPC: a watch is cut", lambda: list(watching))):
        try:
            t.same(name, f"answered {call()}", "NAMESPACE_LOCKED")
        except grpc.RpcError as error:
            info = info_of(error)
            got = (error.code().name, info.domain, info.reason, info.metadata["locked_namespace"])
            t.same(name, got, ("FAILED_PRECONDITION", "idhini", "NAMESPACE_LOCKED", "team_a"))
    status = sub.adapter.get(f"{LOCK}/status")["data"]
    t.same("hvac: status", (status["locked"], status["own"], status["effective"]["reason"]), (True, None, "a leak"))
    refused(t, "hvac: a wrong key", lambda: root.adapter.post(f"{LOCK}/unlock/team_a", json={"unlock_key": "x"}), exceptions.Forbidden, "UNLOCK_KEY_WRONG")
    # Whoever belongs there may with the key.
    member.adapter.post(f"{LOCK}/unlock", json={"unlock_key": locked["unlock_key"]})
    t.same("hvac: unlocked", keys(sub.sys.list_namespaces()), ["division_c/"])
    t.true("gRPC: unlocked", read().schema_text)

    # And away, tokens and all.
    root.auth.token.revoke_accessor(auth["accessor"])
    t.same("hvac: revoked", member.is_authenticated(), False)
    for path in ("team_a/subteam_b/division_c", "team_a/subteam_b", "team_a", "team_b"):
        t.same(f"hvac: {path} deleted", root.sys.delete_namespace(path).status_code, 204)
    refused(t, "hvac: nothing is left", root.sys.list_namespaces, exceptions.InvalidPath)


def with_grpcio(t, client, http_address, address, key):
    pb, stubs = generated()
    with grpc.insecure_channel(address) as channel:
        namespaces, access = stubs.NamespaceServiceStub(channel), stubs.AccessServiceStub(channel)
        root = [("authorization", f"Bearer {key}")]

        def no(name, call, code, reason, **metadata):
            try:
                t.same(name, f"answered {call()}", f"{code} {reason}")
            except grpc.RpcError as error:
                info = info_of(error)
                t.same(name, (error.code().name, info.domain, info.reason), (code, "idhini", reason))
                for field, value in metadata.items():
                    t.same(f"{name}: {field}", info.metadata[field], value)

        made = namespaces.CreateNamespace(pb.CreateNamespaceRequest(path="tenant", custom_metadata={"a": "b"}), metadata=root)
        t.same("gRPC: made", (made.namespace.path, dict(made.namespace.custom_metadata)), ("tenant", {"a": "b"}))
        namespaces.CreateNamespace(pb.CreateNamespaceRequest(path="tenant/unit"), metadata=root)
        no("gRPC: made twice", lambda: namespaces.CreateNamespace(pb.CreateNamespaceRequest(path="tenant"), metadata=root),
           "ALREADY_EXISTS", "NAMESPACE_EXISTS", namespace="tenant")  # fmt: skip
        listed = namespaces.ListNamespaces(pb.ListNamespacesRequest(recursive=True), metadata=root)
        t.same("gRPC: listed", [of.path for of in listed.namespaces], ["tenant", "tenant/unit"])
        t.same("hvac: sees what gRPC made", keys(Http(http_address)(key).sys.list_namespaces()), ["tenant/"])
        token = access.CreateToken(
            pb.CreateTokenRequest(home="tenant", roles=["checker"], optional_lifetime=Duration(seconds=60)), metadata=root
        )
        mine = [("authorization", f"Bearer {token.token}")]
        can = access.CanI(pb.CanIRequest(), metadata=mine)
        t.same("gRPC: can-i", list(can.rights), ["check", "belong"])
        t.same("gRPC: because", [(of.path, of.role) for of in can.because], [("tenant", "checker")])
        no("gRPC: may not", lambda: namespaces.LockNamespace(pb.LockNamespaceRequest(), metadata=mine), "PERMISSION_DENIED", "NOT_PERMITTED")
        locked = namespaces.LockNamespace(pb.LockNamespaceRequest(path="tenant", mode=pb.LOCK_MODE_WRITES), metadata=root)
        other = InsecureClient(address, token.token)
        write = lambda: InsecureClient(address, key).WriteSchema(  # noqa: E731
            WriteSchemaRequest(schema="definition user {}"), metadata=[("x-idhini-namespace", "tenant/unit")]
        )
        no("gRPC: locked against changes", write, "FAILED_PRECONDITION", "NAMESPACE_LOCKED", locked_namespace="tenant", lock_mode="writes")
        t.same("gRPC: reads go on", list(namespaces.ListNamespaces(pb.ListNamespacesRequest(), metadata=mine).namespaces)[0].locked, True)
        namespaces.UnlockNamespace(pb.UnlockNamespaceRequest(unlock_key=locked.unlock_key), metadata=mine)
        write()
        access.RevokeToken(pb.RevokeTokenRequest(), metadata=mine)
        try:
            t.same("gRPC: a revoked token", f"answered {other.ReadSchema(ReadSchemaRequest())}", "PERMISSION_DENIED")
        except grpc.RpcError as error:
            t.same("gRPC: a revoked token", error.code().name, "PERMISSION_DENIED")
        for path in ("tenant/unit", "tenant"):
            namespaces.DeleteNamespace(pb.DeleteNamespaceRequest(path=path), metadata=root)
        t.same("gRPC: nothing is left", list(namespaces.ListNamespaces(pb.ListNamespacesRequest(), metadata=root).namespaces), [])
