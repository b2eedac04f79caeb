#!/usr/bin/env bash
# Sends a message to a running service with DEV_LOGIN on, and reads it back.
# Usage: scripts/smoke.sh URL
set -euo pipefail
url=${1:?usage: scripts/smoke.sh URL}

call() { curl --silent --show-error --fail-with-body --max-time 10 "$@"; }
field() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }
json=(-H 'Content-Type: application/json')

call "$url/health"
echo
token=$(call "$url/api/dev/token" "${json[@]}" -d '{"user":"alice"}' | field token)
id=$(call "$url/api/messages" -H "Authorization: Bearer $token" "${json[@]}" \
    -d '{"participants":["alice","bob"],"content":"Hello!"}' | field id)
call "$url/api/messages/get?participants=alice,bob" -H "Authorization: Bearer $token" |
    grep --quiet "\"$id\""
echo "message $id was sent and read"
