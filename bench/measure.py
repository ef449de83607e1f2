"""What `bench/run` and `bench/storage` share: building, starting servers, loading them, and tables."""

import json
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time

ROUNDS = 5
ECHO, OURS, BARE_ECHO, SPICEDB, FENCED = (f"127.0.0.1:{port}" for port in (50271, 50272, 50273, 50274, 50275))
KEY = "bench"
# By address, what its clients bring.
TOKENS = {ECHO: KEY, OURS: KEY}
TOP = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", TOP / "target")).resolve()
RELEASE = TARGET / "release"
WORK = TOP / "target" / "bench"
KIT = WORK / "kit"
KIT_RELEASE = WORK / "kit-target" / "release"
WORKLOAD = WORK / "workload"

# What was answered wrong or not at all, as text.
wrong_answers = []


def run(*command, **options):
    return subprocess.run([str(part) for part in command], check=True, text=True, stdout=subprocess.PIPE, **options).stdout


def tell(text):
    print(text, file=sys.stderr, flush=True)


def build(kit, *packages):
    """The kit and these of our packages, each a list of cargo's options; and the workload where it is missing."""
    WORK.mkdir(parents=True, exist_ok=True)
    shutil.copytree(kit, KIT, dirs_exist_ok=True, copy_function=copied, ignore=shutil.ignore_patterns("target", "workload"))
    environment = {**os.environ, "CARGO_TARGET_DIR": str(KIT_RELEASE.parent)}
    tell("building the load kit")
    run("cargo", "build", "--release", "--quiet", "--manifest-path", KIT / "Cargo.toml", env=environment)
    os.chdir(TOP)
    for package in packages:
        tell(f"building {' '.join(package)}")
        run("cargo", "build", "--release", "--quiet", *package)
    generate(WORKLOAD)


def copied(source, target):
    """What has not changed is not written again, or cargo would build it again."""
    content = pathlib.Path(source).read_bytes()
    if pathlib.Path(source).name == "Cargo.toml":
        # It lies inside this workspace now, and is not of it.
        content += b"\n[workspace]\n"
    if not os.path.exists(target) or pathlib.Path(target).read_bytes() != content:
        pathlib.Path(target).write_bytes(content)


def generate(folder, *share):
    if not (folder / "relationships.txt").exists():
        tell(f"generating {folder.name}")
        run(KIT_RELEASE / "gen", folder, *share)


def load(command, address, pid, *options, program=KIT_RELEASE / "load", folder=WORKLOAD):
    """One line of a load client; what was wrong is noted in `wrong_answers`."""
    token = ["--token", TOKENS[address]] if address in TOKENS else []
    line = run(program, command, "--addr", address, "--pid", pid, "--dir", folder, *token, *options)
    # Where nothing was answered, a cost each is infinite.
    result = json.loads(re.sub(r"\binf\b", "Infinity", line.splitlines()[-1]))
    wrong = result.get("errors", 0) + result.get("mismatch", 0)
    if wrong:
        wrong_answers.append(f"{command} at {address}: {wrong} errors or wrong answers: {line.strip()}")
        tell(wrong_answers[-1])
    return result


class Server:
    def __init__(self, command, address, name=None):
        self.log = open(WORK / f"{name or pathlib.Path(command[0]).name}.log", "w")
        self.started = time.monotonic()
        self.process = subprocess.Popen([str(part) for part in command], stdout=self.log, stderr=self.log)
        self.address, self.pid = address, self.process.pid

    def wait_for(self, ready):
        while not ready():
            if self.process.poll() is not None or time.monotonic() - self.started > 60:
                sys.exit(f"{self.process.args[0]} did not start; see {self.log.name}")
        return time.monotonic() - self.started

    def memory(self, field):
        """Of /proc: `VmRSS` or `VmHWM`, in bytes; mappings of files count."""
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
        sys.exit(f"/proc says no {field} of {self.process.args[0]}")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()

    def kill(self):
        self.process.kill()
        self.process.wait()


