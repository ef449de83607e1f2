"""Runs the examples of README.md and docs/*.md, each page from its top against a server of its own.

How examples are written:

* ```console    lines `$ COMMAND` (continued by lines `> …`), each followed by what it prints. Where something is
                printed below a command, it must be that; otherwise the command must succeed.
* ```sh         a script that must succeed.
* ```python     a program that must succeed. Where it has comments `# -> TEXT`, it must print these lines.
* ```js         the same for Node, with comments `// -> TEXT`.
* ```LANGUAGE file=NAME    a file, there for the examples after it.
* ```text, ```zed, ```json, ```toml, ```yaml, ```proto, ```promql, ```difference …, ```agreement … and plain ``` are only
                shown.

A block in any other language fails, and so does one of the first four that does not run; unless the line before it is

    <!-- not run: REASON -->

or, for what goes on for ever, which is then stopped and must have run without a fault until then,

    <!-- stopped after 2 s: REASON -->

A page that has the line `<!-- server: empty -->` gets a server without a schema, and one that has the line
`<!-- server: root token -->` a server without a key: its root token is in the client file, and IDHINI_TOKEN is not set.

What an example finds: a folder of its own with `docs`, `examples` and `crates` of the project in it; `idhini` and the
Python and Node of the clients; a server with the schema and the relationships of docs/start, whose data directory is
./idhini.data, whose key is `secret`, and which lets profiles be taken; IDHINI_ADDR and IDHINI_TOKEN for it.
`127.0.0.1:50051` in an example means that server, wherever it listens, `127.0.0.1:8443` its HTTP, `127.0.0.1:9464` its
metrics, and
`idhini_root_…` its key. One shell runs all of a page's console blocks and scripts.

Of what is printed, tokens, moments, durations, sizes and process ids are only compared for being there, whatever blanks
align them; a line `...` stands for any lines.
"""

