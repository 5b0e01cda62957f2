#!/usr/bin/env bats
# The figures that "make bench" records; README.md says what they are. A figure
# that cannot be taken fails.

bats_require_minimum_version 1.5.0

setup_file() {
  load ../test/bats/lab
  build_test_programs
}

setup() {
  load ../test/bats/lab
  load ../test/bats/faults
  load ../test/bats/visitor
  load measure
  figures=${BENCH_FIGURES:?scripts/bench.sh says where the figures go}
  rounds=${BENCH_ROUNDS:-100}
  clean
  clients
}

teardown() { clean; }

small() { pod "${1:-small}" workloads '[sockets, "http=:8080"]' rekindle.dev/on=request; }

@test "a small server" {
  small
  wakes small 'a small server' "http=$(pod_ip small):8080" 80 "$rounds"
  crowd small 'a small server' "http=$(pod_ip small):8080*200" 5
  pauses small 'a small server' 10
}

@test "200 MiB of heap, and the node's memory" {
  settings <<<$'[sleep]\npage_cache = "drop"'
  pod large workloads '[sockets, "http=:8080", "heap=200"]' rekindle.dev/on=request
  wait_for 60 has 'heap is there' kubectl logs large
  memory large '200 MiB of heap, page cache dropped' 5
  settings_again
  memory large '200 MiB of heap' 5
  wakes large '200 MiB of heap' "http=$(pod_ip large):8080" 190 "$rounds"
  pauses large '200 MiB of heap' 10
}

@test "Redis, empty and with a million keys" {
  pod redis redis '[redis-server, --protected-mode, "no", --save, ""]' rekindle.dev/on=request
  wakes redis 'Redis, empty' "redis=$(pod_ip redis):6379" 80 "$rounds"
  kubectl exec redis -- redis-cli eval \
    "for i = 1, 1000000 do redis.call('set', 'key:' .. i, 'value of key ' .. i) end" 0
  wakes redis 'Redis, a million keys' "redis=$(pod_ip redis):6379" 190 "$rounds"
  pauses redis 'Redis, a million keys' 10
}

@test "what sleeping pods cost: shims and daemon" {
  local name pods=(one two three four five) daemon
  daemon=$(in-node pgrep -x rekindled)
  processor 'the daemon, with no pod asleep' 20 "$daemon"
  for name in "${pods[@]}"; do
    small "$name"
    opt_in='' handler='' workload "stock-$name" -- | apply
  done
  for name in "${pods[@]}"; do ready "stock-$name"; done
  shim_memory 'a pod awake' "$(shims_of "${pods[@]}")" "$(shims_of "${pods[@]/#/stock-}")"
  for name in "${pods[@]}"; do put_to_sleep "$name"; done
  shim_memory 'a pod asleep' "$(shims_of "${pods[@]}")" "$(shims_of "${pods[@]/#/stock-}")"
  processor 'the daemon, with five pods asleep' 20 "$daemon"
  # shellcheck disable=SC2046 # numbers
  processor 'the shim of a pod asleep' 20 $(for name in "${pods[@]}"; do shim_pid "$name"; done)
  # shellcheck disable=SC2046 # numbers
  processor "containerd's own shim" 20 $(for name in "${pods[@]}"; do shim_of "stock-$name"; done)
}
