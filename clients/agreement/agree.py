"""The same requests put to SpiceDB and to this server; their answers compared, and each difference held against
docs/differences.md.

    agree.py --spicedb HOST:PORT --addr HOST:PORT --token KEY [--only WORLD] [--record]

A difference is explained by a line of a block ```agreement ID``` of that page:

    REQUEST :: FIELD :: SpiceDB's value | ours

in which `*` stands for any text. The request is named as in `corpus`, the field by its path. A difference without a line
fails the run, and so does a line that explains nothing any more (unless only a part is asked). `--record` prints
unexplained differences as such lines.
"""

import argparse
import pathlib
import re
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "python"), str(HERE)]

import grpc  # noqa: E402
from authzed.api.v1 import (  # noqa: E402
    Consistency,
    DeleteRelationshipsRequest,
    InsecureClient,
    ReflectSchemaRequest,
    WriteSchemaRequest,
)
from authzed.api.v1.permission_service_pb2 import ExportBulkRelationshipsRequest  # noqa: E402
from compare import differences, plain, refusal  # noqa: E402
from corpus import changes, questions, schemas  # noqa: E402
from harness import of_type, said, updates  # noqa: E402
from harness import WriteRelationshipsRequest, TOUCH  # noqa: E402

PAGE = HERE.parents[1] / "docs" / "differences.md"
FULL = Consistency(fully_consistent=True)
PATIENCE_SECONDS = 10
# Calls after which what is stored is compared too.
CHANGES = {"WriteRelationships", "DeleteRelationships", "ImportBulkRelationships", "BulkImportRelationships"}
UPLOADS = {"ImportBulkRelationships", "BulkImportRelationships"}
PAGES_MAX = 10_000
SHOWN_MAX = 300


class Server:
    """One of the two, and what its answers left behind."""

    def __init__(self, address, token):
        self.client = InsecureClient(address, token)
        self.kept = {}

    def furnish(self, world):
        """Writes a world over whatever is there."""
        try:
            there = [d.name for d in self.client.ReflectSchema(ReflectSchemaRequest(consistency=FULL)).definitions]
        except grpc.RpcError as error:
            if error.code() not in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION):
                raise
            there = []
        for name in there:
            self.client.DeleteRelationships(DeleteRelationshipsRequest(relationship_filter=of_type(name)))
        # SpiceDB takes no caveat with other parameters for one of the same name.
        for schema in ("definition user {}", world.schema):
            self.client.WriteSchema(WriteSchemaRequest(schema=schema))
        if world.relationships:
            self.client.WriteRelationships(WriteRelationshipsRequest(updates=updates(TOUCH, *world.relationships)))
        self.kept = {}

    def ask(self, step):
        """The answer as a plain value, and the text of a refusal."""
        text = ""
        try:
            request = step.request(self.kept) if callable(step.request) else step.request
            answer = self.pages(step, request) if step.paged else self.call(step, request)
            messages = answer if isinstance(answer, list) else [answer]
            if step.keep:
                self.kept[step.keep] = answer
            got = {"status": "OK"}
            if step.call.endswith("ExportRelationships") or step.call.startswith("Export"):
                # How they are cut into messages is the server's business.
                got["relationships"] = [said(r) for m in messages for r in m.relationships]
            elif isinstance(answer, list):
                got["answers"] = [plain(m) for m in messages] if not step.keep else len(messages)
                got["cursors"] = sorted({str(bool(cursor_of(m))) for m in messages})
            else:
                got.update(plain(answer))
        except grpc.RpcError as error:
            got, text = refusal(error)
        if step.call in CHANGES:
            got["stored"] = self.stored()
        return got, text

    def call(self, step, request):
        call = getattr(self.client, step.call)
        given = iter(request) if step.call in UPLOADS else self.consistent(step, request)
        answer = call(given, timeout=PATIENCE_SECONDS, metadata=step.metadata or None)
        if step.take is not None:
            found = [message for _, message in zip(range(step.take), answer)]
            answer.cancel()
            return found
        return list(answer) if hasattr(answer, "__next__") else answer

    @staticmethod
    def consistent(step, request):
        if step.as_it_is or "consistency" not in request.DESCRIPTOR.fields_by_name or request.HasField("consistency"):
            return request
        asked = type(request)()
        asked.CopyFrom(request)
        asked.consistency.CopyFrom(FULL)
        return asked

    def pages(self, step, request):
        limit, size = step.paged
        asked = type(request)()
        asked.CopyFrom(request)
        setattr(asked, limit, size)
        found = []
        for _ in range(PAGES_MAX):
            page = self.call(step, asked)
            found += page
            # An export answers everything in messages of the size; other calls stop at it.
            if hasattr(page[-1] if page else request, "relationships") or len(page) < (size or 1):
                return found
            asked.optional_cursor.CopyFrom(page[-1].after_result_cursor)
        raise RuntimeError(f"{step.name}: no end after {PAGES_MAX} pages")

    def stored(self):
        request = ExportBulkRelationshipsRequest(consistency=FULL)
        return [said(r) for m in self.client.ExportBulkRelationships(request) for r in m.relationships]


