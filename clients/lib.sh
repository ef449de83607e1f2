# What the scripts of this folder share: the tools that they need, kept in target/, and servers to ask.
# Sourced; the caller has set -euo pipefail.

WORKSPACE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
TOOLS=$WORKSPACE/target/tools
NODE_TOOLS=$WORKSPACE/target/clients/node
STARTED_WITHIN_SECONDS=60
export PYTHONDONTWRITEBYTECODE=1

WORK=$(mktemp -d)
SERVERS=()
stop() {
    local server
    for server in "${SERVERS[@]}"; do kill "$server" 2>/dev/null || true; done
    for server in "${SERVERS[@]}"; do wait "$server" 2>/dev/null || true; done
    rm -rf "$WORK"
}
trap stop EXIT

need() { # TOOL PACKAGE
    command -v "$1" >/dev/null || { echo "$1 is needed: apt-get install $2" >&2; exit 1; }
}

# The Python packages, in the environment that ./check uses too.
python_packages() {
    need python3 python3
    local wanted=$WORKSPACE/clients/python/requirements.txt stamp=$TOOLS/clients-requirements.txt
    [ -x "$TOOLS/bin/pip" ] || python3 -m venv "$TOOLS" || {
        echo "python3 with venv is needed: apt-get install python3-venv" >&2
        exit 1
    }
    cmp -s "$wanted" "$stamp" && return
    "$TOOLS/bin/pip" install --quiet --disable-pip-version-check -r "$wanted"
    cp "$wanted" "$stamp"
}

node_packages() {
    need node nodejs
    need npm npm
    local of=$WORKSPACE/clients/node
    cmp -s "$of/package-lock.json" "$NODE_TOOLS/installed.json" && return
    mkdir -p "$NODE_TOOLS"
    cp "$of/package.json" "$of/package-lock.json" "$NODE_TOOLS/"
    npm ci --silent --no-fund --no-audit --prefix "$NODE_TOOLS"
    cp "$of/package-lock.json" "$NODE_TOOLS/installed.json"
}

# The binary that is asked: the one given, or a debug build.
binary() { # [PATH]
    if [ -n "${1:-}" ]; then
        realpath "$1"
        return
    fi
    cargo build --quiet --manifest-path "$WORKSPACE/Cargo.toml" --package idhini >&2
    echo "${CARGO_TARGET_DIR:-$WORKSPACE/target}/debug/idhini"
}

# Starts a server that keeps nothing, on free ports; its addresses are left in ADDRESS and HTTP_ADDRESS.
serve() { # BINARY KEY [ARGUMENT…]
    local log=$WORK/serve-${#SERVERS[@]}.log
    : >"$log"
    "$1" serve --ephemeral --grpc-addr 127.0.0.1:0 --http-addr 127.0.0.1:0 --preshared-key "$2" "${@:3}" >"$log" 2>&1 &
    SERVERS+=($!)
    for _ in $(seq $((STARTED_WITHIN_SECONDS * 10))); do
        ADDRESS=$(sed -n 's/^listening on \([0-9.:]*\).*/\1/p' "$log")
        HTTP_ADDRESS=$(sed -n 's/^http on https\?:..\([0-9.:]*\)$/\1/p' "$log")
        [ -z "$ADDRESS" ] || [ -z "$HTTP_ADDRESS" ] || return 0
        sleep 0.1
    done
    echo "the server did not start; its log:" >&2
    cat "$log" >&2
    return 1
}