def fenced(data, trail, *options):
    """A server whose clients have a token of a namespace with quotas, and which puts every decision on its audit trail."""
    for folder in (data, trail):
        shutil.rmtree(folder, ignore_errors=True)
    server = ours(data, "--audit-dir", trail, *options, address=FENCED)
    environment = {**os.environ, "IDHINI_ADDR": FENCED, "IDHINI_TOKEN": KEY}
    quotas = {"idhini.quota.calls_per_second": 10**9, "idhini.quota.concurrent_calls": 10**6,
              "idhini.quota.cost_per_second": 10**9, "idhini.token_quota.calls_per_second": 10**9,
              "idhini.audit": "decisions"}
    metadata = [part for key, value in quotas.items() for part in ("--metadata", f"{key}={value}")]
    command = RELEASE / "idhini"
    run(command, "namespace", "create", "team", env=environment)
    run(command, "namespace", "create", "team/app", *metadata, env=environment)
    TOKENS[FENCED] = run(command, "token", "create", "--home", "team/app", "--role", "schema_writer", "--role", "writer",
                         "--role", "checker", env=environment).split()[0]
    return server


def ours(data, *options, address=OURS):
    server = Server([RELEASE / "idhini", "serve", "--data-dir", data, "--grpc-addr", address, "--preshared-key", KEY,
                     "--http-addr", "off", "--metrics-addr", "off", *options], address, f"ours-{address[-5:]}")
    server.wait_for(lambda: "listening" in pathlib.Path(server.log.name).read_text())
    return server


def answers_right(resource, permission, subject, expected):
    asked = subprocess.run([str(RELEASE / "idhini"), "check", resource, permission, subject, "--addr", OURS,
                            "--token", KEY], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if asked.returncode in (0, 1) and (asked.returncode == 0) != (expected == "1"):
        sys.exit(f"{resource} {permission} {subject} is answered wrong")
    return asked.returncode in (0, 1)


def imported(data, *options):
    """A server with the workload in a new directory, and the relationships a second that it took in."""
    shutil.rmtree(data, ignore_errors=True)
    server = ours(data, *options)
    return server, load("import", OURS, server.pid)["per_s"]


def restart(data, *options):
    """Seconds from the start of the process to the first right answer of a client that starts a process to ask."""
    with open(WORKLOAD / "checks_b_group5.txt") as checks:
        question = checks.readline().split()
    server = Server([RELEASE / "idhini", "serve", "--data-dir", data, "--grpc-addr", OURS, "--preshared-key", KEY,
                     *options], OURS)
    took = server.wait_for(lambda: answers_right(*question))
    server.kill()
    return took


def machine():
    """Commit, day and machine, in a line."""
    model = next((line.split(":")[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), "unknown processor")
    changed = " with changes" if run("git", "status", "--porcelain", "--untracked-files=no", cwd=TOP).strip() else ""
    commit = run("git", "rev-parse", "--short", "HEAD", cwd=TOP).strip()
    return (f"commit {commit}{changed}, {time.strftime('%Y-%m-%d')}, {os.cpu_count()} processors ({model}), "
            f"{os.uname().sysname} {os.uname().release}")


def table(heads, rows):
    """Markdown, aligned: the first column to the left, all others to the right."""
    rows = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[at]) for row in [heads, *rows]) for at in range(len(heads))]
    line = lambda row: "| " + " | ".join(
        cell.ljust(width) if at == 0 else cell.rjust(width) for at, (cell, width) in enumerate(zip(row, widths))) + " |"
    under = "|" + "|".join("-" * (width + 2) if at == 0 else "-" * (width + 1) + ":" for at, width in enumerate(widths)) + "|"
    return "\n".join([line(heads), under, *map(line, rows)])


def median_row(name, values, form="{:.0f}"):
    """The median round, and all of them."""
    return [name, form.format(statistics.median(values)), ", ".join(form.format(value) for value in values)]


def end():
    """The exit status of the program: 1 if anything was answered wrong."""
    for wrong in wrong_answers:
        tell(wrong)
    sys.exit(1 if wrong_answers else 0)
