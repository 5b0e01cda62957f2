#!/usr/bin/env bats
# bats file_tags=alone
# How long a client waits who wakes a pod, and what a pod that sleeps costs its
# node. The figures are printed; bench/README.md says how they are taken.

bats_require_minimum_version 1.5.0

setup_file() {
  load lab
  build_test_programs
}

setup() {
  load lab
  load faults
  load visitor
  load ../../bench/measure
  figures=$BATS_TEST_TMPDIR/figures
  clean
  clients
}

teardown() { clean; }

# fast_enough: every kind of wake that was measured has met its target, at once or
# when it was measured again.
fast_enough() { jq -se 'length > 0 and (group_by(.of) | all(any(.met)))' "$figures" >/dev/null; }

# in_time ...: measures as wakes does, and once more if the target was missed: what
# else the machine does makes a wake slower, never faster. Both are printed.
in_time() {
  wakes "$@"
  fast_enough || wakes "$@"
  fast_enough
}

@test "a client wakes a small server within its target, and 200 at once are all answered" {
  pod small workloads '[sockets, "http=:8080"]' rekindle.dev/on=request
  in_time small 'a small server' "http=$(pod_ip small):8080" 80 30
  crowd small 'a small server' "http=$(pod_ip small):8080*200" 3
}

@test "a client wakes a server with 200 MiB of heap within its target" {
  pod large workloads '[sockets, "http=:8080", "heap=200"]' rekindle.dev/on=request
  wait_for 60 has 'heap is there' kubectl logs large
  in_time large '200 MiB of heap' "http=$(pod_ip large):8080" 190 20
}

@test "a client wakes Redis within its target, empty and with a million keys" {
  pod redis redis '[redis-server, --protected-mode, "no", --save, ""]' rekindle.dev/on=request
  in_time redis 'Redis, empty' "redis=$(pod_ip redis):6379" 80 30
  kubectl exec redis -- redis-cli eval \
    "for i = 1, 1000000 do redis.call('set', 'key:' .. i, 'value of key ' .. i) end" 0
  in_time redis 'Redis, a million keys' "redis=$(pod_ip redis):6379" 190 20
}

# in_memory POD prints which file systems in memory the container has mounted, and
# what is in them.
in_memory() {
  # shellcheck disable=SC2016 # the node expands it
  in-node bash -c 'grep -E "^[^ ]+ [^ ]+ [^ ]+ / .* - tmpfs " "/proc/$1/mountinfo" | cut -d" " -f4- | sed -E "s/ (shared|master):[0-9]+//" | sort
    stat -c "%n %F %a %u:%g" /proc/"$1"/root/{proc/acpi,sys/firmware,dev,dev/pts,dev/shm}
    ls -l "/proc/$1/root/dev" | tr -s " " | cut -d" " -f1,3-6,9-' in_memory "$(init_pid "$1")" |
    sed "s#/proc/[0-9]*/root##"
}

@test "what a pod has mounted in memory is the same after a wake" {
  pod small workloads '[sockets, "http=:8080"]' rekindle.dev/on=request
  local before after
  before=$(in_memory small)
  [[ $before == *' /proc/acpi ro,'*tmpfs* ]]
  put_to_sleep small
  rekindle resume default/small
  after=$(in_memory small)
  diff <(echo "$before") <(echo "$after")
}

@test "a shim costs 4 MiB more than containerd's own at most, also while its pod sleeps" {
  local name asleep awake stock pods=(one two three)
  for name in "${pods[@]}"; do
    pod "$name" workloads '[sockets, "http=:8080"]' rekindle.dev/on=request
    opt_in='' handler='' workload "stock-$name" -- | apply
  done
  for name in "${pods[@]}"; do
    ready "stock-$name"
    put_to_sleep "$name"
    rekindle resume "default/$name"
    put_to_sleep "$name"
  done
  shim_memory 'a pod asleep' "$(shims_of "${pods[@]}")" "$(shims_of "${pods[@]/#/stock-}")"
  jq -se 'all(.more_mib <= 4)' "$figures" >/dev/null
}
