#!/bin/sh
# Performs one turn of a runtime with grpcurl: registers it, accepts an input, applies the boundary with receipt and session, loads
# everything, restarts the daemon, loads again and compares. Starts a daemon in a temporary folder.
#
#   scripts/turn.sh [TERM|KILL]     the signal that ends the daemon before its restart; default TERM
#
# Exits with 0 only when all results were as expected. GRPCURL is the path of the grpcurl to use.
set -eu

SIGNAL=${1:-TERM}
ROOT=$(cd "$(dirname "$0")/.." && pwd)
MAIN=$ROOT/packages/daemon/dist/cli/main.js
GRPCURL=${GRPCURL:-$(command -v grpcurl || echo "$ROOT/.tools/bin/grpcurl")}
WORK=$(mktemp -d "${TMPDIR:-/tmp}/bolthole-turn-XXXXXX")
DATA=$WORK/data
STORE=bolthole.v1.RuntimeStoreService
RUNTIME='"runtime_id": "turn"'
SESSION_ID=0198f0a0-0000-7000-8000-0000000000aa
INPUT_ID=0198f0a0-0000-7000-8000-0000000000b1
RUN_ID=0198f0a0-0000-7000-8000-0000000000c1
DAEMON=

fail() {
  echo "turn.sh: $*" >&2
  [ ! -s "$WORK/log" ] || tail -n 5 "$WORK/log" >&2
  exit 1
}

end_daemon() {
  [ -n "$DAEMON" ] || return 0
  kill "-$1" "$DAEMON" 2>/dev/null || true
  STATUS=0
  wait "$DAEMON" 2>/dev/null || STATUS=$?
  DAEMON=
}

