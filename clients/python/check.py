"""The official Python client, held against a running server: every call, compared value by value.

    check.py --addr 127.0.0.1:50051 --http 127.0.0.1:8443 --token KEY [--only SECTION]

IDHINI_ADDR and IDHINI_TOKEN stand for the arguments. The server's namespace is written over. A line is one check, the
last line counts them; the exit status is 1 if any failed.
"""

import argparse
import os
import sys

from authzed.api.v1 import InsecureClient

import around
import errors
import experimental
import namespaces
import permissions
import schemas
import watching
from harness import Checks

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--addr", default=os.environ.get("IDHINI_ADDR", "127.0.0.1:50051"))
parser.add_argument("--http", default="127.0.0.1:8443")
parser.add_argument("--token", default=os.environ.get("IDHINI_TOKEN", ""))
parser.add_argument("--only", help="sections whose name has this in it")
options = parser.parse_args()

client = InsecureClient(options.addr, options.token)
checks = Checks()
for name, run, *arguments in [
    ("checks and consistency", permissions.checks_and_consistency),
    ("bulk checks", permissions.bulk_checks),
    ("traces", permissions.traces),
    ("expansion", permissions.expansion),
    ("lookups", permissions.lookups),
    ("reading", permissions.reading),
    ("writing", permissions.writing),
    ("deleting", permissions.deleting),
    ("bulk import and export", permissions.bulk),
    ("other clients", permissions.other_clients, options.addr, options.token),
    ("schemas", schemas.written),
    ("schemas reflected", schemas.reflected, schemas.PLAIN),
    ("watching", watching.watch),
    ("experimental: bulk calls", experimental.bulk_calls),
    ("experimental: schemas reflected", schemas.reflected, schemas.EXPERIMENTAL),
    ("experimental: counters", experimental.counters),
    ("errors by reason", errors.by_reason),
    ("errors without a reason", errors.without_reason),
    ("health", around.health, options.addr),
    ("reflection", around.reflection, options.addr),
    ("tokens", around.tokens, options.addr),
    ("headers and trailers", around.metadata),
    ("the past", around.past),
    ("namespaces with hvac", namespaces.with_hvac, options.http, options.addr, options.token),
    ("namespaces with grpcio", namespaces.with_grpcio, options.http, options.addr, options.token),
]:
    if options.only is None or options.only in name:
        checks.section(name, run, client, *arguments)
print(f"{checks.passed} passed, {checks.failed} failed")
sys.exit(1 if checks.failed else 0)
