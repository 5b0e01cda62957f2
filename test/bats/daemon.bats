#!/usr/bin/env bats
# The daemon decides; workloads do not depend on it. It may be down, restarted,
# started twice or misconfigured, and containerd may be restarted under it.
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
  kubectl delete pod --ignore-not-found ticking plain doing >/dev/null
  settings_again
}

setup() {
  load lab
  load faults
  toml=$LAB_DIR/etc/rekindle.toml
}

teardown() {
  lab-service pid rekindled >/dev/null || start_daemon
  [[ ! -e $toml.good ]] || {
    mv "$toml.good" "$toml"
    restart_daemon
  }
}

exit_code() { status_of "$1" '' .lastState.terminated.exitCode; }

@test "with the daemon down, pods start, crash and stop as if it had never been there" {
  local name
  gone doing
  lab-service stop rekindled
  counter doing
  opt_in='' counter plain
  for name in doing plain; do
    run ! http "$name" /crash
    wait_for 30 restarted 0 "$name"
    ready "$name"
    [[ $(exit_code "$name") == 3 ]]
    cold "$name" 15
    kubectl exec "$name" -- true
    gone "$name"
  done
}

newest_of() { rekindle list -o json | jq -r --arg pod "$1" '[.checkpoints[] | select(.pod == $pod).id][0] // empty'; }
newer_than() { [[ $(newest_of "$1") > $2 ]]; }

@test "a daemon that was restarted knows the running containers, goes on with their interval, and restores after a crash" {
  local before number
  anew ticking
  counter ticking rekindle.dev/on=interval rekindle.dev/interval=1s
  wait_for 15 newer_than ticking ''
  lab-service kill rekindled
  before=$(newest_of_disk)
  counts_on ticking
  start_daemon
  [[ $(rekindle explain default/ticking -o json | jq -r '.containers[0].managed') == true ]]
  wait_for 15 newer_than ticking "$before"
  number=$(count ticking)
  [[ $(restarts ticking) == 0 ]]
  crash ticking
  has 'restore taken' decisions ticking
  (($(count ticking) >= number - 30))
  wait_for 15 newer_than ticking "$(newest_of ticking)"
  gone ticking
}

newest_of_disk() { find "$LAB_DIR/store/checkpoints/default/pod.ticking/app" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort | tail -n 1; }

@test "a crash while the daemon was down is a cold start, and the checkpoint serves the crash after" {
  local sound
  anew doing
  counter doing
  sound=$(checkpoint doing)
  lab-service stop rekindled
  crash doing
  cold doing 15
  start_daemon
  listed "$sound"
  crash doing
  has "restore taken $sound" decisions doing
}

@test "when containerd is restarted, running pods do not notice, and checkpoints and restores go on" {
  local before number sound
  anew doing
  counter doing
  number=$(count doing)
  before=$(registrations)
  lab-service restart containerd
  wait_for 30 registered_since "$before"
  counts_on doing
  (($(count doing) > number))
  [[ $(restarts doing) == 0 ]]
  number=$(count doing)
  sound=$(checkpoint doing)
  crash doing
  has "restore taken $sound" decisions doing
  (($(count doing) >= number))
}

@test "when containerd is killed and comes back, it is the same" {
  local before sound
  before=$(registrations)
  lab-service kill containerd
  lab-service start containerd
  wait_for 30 registered_since "$before"
  counts_on doing
  sound=$(checkpoint doing)
  crash doing
  has "restore taken $sound" decisions doing
}

@test "a second daemon started by mistake waits and breaks nothing, and takes over when the first ends" {
  local second=$BATS_TEST_TMPDIR/second sound
  in-node bash -c "echo \$\$ >'$second.pid'; exec rekindled --config '$toml'" >"$second.log" 2>&1 3>&- &
  wait_for 10 has 'another rekindled serves this node' cat "$second.log"
  gone doing
  # With two plugins registered every create would fail.
  counter doing
  sound=$(checkpoint doing)
  crash doing
  has "restore taken $sound" decisions doing
  lab-service stop rekindled
  wait_for 10 has 'registered with NRI' cat "$second.log"
  wait_for 10 listed "$sound"
  crash doing
  has "restore taken $sound" decisions doing
  in-node kill "$(<"$second.pid")"
  wait
  start_daemon
  listed "$sound"
}

# refuses TOML... : a daemon with that file does not start.
refuses() {
  printf '%s\n' "$@" >"$BATS_TEST_TMPDIR/bad.toml"
  run ! in-node timeout 10 rekindled --config "$BATS_TEST_TMPDIR/bad.toml"
  ((status != 124))
}

@test "an unknown key keeps the daemon from starting, and is named with its line" {
  refuses '[limits]' 'dump_timeout = "3s"' 'dump_timeuot = "3s"'
  [[ $output == *"3"* && $output == *"dump_timeuot"* ]]
  [[ $output == *"bad.toml"* ]]
}

@test "a bad value keeps the daemon from starting, and is named with its key and line" {
  refuses '[limits]' '' 'max_restores = 0'
  [[ $output == *"bad.toml:3"* && $output == *"limits.max_restores"* ]]
  refuses '[store]' 'min_free = "lots"'
  [[ $output == *"bad.toml:2"* && $output == *"min_free"* ]]
  refuses '[store' 'path = "/x"'
  [[ $output == *"bad.toml:1"* ]]
}

reloads() { grep -c "$1" "$LAB_DIR/log/rekindled.log" || true; }
reloaded_since() { (($(reloads "$2") > $1)); }

@test "after SIGHUP a changed file is in force" {
  local before
  cp "$toml" "$toml.good"
  before=$(reloads 'configuration reloaded')
  printf '[defaults]\nkeep = 1\n' >>"$toml"
  lab-service kill rekindled HUP
  wait_for 10 reloaded_since "$before" 'configuration reloaded'
  anew doing
  counter doing
  [[ $(rekindle explain default/doing -o json | jq -r '.containers[0].settings[] | select(.key == "keep").value') == 1 ]]
}

@test "after SIGHUP a file that is wrong changes nothing, and the log names line and key" {
  local before pid
  cp "$toml" "$toml.good"
  before=$(reloads 'not reloaded')
  pid=$(lab-service pid rekindled)
  printf '[defaults]\nkeep = 1\nfoo = 2\n' >>"$toml"
  lab-service kill rekindled HUP
  wait_for 10 reloaded_since "$before" 'not reloaded'
  tail -n 1 "$LAB_DIR/log/rekindled.log" | grep -F "$(wc -l <"$toml")" | grep -F foo
  [[ $(lab-service pid rekindled) == "$pid" ]]
  anew doing
  counter doing
  [[ $(rekindle explain default/doing -o json | jq -r '.containers[0].settings[] | select(.key == "keep").value') == 3 ]]
}

# check ARGUMENT...: as an admin runs it on the node.
check() { in-node rekindle check --config "$toml" --containerd-config "$LAB_DIR/etc/containerd.toml" "$@"; }

@test "rekindle check finds nothing missing on this node" {
  run -0 check -o json
  [[ $(jq -r '[.checks[] | select(.status == "missing")] | length' <<<"$output") == 0 ]]
}

@test "rekindle check says what is missing and what to do, and what it finds without a daemon" {
  lab-service stop rekindled
  rm "$LAB_DIR/bin/criu"
  run check
  criu_again
  ((status != 0))
  [[ $output == *criu*missing* ]]
  [[ $output == *"install CRIU 4.2 or newer"* ]]
  [[ $output == *daemon* ]]
}
