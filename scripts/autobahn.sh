#!/usr/bin/env bash
# Autobahn's suite (fuzzingclient) over the service's WebSocket layer; the report goes to
# build/autobahn/index.html. Runs the suite's container image, or the program WSTEST names.
# CASES chooses, for example CASES='"6.*","7.*"'; compression (12, 13) is never negotiated.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${VENV:-.venv}/bin/python
image=crossbario/autobahn-testsuite:25.10.1
out=$PWD/build/autobahn

if [ -z "${WSTEST:-}" ] && ! docker info >/dev/null 2>&1; then
    echo "autobahn: needs a running Docker, or WSTEST=/path/to/wstest" >&2
    exit 2
fi

rm -rf "$out"
mkdir -p "$out"
coproc SERVER { exec "$python" -m tests.autobahn.echo_server; }
server=$SERVER_PID
trap 'kill "$server" 2>/dev/null' EXIT
read -r -t 30 _ port <&"${SERVER[0]}"

# In the container the folder is /out.
folder=$([ -n "${WSTEST:-}" ] && echo "$out" || echo /out)
cat >"$out/spec.json" <<SPEC
{
  "outdir": "$folder",
  "servers": [{
    "agent": "chatsvc",
    "url": "ws://127.0.0.1:$port/ws",
    "protocols": ["chatsvc.v1", "bearer.any"]
  }],
  "cases": [${CASES:-\"*\"}],
  "exclude-cases": ["12.*", "13.*"]
}
SPEC

if [ -n "${WSTEST:-}" ]; then
    "$WSTEST" -m fuzzingclient -s "$out/spec.json" >"$out/log.txt" 2>&1
else
    docker run --rm --network host --user "$(id -u):$(id -g)" -v "$out:/out" "$image" \
        wstest -m fuzzingclient -s /out/spec.json >"$out/log.txt" 2>&1
fi
"$python" -m tests.autobahn.report "$out/index.json"