clean_up() {
  end_daemon KILL
  rm -rf "$WORK"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

# Sends the request on standard input to one RPC of the store. grpcurl 1.9.1 and earlier need the option -unix and a path, later ones
# a unix:// target.
call() {
  if [ -n "$UNIX_FLAG" ]; then
    "$GRPCURL" -plaintext -unix -max-time 20 -d @ "$AT" "$STORE/$1"
  else
    "$GRPCURL" -plaintext -max-time 20 -d @ "unix://$AT" "$STORE/$1"
  fi
}
field() { sed -n 's/^ *"'"$1"'": "\(.*\)",\{0,1\}$/\1/p'; }
quote() { node -e 'process.stdout.write(JSON.stringify(require("fs").readFileSync(0, "utf8")))' <"$1"; }

# A kill leaves an old endpoint file behind, so this waits for a response and not only for the file.
start_daemon() {
  node "$MAIN" serve --data "$DATA" >>"$WORK/log" 2>&1 &
  DAEMON=$!
  TRIES=0
  while [ "$TRIES" -lt 100 ]; do
    kill -0 "$DAEMON" 2>/dev/null || fail "the daemon ended while it started"
    if [ -s "$DATA/endpoint" ]; then
      AT=$(sed -n '1s/^unix://p' "$DATA/endpoint")
      if echo '{}' | call GetServerInfo >"$WORK/info" 2>/dev/null; then return 0; fi
    fi
    TRIES=$((TRIES + 1))
    sleep 0.2
  done
  fail "the daemon did not respond in time"
}

register() {
  call CommitMachineLifecycle <<END
{
  $RUNTIME,
  "record": {
    "record_version": 1,
    "runtime_state": "RUNTIME_STATE_RUNNING",
    "binding": { "agent_runtime_id": "agent-1", "fence_token": 7, "runtime_generation": 1 }
  }
}
END
}

accept_input() {
  cat >"$WORK/input.json" <<END
{"input_type":"prompt","header":{"id":"$INPUT_ID","timestamp":"2026-05-28T15:31:27Z","source":{"type":"operator"},"durability":"durable","visibility":{"transcript_eligible":true,"operator_eligible":true}},"text":"hello"}
END
  call PersistInputState <<END
{
  $RUNTIME,
  "expected_fence_token": 7,
  "state": {
    "input_id": "$INPUT_ID",
    "current_state": "INPUT_LIFECYCLE_STATE_QUEUED",
    "durability": "INPUT_DURABILITY_DURABLE",
    "recovery_lane": "HANDLING_MODE_QUEUE",
    "admission_sequence": 1,
    "persisted_input_json": $(quote "$WORK/input.json"),
    "created_at": "2026-05-28T15:31:27.100Z",
    "updated_at": "2026-05-28T15:31:27.200Z"
  }
}
END
}

apply_boundary() {
  cat >"$WORK/session.json" <<END
{"version":2,"id":"$SESSION_ID","messages":[{"role":"user","content":"hello","created_at":"2026-05-28T15:31:27.100Z"},{"role":"block_assistant","blocks":[{"block_type":"text","data":{"text":"Good day to you."}}],"stop_reason":"end_turn","created_at":"2026-05-28T15:31:28Z"}],"created_at":{"secs_since_epoch":1779982287,"nanos_since_epoch":100000000},"updated_at":{"secs_since_epoch":1779982288,"nanos_since_epoch":0},"metadata":{},"usage":{"input_tokens":7,"output_tokens":5,"cache_creation_tokens":null,"cache_read_tokens":null}}
END
  call AtomicApply <<END
{
  $RUNTIME,
  "expected_fence_token": 7,
  "session_delta": { "session_json": $(quote "$WORK/session.json") },
  "session_store_key": "$SESSION_ID",
  "receipt": {
    "run_id": "$RUN_ID",
    "boundary": "RUN_APPLY_BOUNDARY_RUN_START",
    "contributing_input_ids": ["$INPUT_ID"],
    "message_count": 2,
    "sequence": 1
  },
  "input_updates": [
    {
      "input_id": "$INPUT_ID",
      "current_state": "INPUT_LIFECYCLE_STATE_CONSUMED",
      "terminal_outcome": { "consumed": {} },
      "durability": "INPUT_DURABILITY_DURABLE",
      "admission_sequence": 1,
      "persisted_input_json": $(quote "$WORK/input.json"),
      "last_run_id": "$RUN_ID",
      "last_boundary_sequence": 1,
      "created_at": "2026-05-28T15:31:27.100Z",
      "updated_at": "2026-05-28T15:31:28.500Z"
    }
  ]
}
END
}

# Loads every record of the runtime into folder $1, one file each.
load_all() {
  mkdir "$1"
  echo "{$RUNTIME}" | call LoadMachineLifecycleRecord >"$1/lifecycle"
  echo "{$RUNTIME}" | call LoadInputStates >"$1/inputs"
  echo "{$RUNTIME, \"run_id\": \"$RUN_ID\", \"sequence\": 1}" | call LoadBoundaryReceipt >"$1/receipt"
  echo "{$RUNTIME}" | call LoadSessionSnapshot >"$1/session"
  echo '{}' | call ListRuntimes >"$1/runtimes"
  echo '{}' | call GetServerInfo | grep -v '"\(storeTime\|latest\)Ms"' >"$1/info"
  field chunk <"$1/session" | base64 -d >"$1/session.json"
}

# Compares the characteristic members of each loaded record with the written ones.
check_loaded() {
  cmp "$WORK/session.json" "$1/session.json" || fail "the loaded session differs from the written one"
  expect "$1/lifecycle" runtimeState RUNTIME_STATE_RUNNING
  expect "$1/lifecycle" fenceToken 7
  expect "$1/inputs" currentState INPUT_LIFECYCLE_STATE_CONSUMED
  expect "$1/inputs" lastRunId "$RUN_ID"
  expect "$1/inputs" persistedInputJson "$(sed 's/"/\\"/g' "$WORK/input.json")"
  expect "$1/receipt" runId "$RUN_ID"
  expect "$1/receipt" messageCount 2
}

expect() {
  GOT=$(field "$2" <"$1")
  [ "$GOT" = "$3" ] || fail "$(basename "$1"): expected $2 to be $3, found ${GOT:-nothing}"
}

[ -x "$GRPCURL" ] || fail "there is no grpcurl at $GRPCURL"
[ -f "$MAIN" ] || fail "$MAIN is not built"
case $("$GRPCURL" -plaintext -connect-timeout 1 unix:///missing.sock list 2>&1) in
  *"lookup tcp"*) UNIX_FLAG=yes ;;
  *) UNIX_FLAG= ;;
esac

start_daemon
echo "a daemon serves $DATA"
register >/dev/null
echo "registered the runtime"
accept_input >/dev/null
echo "accepted an input"
apply_boundary >/dev/null
echo "applied the boundary: session, receipt and input"
load_all "$WORK/before"
check_loaded "$WORK/before"
echo "loaded everything"

end_daemon "$SIGNAL"
[ "$SIGNAL" != TERM ] || [ "$STATUS" -eq 0 ] || fail "the daemon ended with $STATUS after SIGTERM"
start_daemon
echo "restarted the daemon (SIG$SIGNAL)"
load_all "$WORK/after"
diff -r "$WORK/before" "$WORK/after" || fail "the loaded records differ after the restart"
check_loaded "$WORK/after"
echo "loaded everything again: no difference"
end_daemon TERM
[ "$STATUS" -eq 0 ] || fail "the daemon ended with $STATUS after SIGTERM"
