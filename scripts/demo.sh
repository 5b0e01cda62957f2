#!/usr/bin/env bash
# Shows what Rekindle does, on a real node made for it: containerd, a kubelet
# with a static pod, CRIU. A Redis with a million keys is checkpointed, killed,
# and comes back with its keys; then its pod is taken away, and the next one has
# them. The same is done without Rekindle, and the times are compared.
#   DEMO_DIR        where the node lives meanwhile (/var/tmp/rekindle-demo)
#   REKINDLE_CACHE  what is built for it is kept here (~/.cache/rekindle)
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

export LAB_DIR=${DEMO_DIR:-/var/tmp/rekindle-demo}
keys=1000000
pod=default/redis-rekindle-node
began=$SECONDS
pauses=() waits=() sizes=()

say() { printf '\n==> %s\n' "$*"; }
note() { printf '    %s\n' "$*"; }
seconds() { printf '%d.%02d s' $(($1 / 1000000)) $(($1 / 10000 % 100)); }
ratio() { printf '%d.%dx' $(($2 / $1)) $(($2 * 10 / $1 % 10)); }
die() {
  printf 'demo: %s\n' "$*" >&2
  exit 1
}

finish() {
  local status=$?
  trap - EXIT INT TERM
  if ((status != 0)) && [[ -r $LAB_DIR/log/rekindled.log ]]; then
    printf '\ndemo: it went wrong; what the daemon said last:\n' >&2
    tail -n 15 "$LAB_DIR/log/rekindled.log" >&2
    rekindle explain "$pod" >&2 || true
  fi
  say 'taking the node away'
  test/lab/down.sh || status=1
  exit "$status"
}

# The functions from here to "manifest" run inside the node (see inside).

# ask IP COMMAND prints the first line of Redis' answer.
ask() {
  # shellcheck disable=SC2016 # expanded by the inner shell
  timeout 0.5 bash -c 'exec 3<>"/dev/tcp/$1/6379" && printf "%s\r\n" "$2" >&3 &&
    IFS= read -r -t 0.4 -u 3 line && printf "%s\n" "${line%$'"'\r'"'}"' ask "$1" "$2" 2>/dev/null
}

