#!/usr/bin/env bats
# bats file_tags=alone
# How long a client waits who wakes a pod. The figures are printed.

bats_require_minimum_version 1.5.0

setup_file() {
  load visitor
  build_visitor
}

setup() {
  load lab
  load faults
  load visitor
  clean
  clients
}

teardown() { clean; }

rounds=20
# slowest is what no machine that the suites run on should take, in milliseconds,
# at the median.
slowest=3000

# wakes POD WHAT TARGET GOAL puts a pod to sleep, over and over, and lets one
# client from another pod ask each time. Printed is how long that one waited, from
# before it connected to its answer, and for comparison how long CRIU by itself
# took, by its own log. The goal is GOAL milliseconds at the median or, on a slower
# machine, 25 more than 1.2 times what CRIU takes.
wakes() {
  visit "$1" clients $((rounds + 1)) "$3"
  visited "$1" $((rounds + 1))
  sed -nE 's/^\(([0-9.]+)\).*/\1/p' "$BATS_TEST_TMPDIR/$1.criu" | jq -s 'map(. * 1000)' >"$BATS_TEST_TMPDIR/criu"
  # The first round warms up.
  jq -r --slurpfile criu "$BATS_TEST_TMPDIR/criu" --arg what "$2" --argjson goal "$4" '
    def at(q): sort | .[((length - 1) * q) | round];
    .first[1:] as $f | ($criu[0] | at(0.5)) as $c | ([$goal, 1.2 * $c + 25] | max) as $most |
    "\($what): \($f | length) wakes, median \($f | at(0.5) | round) ms, p99 \($f | at(0.99) | round) ms; CRIU by itself \($c | round) ms; "
      + "the goal, \($most | round) ms, is \(if ($f | at(0.5)) <= $most then "" else "not " end)met"
  ' "$BATS_TEST_TMPDIR/$1.visit" >&3
  jq -e --argjson slowest $slowest '.first[1:] | sort | .[length / 2 | floor] < $slowest' "$BATS_TEST_TMPDIR/$1.visit" >/dev/null
}

@test "a client wakes a small server" {
  pod small workloads '[sockets, "http=:8080"]' rekindle.dev/on=request
  wakes small 'a small server' "http=$(pod_ip small):8080" 80
}

@test "a client wakes a server with 200 MiB of heap" {
  pod large workloads '[sockets, "http=:8080", "heap=200"]' rekindle.dev/on=request
  wait_for 60 has 'heap is there' kubectl logs large
  wakes large '200 MiB of heap' "http=$(pod_ip large):8080" 190
}

@test "a client wakes Redis, empty and with a million keys" {
  pod redis redis '[redis-server, --protected-mode, "no", --save, ""]' rekindle.dev/on=request
  wakes redis 'Redis, empty' "redis=$(pod_ip redis):6379" 80
  kubectl exec redis -- redis-cli eval \
    "for i = 1, 1000000 do redis.call('set', 'key:' .. i, 'value of key ' .. i) end" 0
  wakes redis 'Redis, a million keys' "redis=$(pod_ip redis):6379" 190
}