import argparse
import os
import pathlib
import queue
import re
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
RUN = {"console", "sh", "python", "js"}
SHOWN = {"", "text", "zed", "json", "toml", "yaml", "proto", "promql", "difference", "agreement"}
STARTED_WITHIN_SECONDS = 60
COMMAND_WITHIN_SECONDS = 60
# Records of measurements, and the differences, whose blocks have runners of their own.
WITHOUT_EXAMPLES = {"performance.md", "nightly.md", "differences.md"}
MASKS = [
    (r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z *", "MOMENT "),
    (r"\bA[A-Za-z0-9_-]{40,}={0,2}", "TOKEN"),
    (r"\b\d+(\.\d+)? ?(ns|µs|ms|s|seconds)\b", "DURATION"),
    (r" *\b\d+(\.\d+)? ?(bytes|B|KiB|MiB|GiB)\b", " SIZE"),
    (r"\bprocess \d+\b", "process ID"),
    (r"\b127\.0\.0\.1:\d+\b", "ADDRESS"),
]  # fmt: skip
KEY = "secret"
EMPTY = "\n<!-- server: empty -->\n"
ROOT_TOKEN = "\n<!-- server: root token -->\n"
END = "\x01"


class Block:
    def __init__(self, page, line, info, lines, marker):
        self.where = f"{page.relative_to(ROOT)}:{line}"
        self.language, *rest = info.split() or [""]
        self.file = next((word.removeprefix("file=") for word in rest if word.startswith("file=")), None)
        self.lines = lines
        self.not_run = re.fullmatch(r"<!-- not run: .+ -->", marker)
        stopped = re.fullmatch(r"<!-- stopped after (\d+) s: .+ -->", marker)
        self.seconds = int(stopped[1]) if stopped else None


def blocks(page):
    before, lines = "", iter(enumerate(page.read_text().splitlines(), 1))
    for number, line in lines:
        fence = re.fullmatch(r"(\s*)```(.*)", line)
        if not fence:
            before = line.strip() or before
            continue
        body = []
        for _, inner in lines:
            if inner.strip() == "```":
                break
            body.append(inner.removeprefix(fence[1]))
        yield Block(page, number, fence[2].strip(), body, before)
        before = ""


class Shell:
    """One bash for a page."""

    def __init__(self, folder, environment):
        self.process = subprocess.Popen(
            ["bash", "--norc"], cwd=folder, env=environment, text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def run(self, command, seconds):
        """What it printed and its status; the status is None if it was still running."""
        self.process.stdin.write(f"{{\n{command}\n}} </dev/null\nprintf '\\n\\001%s\\n' $?\n")
        self.process.stdin.flush()
        printed, until = [], time.monotonic() + seconds
        while True:
            try:
                line = self.lines.get(timeout=max(until - time.monotonic(), 0.01))
            except queue.Empty:
                os.killpg(self.process.pid, 9)
                return printed, None
            if line is None:
                return printed, 255
            if line.startswith(END):
                # The empty line before the mark ends a last line that had no end.
                if printed and printed[-1] == "":
                    printed.pop()
                return printed, int(line[1:])
            printed.append(line)

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, 9)
            self.process.wait()


def masked(line):
    for pattern, name in MASKS:
        line = re.sub(pattern, name, line)
    return line.rstrip()


def matches(printed, wanted):
    """Whether the lines are the wanted ones, of which `...` is any."""
    if not wanted:
        return not printed
    if wanted[0].strip() == "...":
        return any(matches(printed[at:], wanted[1:]) for at in range(len(printed) + 1))
    return bool(printed) and masked(printed[0]) == masked(wanted[0]) and matches(printed[1:], wanted[1:])


def commands(lines):
    """Commands with what is printed below them."""
    found = []
    for line in lines:
        if line.startswith("$ "):
            found.append([line[2:], []])
        elif line.startswith("> ") and found and not found[-1][1]:
            found[-1][0] += "\n" + line[2:]
        elif found:
            found[-1][1].append(line)
        else:
            return None
    for _, wanted in found:
        while wanted and not wanted[-1].strip():
            wanted.pop()
    return found


class Page:
    def __init__(self, path, binary):
        self.path = path
        self.failures = 0
        self.ran = 0
        self.folder = tempfile.TemporaryDirectory(prefix="idhini-page-")
        folder = pathlib.Path(self.folder.name)
        for name in ("docs", "examples", "crates"):
            (folder / name).symlink_to(ROOT / name)
        (folder / "bin").mkdir()
        (folder / "bin" / "idhini").symlink_to(binary)
        path_of_tools = f"{folder / 'bin'}:{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
        gone = ("IDHINI_", "XDG_CONFIG_HOME")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(gone)}
        self.environment = {**kept, "PATH": path_of_tools, "PS1": "", "HOME": str(folder), "NO_COLOR": "1"}

    def serve(self):
        self.log = pathlib.Path(self.folder.name) / "server.log"
        arguments = ["--data-dir", "idhini.data", "--grpc-addr", "127.0.0.1:0", "--metrics-addr", "127.0.0.1:0"]
        arguments += ["--http-addr", "127.0.0.1:0"]
        text = self.path.read_text()
        arguments += ["--profiling"] if ROOT_TOKEN in text else ["--profiling", "--preshared-key", KEY]
        if EMPTY not in text:
            arguments += ["--schema", "docs/start/schema.zed", "--relationships", "docs/start/relationships.txt"]
        self.server = subprocess.Popen(
            ["idhini", "serve", *arguments], executable=pathlib.Path(self.folder.name) / "bin" / "idhini",
            cwd=self.folder.name, env=self.environment, stdout=self.log.open("w"), stderr=subprocess.STDOUT,
        )  # fmt: skip
        until = time.monotonic() + STARTED_WITHIN_SECONDS
        while time.monotonic() < until and self.server.poll() is None:
            log = self.log.read_text()
            found = re.search(r"listening on (127\.0\.0\.1:\d+)", log)
            metrics = re.search(r"metrics on http://(127\.0\.0\.1:\d+)", log)
            http = re.search(r"^http on http://(127\.0\.0\.1:\d+)", log, flags=re.M)
            if found and metrics and http:
                self.http = http[1]
                self.environment["IDHINI_ADDR"], self.metrics = found[1], metrics[1]
                if ROOT_TOKEN in text:
                    client_file = pathlib.Path(self.folder.name) / ".config" / "idhini" / "client.toml"
                    self.key = re.search(r'token = "(\w+)"', client_file.read_text())[1]
                else:
                    self.key = self.environment["IDHINI_TOKEN"] = KEY
                return
            time.sleep(0.05)
        sys.exit(f"the server of {self.path.name} did not start:\n{self.log.read_text()}")

    def run(self):
        self.serve()
        self.shell = Shell(self.folder.name, self.environment)
        try:
            for block in blocks(self.path):
                self.block(block)
        finally:
            self.shell.close()
            self.server.terminate()
            self.server.wait()
            self.folder.cleanup()

    def block(self, block):
        text = "\n".join(block.lines).replace("127.0.0.1:50051", self.environment["IDHINI_ADDR"])
        text = text.replace("127.0.0.1:9464", self.metrics).replace("127.0.0.1:8443", self.http).replace("idhini_root_…", self.key)
        if block.file:
            target = pathlib.Path(self.folder.name) / block.file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text + "\n")
        elif block.not_run or block.language in SHOWN:
            return
        elif block.language not in RUN:
            self.fail(block, f"nothing runs `{block.language}` here: mark the block with `<!-- not run: REASON -->`")
        else:
            self.ran += 1
            getattr(self, block.language)(block, text)

    def fail(self, block, why):
        self.failures += 1
        print(f"FAIL  {block.where}: {why}")

    def finished(self, block, printed, status):
        """Whether it ended as it should; says so if not."""
        if block.seconds is not None:
            if status is not None:
                self.fail(block, f"it should go on, but ended with status {status}: {printed}")
            return False
        if status is None:
            self.fail(block, f"it did not end within {COMMAND_WITHIN_SECONDS} s")
        return status is not None

    def sh(self, block, text):
        printed, status = self.shell.run(f"( set -e\n{text}\n)", block.seconds or COMMAND_WITHIN_SECONDS)
        if status is None:
            self.shell = Shell(self.folder.name, self.environment)
        if self.finished(block, printed, status) and status != 0:
            self.fail(block, f"status {status}: {printed}")

    def console(self, block, text):
        found = commands(text.splitlines())
        if found is None:
            self.fail(block, "its first line is no `$ COMMAND`")
            return
        for command, wanted in found:
            printed, status = self.shell.run(command, block.seconds or COMMAND_WITHIN_SECONDS)
            if status is None:
                self.shell = Shell(self.folder.name, self.environment)
            if not self.finished(block, printed, status):
                continue
            if not wanted and status != 0:
                self.fail(block, f"`{command}` ended with status {status}: {printed}")
            elif wanted and not matches(printed, wanted):
                self.fail(block, f"`{command}` printed\n        " + "\n        ".join(printed))

    def python(self, block, text):
        self.program(block, [sys.executable, "-c", text], re.findall(r"# -> (.*)$", text, flags=re.M))

    def js(self, block, text):
        self.program(block, ["node", "-e", text], re.findall(r"// -> (.*)$", text, flags=re.M))

    def program(self, block, command, wanted):
        try:
            done = subprocess.run(
                command, cwd=self.folder.name, env=self.environment, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=block.seconds or COMMAND_WITHIN_SECONDS,
            )  # fmt: skip
            printed, status = done.stdout.splitlines(), done.returncode
        except subprocess.TimeoutExpired as late:
            printed, status = (late.stdout or b"").decode().splitlines(), None
        if not self.finished(block, printed, status):
            return
        if status != 0:
            self.fail(block, f"status {status}:\n        " + "\n        ".join(printed))
        elif wanted and not matches(printed, wanted):
            self.fail(block, "it printed\n        " + "\n        ".join(printed))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("pages", nargs="*", help="README.md and docs/*.md if none is named")
    options = parser.parse_args()
    named = [pathlib.Path(page).resolve() for page in options.pages]
    every = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    failures = 0
    for path in named or [page for page in every if page.name not in WITHOUT_EXAMPLES]:
        page = Page(path, pathlib.Path(options.binary).resolve())
        page.run()
        failures += page.failures
        print(f"{'FAIL' if page.failures else 'ok  '}  {path.relative_to(ROOT)}: {page.ran} blocks run")
    sys.exit(1 if failures else 0)


main()
