#!/usr/bin/env bats
# The interval trigger: it makes checkpoints by itself, of what has changed, one
# at a time of a pod, within what the node may write, and ever more rarely of what
# cannot be dumped. What it leaves out, and when it is due next, can be seen.
#
# Scripts are for the node to expand, and bats sets status and output.
# shellcheck disable=SC2016,SC2030,SC2031
bats_require_minimum_version 1.5.0

setup_file() {
  load lab
  load faults
  settings <<TOML
[bounds]
interval_min = "1s"
[limits]
settle = "1s"
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
}

teardown() {
  criu_again
  clean
}

newest_of() { rekindle list -o json | jq -r --arg pod "$1" '[.checkpoints[] | select(.pod == $pod).id][0] // empty'; }
newer_than() { [[ $(newest_of "$1") > $2 ]]; }

# next_why POD TEXT: is that why the next checkpoint is due when it is?
next_why() { has "$2" bash -c "rekindle explain default/$1 -o json | jq -r '.containers[].nextWhy'"; }

@test "an interval makes checkpoints by itself, and a crash needs no more" {
  local number
  counter timed rekindle.dev/on=interval rekindle.dev/interval=2s
  number=$(http timed /add/1000000)
  explains timed "checkpoint taken"
  wait_for 5 next_why timed "the interval"
  [[ $(rekindle list -o json | jq -r '.checkpoints[0].trigger') == interval ]]
  crash timed
  explains timed "restore taken"
  at_least "$number" "$(count timed)"
}

@test "what has not run since its last checkpoint is not dumped again, until it runs" {
  local kept
  pod sleeper busybox '[sleep, infinity]' rekindle.dev/on=interval rekindle.dev/interval=1s
  wait_for 30 has "checkpoint skipped - nothing has run in the container since" decisions sleeper
  kept=$(newest_of sleeper)
  has "since checkpoint $kept" decisions sleeper
  # A look around is enough: who knows what it has changed.
  kubectl exec sleeper -- true
  wait_for 15 newer_than sleeper "$kept"
  # Without the checkpoint there is reason for one, however quiet it is.
  wait_for 30 quiet sleeper
  kept=$(newest_of sleeper)
  for id in $(rekindle list -o json | jq -r '.checkpoints[].id'); do rekindle remove "$id"; done
  wait_for 15 newer_than sleeper "$kept"
}

# quiet POD: the last decision is that its newest checkpoint is still good.
quiet() { [[ $(decisions "$1" | head -n 1) == "checkpoint skipped "*"$(newest_of "$1")" ]]; }

@test "what works between two checkpoints is dumped each time" {
  local first
  counter timed rekindle.dev/on=interval rekindle.dev/interval=1s
  for _ in 1 2 3; do
    first=$(newest_of timed)
    wait_for 15 newer_than timed "$first"
  done
  run ! has "nothing has run" decisions timed
}

# slow_criu notes the begin and the end of each dump, and takes its time for it.
slow_criu() {
  criu_is <<'SH'
[[ $doing == dump ]] || exec "$real" "$@"
echo 'dump begins' >>"$calls"
sleep 1
"$real" "$@"
status=$?
echo 'dump ends' >>"$calls"
exit $status
SH
}

# dumped TIMES: have so many dumps ended?
dumped() { at_least "$1" "$(grep -c 'dump ends' "$criu_calls")"; }

@test "two containers of a pod are never dumped at the same time, whatever the triggers" {
  local asked=() pid
  apply <<YAML
apiVersion: v1
kind: Pod
metadata: { name: pair, annotations: $(annotated rekindle.dev/on=interval rekindle.dev/interval=1s) }
spec:
  runtimeClassName: rekindle
  terminationGracePeriodSeconds: 1
  containers:
    - { name: one, image: "rekindle.test/workloads:lab", imagePullPolicy: Never, args: [counter] }
    - { name: two, image: "rekindle.test/workloads:lab", imagePullPolicy: Never, args: [counter, -listen, ":8081"] }
YAML
  ready pair
  slow_criu
  for _ in 1 2; do
    rekindle checkpoint default/pair &
    asked+=($!)
  done
  for pid in "${asked[@]}"; do wait "$pid"; done
  wait_for 30 dumped 6
  # Of 2 dumps that the node allows at once, the pod has had one.
  run -0 grep -E 'dump (begins|ends)' "$criu_calls"
  [[ $(uniq <<<"$output") == "$output" ]]
  [[ $(restarts pair one) == 0 && $(restarts pair two) == 0 ]]
  has "request" bash -c "rekindle list -o json | jq -r '.checkpoints[].trigger'"
}

@test "a stop that comes in the middle of an interval's dump has its own checkpoint, after it" {
  local began
  grace=30 counter timed rekindle.dev/on='interval, stop' rekindle.dev/interval=1s
  slow_criu
  wait_for 15 called dump
  began=$SECONDS
  gone timed
  ((SECONDS - began <= 20))
  [[ $(rekindle list -o json | jq -r '[.checkpoints[] | select(.pod == "timed").trigger][0]') == stop ]]
}

# backs_off POD FAILURES SECONDS: it does, after so many failures in a row, and the
# next try is further away than that.
backs_off() {
  rekindle explain "default/$1" -o json | jq -e --arg failures "$2" --argjson least "$3" '.containers[0] |
    (.nextWhy | capture("after (?<n>[0-9]+) failures in a row").n | tonumber) >= ($failures | tonumber) and
    (.next | sub("\\.[0-9]+"; "") | fromdateiso8601) - now > $least'
}

@test "a dump that fails is tried ever more rarely, with the reason, until one is good" {
  local made
  counter timed rekindle.dev/on=interval rekindle.dev/interval=1s
  criu_is <<<'exit 1'
  wait_for 40 backs_off timed 3 4
  next_why timed 'the last: dump'
  next_why timed 'criu swrk failed: exit status 1'
  run -0 rekindle explain default/timed
  [[ $output == *"next checkpoint in "*"backing off after"* ]]
  counts_on timed
  # Another trigger shows that nothing is wrong any more.
  criu_again
  made=$(checkpoint timed)
  wait_for 5 next_why timed "the interval"
  wait_for 10 newer_than timed "$made"
}

@test "when the node has written what it may, the interval is postponed, and a request is not" {
  local made
  settings <<TOML
[bounds]
interval_min = "1s"
[limits]
bandwidth = "64KiB"
TOML
  # Its memory is some hundred times what may be written in a second.
  counter timed rekindle.dev/on=interval rekindle.dev/interval=1s -- -ballast 8
  explains timed "checkpoint taken"
  wait_for 15 has "checkpoint skipped - postponed: the node has written what limits.bandwidth allows" decisions timed
  next_why timed "limits.bandwidth"
  [[ $(rekindle explain default/timed -o json | jq '(.containers[0].next | sub("\\.[0-9]+"; "") | fromdateiso8601) - now > 30') == true ]]
  made=$(newest_of timed)
  [[ $(checkpoint timed) > $made ]]
  has "checkpoint taken" decisions timed
}
