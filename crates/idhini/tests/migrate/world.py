"""Relationships to migrate, and writers that go on changing them.

  world.py relationships COUNT             prints so many, one a line: usersets, wildcards, caveats, expirations
  world.py write ADDRESS SECONDS WRITERS   creates, touches and deletes, with transaction metadata; prints how many
"""
import random
import sys
import threading
import time
from datetime import datetime, timedelta, timezone

SCHEMA_TYPES = 12


def relationships(count):
    """Teams in teams, folders in folders, and documents of several kinds: none of them has very many rows."""
    draw = random.Random(7)
    later = (datetime.now(timezone.utc) + timedelta(days=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
    seen = set()

    def say(identity, attributes=""):
        if identity not in seen:
            seen.add(identity)
            print(identity + attributes)

    for team in range(count // 100):
        for _ in range(5):
            say(f"team:t{team}#member@user:u{draw.randrange(count // 20)}")
        if team >= 10:
            say(f"team:t{team}#member@team:t{draw.randrange(team)}#member")
    for folder in range(count // 100):
        say(f"folder:f{folder}#viewer@team:t{draw.randrange(count // 100)}#member")
        if folder >= 10:
            say(f"folder:f{folder}#parent@folder:f{draw.randrange(folder)}")
    document = 0
    while len(seen) < count:
        document += 1
        kind = f"kind{document % SCHEMA_TYPES}"
        name = f"{kind}:d{document}"
        say(f"{name}#parent@folder:f{draw.randrange(count // 100)}")
        say(f"{name}#owner@user:u{draw.randrange(count // 20)}")
        user = draw.randrange(count // 20)
        match draw.randrange(8):
            case 0:
                say(f"{name}#viewer@user:*")
                say(f"{name}#banned@user:u{draw.randrange(count // 20)}")
            case 1:
                say(f"{name}#viewer@user:u{user}", '[on_day:{"wanted":"tuesday"}]')
            case 2:
                say(f"{name}#viewer@user:u{user}", f"[expiration:{later}]")
            case 3:
                say(f"{name}#viewer@user:u{user}", "[on_day]" + f"[expiration:{later}]")
            case _:
                say(f"{name}#viewer@team:t{draw.randrange(count // 100)}#member")


def schema():
    kinds = "\n".join(
        f"""definition kind{n} {{
  relation parent: folder
  relation owner: user
  relation viewer: user | user:* | team#member | user with on_day | user with expiration | user with on_day and expiration
  relation banned: user
  permission edit = owner
  permission view = (viewer + edit + parent->view) - banned
}}"""
        for n in range(SCHEMA_TYPES)
    )
    print(f"""use expiration

caveat on_day(wanted string, day string) {{
  day == wanted
}}

definition user {{}}
definition team {{
  relation member: user | team#member
}}
definition folder {{
  relation parent: folder
  relation viewer: user | team#member
  permission view = viewer + parent->view
}}
{kinds}""")


def write(address, seconds, writers):
    from authzed.api.v1 import (
        InsecureClient, ObjectReference, Relationship, RelationshipUpdate, SubjectReference, WriteRelationshipsRequest)
    from google.protobuf import struct_pb2

    end = time.time() + seconds
    made = [0] * writers

    def one(number):
        client = InsecureClient(address, "unused")
        draw = random.Random(number)

        def relationship():
            kind = f"kind{draw.randrange(SCHEMA_TYPES)}"
            return Relationship(
                resource=ObjectReference(object_type=kind, object_id=f"new{number}x{draw.randrange(200)}"),
                relation=draw.choice(["owner", "banned"]),
                subject=SubjectReference(object=ObjectReference(object_type="user", object_id=f"u{draw.randrange(50)}")))

        while time.time() < end:
            operation = draw.choice([RelationshipUpdate.OPERATION_TOUCH] * 2 + [RelationshipUpdate.OPERATION_DELETE])
            updates = {}
            for _ in range(draw.randrange(1, 5)):
                of = relationship()
                updates[of.SerializeToString(deterministic=True)] = RelationshipUpdate(operation=operation, relationship=of)
            metadata = struct_pb2.Struct()
            metadata.update({"writer": number})
            client.WriteRelationships(WriteRelationshipsRequest(
                updates=list(updates.values()), optional_transaction_metadata=metadata))
            made[number] += 1
            time.sleep(0.02)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(writers)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    print(sum(made))


match sys.argv[1:]:
    case ["relationships", count]:
        relationships(int(count))
    case ["schema"]:
        schema()
    case ["write", address, seconds, writers]:
        write(address, float(seconds), int(writers))
    case _:
        sys.exit(__doc__)
