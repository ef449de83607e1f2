"""The official Python clients over TLS, against a server with a certificate of an authority of its own.

    secured.py --addr 127.0.0.1:50051 --http 127.0.0.1:8443 --token KEY --ca FILE --cert FILE --key FILE --stranger FILE

The server asks for clients' certificates and requires none; `--stranger` is an authority that certified nobody here.
"""

import argparse
import pathlib
import sys

import grpc
import hvac
import requests
from authzed.api.v1 import Client, WriteSchemaRequest
from grpcutil import bearer_token_credentials

from harness import PATIENCE_SECONDS, Checks, check, info_of
from namespaces import generated

parser = argparse.ArgumentParser(description=__doc__)
for name in ("addr", "http", "token", "ca", "cert", "key", "stranger"):
    parser.add_argument(f"--{name}", required=True)
options = parser.parse_args()

QUESTION = check("document:a#viewer@user:a")
SCHEMA = "definition user {}\ndefinition document {\n  relation viewer: user\n}\n"
ca, cert, key, stranger = (
    pathlib.Path(path).read_bytes() for path in (options.ca, options.cert, options.key, options.stranger)
)


def with_token(checks, client):
    client.WriteSchema(WriteSchemaRequest(schema=SCHEMA), timeout=PATIENCE_SECONDS)
    answer = client.CheckPermission(QUESTION, timeout=PATIENCE_SECONDS)
    checks.same("a check over TLS is answered", answer.permissionship, 1)
    untrusting = Client(options.addr, bearer_token_credentials(options.token, stranger))
    checks.refused(
        "a server that nobody vouches for gets no call",
        lambda: untrusting.CheckPermission(QUESTION, timeout=PATIENCE_SECONDS),
        "UNAVAILABLE",
    )


def with_certificate(checks, _):
    nobody = Client(options.addr, grpc.ssl_channel_credentials(ca))
    ask = lambda client: client.CheckPermission(QUESTION, timeout=PATIENCE_SECONDS)
    checks.refused("without a certificate nobody is known", lambda: ask(nobody), "UNAUTHENTICATED")
    shown = grpc.ssl_channel_credentials(ca, key, cert)
    client = Client(options.addr, shown)
    try:
        got = ask(client).permissionship
    except grpc.RpcError as error:
        got = error.code().name, info_of(error).reason
    checks.same("with one somebody is, who may nothing yet", got, ("PERMISSION_DENIED", "NOT_PERMITTED"))
    messages, stubs = generated()
    admin = grpc.secure_channel(options.addr, bearer_token_credentials(options.token, ca))
    granted = messages.GrantRequest(path="root", role="checker", subject="certificate:client.example")
    stubs.AccessServiceStub(admin).Grant(granted, timeout=PATIENCE_SECONDS)
    checks.same("what was granted to the certificate it may", ask(client).permissionship, 1)


def with_hvac(checks, _):
    client = hvac.Client(url=f"https://{options.http}", token=options.token, verify=options.ca)
    client.sys.create_namespace("secured")
    listed = client.sys.list_namespaces()["data"]["keys"]
    checks.same("hvac drives namespaces over TLS", listed, ["secured/"])
    untrusting = hvac.Client(url=f"https://{options.http}", token=options.token, verify=options.stranger)
    try:
        got = untrusting.sys.list_namespaces()
    except requests.exceptions.SSLError:
        got = "refused"
    checks.same("hvac takes no server that nobody vouches for", got, "refused")


checks = Checks()
client = Client(options.addr, bearer_token_credentials(options.token, ca))
for name, run in [("a token", with_token), ("a certificate", with_certificate), ("hvac", with_hvac)]:
    checks.section(name, run, client)
print(f"{checks.passed} passed, {checks.failed} failed")
sys.exit(1 if checks.failed else 0)