# address prints that of the one pod there is, as soon as it has one.
address() {
  local file=("$LAB_DIR"/cni/lab/10.*)
  [[ -e ${file[0]} && ${#file[@]} == 1 ]] && printf '%s\n' "${file[0]##*/}"
}

# until_serving KEYS SINCE waits until Redis has so many keys ("any": until it
# answers at all) and prints the microseconds since then.
until_serving() {
  local ip answer deadline=$((SECONDS + 60))
  while ((SECONDS < deadline)); do
    if ip=$(address) && answer=$(ask "$ip" DBSIZE) && [[ $answer == ":$1" || $1 == any ]]; then
      echo $((${EPOCHREALTIME/./} - $2))
      return
    fi
    sleep 0.02
  done
  echo "demo: Redis does not serve $1 keys after 60 s: ${answer:-no answer}" >&2
  return 1
}

# crash KEYS kills Redis as a fault would, and waits until it serves again.
crash() {
  local since=${EPOCHREALTIME/./}
  pkill -KILL -x redis-server
  until_serving "$1" "$since"
}

load() { redis-cli -h "$(address)" --pipe <"$LAB_DIR/keys" >/dev/null; }

# load_since SINCE fills an empty Redis, and prints the microseconds since then
# until it answered, and until it had the keys.
load_since() {
  until_serving any "$1"
  load
  until_serving "$keys" "$1"
}

crash_and_load() {
  local since=${EPOCHREALTIME/./}
  pkill -KILL -x redis-server
  load_since "$since"
}

# longest_wait STOP_FILE is a client that asks all the time, over one
# connection; it prints the microseconds of its longest wait.
longest_wait() {
  local worst=0 since took
  exec 3<>"/dev/tcp/$(address)/6379"
  mkfifo "$1.idle"
  exec 4<>"$1.idle"
  while [[ ! -e $1 ]]; do
    since=${EPOCHREALTIME/./}
    printf 'PING\r\n' >&3
    IFS= read -r -u 3 _
    took=$((${EPOCHREALTIME/./} - since))
    ((took <= worst)) || worst=$took
    IFS= read -r -t 0.002 -u 4 _ || true
  done
  echo "$worst"
}

until_gone() {
  local deadline=$((SECONDS + 60))
  while address >/dev/null || pgrep -x redis-server >/dev/null; do
    ((SECONDS < deadline)) || return 1
    sleep 0.05
  done
}

# inside FUNCTION ARGUMENT... runs one of the above in the node.
inside() {
  in-node bash -c "set -euo pipefail; keys=$keys; $(declare -f ask address until_serving crash load \
    load_since crash_and_load longest_wait until_gone); \"\$@\"" demo "$@"
}

# manifest NAME ANNOTATIONS
manifest() {
  cat <<EOF
apiVersion: v1
kind: Pod
metadata:
  name: $1
  annotations: {$2}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: redis
      image: rekindle.test/redis:lab
      imagePullPolicy: Never
EOF
}

# start puts the pod there, all at once, and prints when that was.
start() {
  cp "$LAB_DIR/pod.yaml" "$LAB_DIR/etc/manifests/.redis.yaml"
  echo "${EPOCHREALTIME/./}"
  mv "$LAB_DIR/etc/manifests/.redis.yaml" "$LAB_DIR/etc/manifests/redis.yaml"
}

stop() {
  rm "$LAB_DIR/etc/manifests/redis.yaml"
  inside until_gone || die 'the pod did not go within 60 s'
}

# restored_from ID: the daemon's own word that it was a restore. It learns of a
# start a moment after Redis serves.
restored_from() {
  local attempt
  for ((attempt = 0; attempt < 50; attempt++)); do
    ! rekindle explain "$pod" -o json |
      jq -e --arg id "$1" '.containers[0].decisions |
        any(.action == "restore" and .outcome == "taken" and .checkpoint == $id)' >/dev/null || return 0
    sleep 0.1
  done
  die "Redis has its keys, but the daemon does not say that they are from checkpoint $1"
}

checkpoint() {
  local stop=$LAB_DIR/run/demo.stop client made
  rm -f "$stop" "$stop.idle"
  inside longest_wait /run/demo.stop >"$LAB_DIR/waited" &
  client=$!
  sleep 0.5
  made=$(rekindle checkpoint "$pod" -o json)
  sleep 0.2
  touch "$stop"
  wait "$client"
  id=$(jq -r '.checkpoints[0].id' <<<"$made")
  pauses+=("$(($(jq '.checkpoints[0].pauseNs' <<<"$made") / 1000000)) ms")
  waits+=("$(($(<"$LAB_DIR/waited") / 1000)) ms")
  sizes+=("$(($(jq '.checkpoints[0].bytes' <<<"$made") / 1048576)) MiB")
  note "$id: ${sizes[-1]}; the pod stood still for ${pauses[-1]}, a client waited ${waits[-1]} at most"
}

trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say 'making a node: containerd, kubelet, CRIU and rekindled (the first time, tools are built)'
test/lab/up.sh node
# shellcheck source=/dev/null
source "$LAB_DIR/env"
awk -v keys=$keys 'BEGIN {
  for (i = 1; i <= keys; i++) printf "SET key:%07d %0100d\r\n", i, i }' >"$LAB_DIR/keys"

say "a Redis pod, annotated rekindle.dev/on: interval, gets $keys keys"
manifest redis '"rekindle.dev/on": "interval", "rekindle.dev/interval": "10m"' >"$LAB_DIR/pod.yaml"
since=$(start)
inside load_since "$since" >/dev/null
note "$(in-node redis-cli -h "$(address)" INFO memory | awk -F: '/^used_memory_human/ { print "it uses", $2 }' | tr -d '\r') of memory, and writes nothing to disk"

say "rekindle checkpoint $pod"
checkpoint
first=$id
in-node redis-cli -h "$(address)" SET written-after-it 1 >/dev/null

say 'kill -9 of the Redis process'
crash=$(inside crash $keys)
restored_from "$first"
note "all $keys keys after $(seconds "$crash"); what was written after the checkpoint is gone, as it should be"

say 'another checkpoint, of the restored Redis; then the pod is taken away'
checkpoint
stop
note 'it is gone: process, sandbox and address'

say 'the pod is put back'
since=$(start)
successor=$(inside until_serving $keys "$since")
restored_from "$id"
note "a new pod with all $keys keys after $(seconds "$successor")"
stop

say 'the same with a pod that has no annotations: it starts empty, and a client loads the keys'
# By another name, because the kubelet makes a changed pod wait for the old one.
manifest redis-plain '' >"$LAB_DIR/pod.yaml"
since=$(start)
inside until_serving any "$since" >/dev/null
{
  read -r crash_empty
  read -r crash_cold
} < <(inside crash_and_load)
note "killed: it answers after $(seconds "$crash_empty"), has the keys after $(seconds "$crash_cold")"
stop
since=$(start)
{
  read -r successor_empty
  read -r successor_cold
} < <(inside load_since "$since")
note "put back: it answers after $(seconds "$successor_empty"), has the keys after $(seconds "$successor_cold")"

row() { printf '  %-30s %10s %10s %7s\n' "$@"; }
say "measured on this machine ($(nproc) processors, $((SECONDS - began)) s in all)"
row '' 'Rekindle' 'without' ''
row 'first checkpoint: pause' "${pauses[0]}" '' ''
row '  longest wait of a client' "${waits[0]}" '' ''
row '  size' "${sizes[0]}" '' ''
row 'second checkpoint: pause' "${pauses[1]}" '' ''
row '  longest wait of a client' "${waits[1]}" '' ''
row '  size' "${sizes[1]}" '' ''
row 'all keys again after a crash' "$(seconds "$crash")" "$(seconds "$crash_cold")" "$(ratio "$crash" "$crash_cold")"
row 'all keys in a new pod' "$(seconds "$successor")" "$(seconds "$successor_cold")" "$(ratio "$successor" "$successor_cold")"
note "Without, Redis answers after $(seconds "$crash_empty") and $(seconds "$successor_empty"), and is empty; then a client loads the keys."
