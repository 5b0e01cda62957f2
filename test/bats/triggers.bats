#!/usr/bin/env bats
# What every trigger has in common when something goes wrong in its dump: the
# container runs on, or ends as it would have, and nothing is left. Four pods, one
# for each trigger that fires while a container goes on; stop.bats has the fifth.
#
# Scripts are for the node to expand, and bats sets status and output.
# shellcheck disable=SC2016,SC2030,SC2031
bats_require_minimum_version 1.5.0

by=(interval ready pressure request)

setup_file() {
  load lab
  load faults
  settings <<TOML
[bounds]
interval_min = "1s"
[limits]
settle = "1s"
pressure = 50
concurrent_dumps = 4
dump_timeout = "12s"
TOML
}

teardown_file() {
  load lab
  load faults
  criu_again
  clean
  settings_again
}

setup() {
  load lab
  load faults
  clean
}

teardown() {
  criu_again
  clean
}

# all_fire starts the four pods, whose triggers fire as soon as they run. That of
# the last is fired by who asks for it.
all_fire() {
  {
    workload by-interval rekindle.dev/on=interval rekindle.dev/interval=1s
    echo ---
    workload by-ready rekindle.dev/on=ready rekindle.dev/ready=port=8080
    echo ---
    # Its memory is above the level from the start.
    more='resources: { limits: { memory: 96Mi } }' workload by-pressure rekindle.dev/on=pressure rekindle.dev/interval=1h -- -ballast 64
    echo ---
    workload by-request
  } | apply
  local trigger
  for trigger in "${by[@]}"; do ready "by-$trigger"; done
  rekindle checkpoint default/by-request >/dev/null 2>&1 3>&- &
}

# every COMMAND... runs a command with each pod's name.
every() {
  local trigger
  for trigger in "${by[@]}"; do "$@" "by-$trigger"; done
}

# last_of POD TEXT waits for what was decided last about its trigger.
last_of() { wait_for 40 last_is "$@"; }
last_is() {
  rekindle explain "default/$1" -o json |
    jq -e --arg t "${1#by-}" --arg text "$2" '.containers[0].triggers[] | select(.trigger == $t).last | "\(.outcome) \(.reason)" | contains($text)'
}

# hanging_dump stands in for CRIU; dumping waits until it is at it with all four.
hanging_dump() {
  criu_is <<'SH'
[[ $doing != dump ]] || sleep 100
exec "$real" "$@"
SH
}
dumping() { wait_for 40 four_dumps; }
four_dumps() { at_least 4 "$(grep '^dump' "$criu_calls" | sort -u | wc -l)"; }

none_made() { [[ -z $(rekindle list -o json | jq -r '.checkpoints[]?.id') ]]; }

@test "whatever the trigger: when the dump fails, the container runs on and the reason is shown" {
  criu_is <<'SH'
[[ $doing != dump ]] || exit 1
exec "$real" "$@"
SH
  all_fire
  local trigger
  for trigger in "${by[@]}"; do
    last_of "by-$trigger" "failed dump: "
    unharmed "by-$trigger" 0
  done
  none_made
}

@test "whatever the trigger: a dump that takes too long is ended, and the container runs on" {
  hanging_dump
  all_fire
  dumping
  local trigger
  for trigger in "${by[@]}"; do
    last_of "by-$trigger" "took too long"
  done
  criu_again
  for trigger in "${by[@]}"; do
    wait_for 30 thawed "by-$trigger"
    counts_on "by-$trigger"
    [[ $(restarts "by-$trigger") == 0 ]]
  done
}

@test "whatever the trigger: when the daemon is killed in the middle, the container runs on" {
  hanging_dump
  all_fire
  dumping
  lab-service kill rekindled
  criu_again
  every wait_for 10 thawed
  every counts_on
  start_daemon
  local trigger
  for trigger in "${by[@]}"; do
    [[ $(restarts "by-$trigger") == 0 ]]
    # It can be checkpointed still.
    rekindle checkpoint "default/by-$trigger" >/dev/null
  done
  wait_for 10 nothing_staged
  wait
}

@test "whatever the trigger: a pod that is force-deleted in the middle ends, and nothing is left" {
  hanging_dump
  all_fire
  dumping
  local trigger pids=()
  for trigger in "${by[@]}"; do pids+=("$(init_pid "by-$trigger")"); done
  kubectl delete pod "${by[@]/#/by-}" --grace-period=0 --force >/dev/null 2>&1
  for pid in "${pids[@]}"; do wait_for 20 ended_in_node "$pid"; done
  wait_for 20 nothing_staged
  none_made
  wait_for 10 no_remains
  wait
}
ended_in_node() { ! in-node kill -0 "$1" 2>/dev/null; }

@test "all triggers at once of one container: its dumps come one after the other, and the stop's is the last" {
  criu_is <<'SH'
[[ $doing == dump ]] || exec "$real" "$@"
echo 'a dump begins' >>"$calls"
sleep 0.5
"$real" "$@"
status=$?
echo 'a dump ends' >>"$calls"
exit $status
SH
  grace=30 more='resources: { limits: { memory: 96Mi } }' counter busy 'rekindle.dev/on=interval, ready, pressure, stop' \
    rekindle.dev/interval=1s rekindle.dev/ready=port=8080 -- -ballast 64
  rekindle checkpoint default/busy >/dev/null 3>&- &
  rekindle checkpoint default/busy >/dev/null
  wait
  wait_for 30 made_by busy interval
  wait_for 30 made_by busy ready
  wait_for 30 made_by busy pressure
  gone busy
  run -0 grep -E 'a dump (begins|ends)' "$criu_calls"
  [[ $(uniq <<<"$output") == "$output" ]]
  [[ $(rekindle list -o json | jq -r '.checkpoints[0].trigger') == stop ]]
}

# made_by POD TRIGGER: was it ever?
made_by() {
  rekindle explain "default/$1" -o json | jq -e --arg t "$2" '.containers[0].triggers[] | select(.trigger == $t).last.outcome == "taken" or
    (select(.trigger == $t).last.reason // "" | test("another trigger|nothing has run|such a checkpoint"))'
}