def cursor_of(message):
    """The cursor behind an answer; none where there is no such field."""
    has = "after_result_cursor" in message.DESCRIPTOR.fields_by_name
    return message.after_result_cursor.token if has else ""


class Explained:
    """The lines of the page."""

    def __init__(self, page):
        self.lines = []
        for block in re.finditer(r"^```agreement ([\w-]+)\n(.*?)^```$", page, flags=re.M | re.S):
            if f"### {block[1]}\n" not in page:
                sys.exit(f"{PAGE.name}: the block `{block[1]}` has no section of that name")
            for line in block[2].splitlines():
                if len(line.split(" :: ")) != 3:
                    sys.exit(f"{PAGE.name}: `{line}` is not `REQUEST :: FIELD :: SpiceDB's | ours`")
                pattern = re.compile(".*".join(map(re.escape, line.split("*"))), flags=re.S)
                self.lines.append((block[1], line, pattern))
        self.used = dict.fromkeys(line for _, line, _ in self.lines)

    def entry(self, said):
        for entry, line, pattern in self.lines:
            if pattern.fullmatch(said):
                self.used[line] = entry
                return entry
        return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spicedb", required=True)
    parser.add_argument("--addr", required=True)
    parser.add_argument("--token", required=True)
    parser.add_argument("--only", default="", help="worlds with this in their name")
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    theirs, ours = Server(options.spicedb, "any"), Server(options.addr, options.token)
    page = Explained(PAGE.read_text())
    asked = unexplained = 0
    counts = {}
    for world in [*questions.worlds(), *changes.worlds(), *schemas.worlds()]:
        if options.only not in world.name:
            continue
        for server in (theirs, ours):
            server.furnish(world)
        parted = None
        for step in world.steps:
            time.sleep(step.wait)
            (their, their_text), (our, our_text) = theirs.ask(step), ours.ask(step)
            asked += 1
            for path, one, other in differences(their, our, ordered=step.call == "Watch"):
                # What is stored stays different until somebody changes it: that is said once.
                if path == "stored" and (one, other) == parted:
                    continue
                parted = (one, other) if path == "stored" else parted
                line = f"{step.name} :: {path} :: {one} | {other}"
                entry = page.entry(line)
                if entry:
                    counts[entry] = counts.get(entry, 0) + 1
                    continue
                unexplained += 1
                if options.record:
                    print(line)
                else:
                    print(f"unexplained: {step.name}: {path}\n    SpiceDB: {one[:SHOWN_MAX]}\n    Idhini:  {other[:SHOWN_MAX]}")
                    if their_text or our_text:
                        print(f"    the texts: {their_text[:SHOWN_MAX]!r}; {our_text[:SHOWN_MAX]!r}")
    stale = [line for line, entry in page.used.items() if entry is None] if not options.only else []
    for line in stale:
        print(f"explains nothing any more: {line}")
    if not options.record:
        for entry, count in sorted(counts.items()):
            print(f"{count:5}  {entry}")
        print(f"{asked} requests, {sum(counts.values())} fields differ as explained, {unexplained} unexplained, {len(stale)} lines explain nothing")
    sys.exit(1 if unexplained or stale else 0)


main()
