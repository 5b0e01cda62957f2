#!/usr/bin/env bats
# The crash matrix, on the real node: a program is killed, or a disk gives up, at
# a point in the middle of a dump, a commit, a removal or a restore. Afterwards
# the workload runs, the newest good checkpoint is there and restores, and nothing
# is left lying about. (The store's own part of it, each point with each fault, is
# in store/crash_test.go; "make soak" goes on at random for as long as one likes.)
#
# Scripts are for the node to expand, and bats sets status and output.
# shellcheck disable=SC2016,SC2030,SC2031
bats_require_minimum_version 1.5.0

setup_file() {
  load lab
  load faults
  load crash
  # Restores count as sound at once: these tests are not about loops.
  settings <<TOML
[limits]
settle = "1s"
max_restores = 100
TOML
  anew victim
  counter victim -- -ballast 96
}

teardown_file() {
  load lab
  load faults
  load crash
  disarm
  criu_again
  gone victim
  settings_again
}

setup() {
  load lab
  load faults
  load crash
  disarm
  born=$(restarts victim)
  sound=$(checkpoint victim)
}

teardown() {
  disarm
  criu_again
  lab-service pid rekindled >/dev/null || start_daemon
}

@test "the daemon is killed at any step from the dump to the durable checkpoint: the workload has not noticed" {
  for point in dump.frozen checkpoint.dumped commit.place commit.sync-parents; do
    if [[ $point == dump.* ]]; then
      stop_at "$point" rekindle checkpoint default/victim
      lab-service kill rekindled
      go_on
    else
      arm "$point kill"
      run rekindle checkpoint default/victim
      ((status != 0))
    fi
    wait_for 10 died rekindled
    disarm
    start_daemon
    well victim "$born"
    listed "$sound"
  done
  restores victim
}

@test "the disk gives up, or is full, at any step from the dump to the durable checkpoint: the workload has not noticed" {
  local before
  before=$(rekindle list -o json | jq '.checkpoints | length')
  for fault in eio enospc; do
    for point in begin dump.frozen dump.captured checkpoint.dumped commit.scan commit.sync-files commit.write-manifest commit.place commit.sync-parents; do
      arm "$point $fault"
      run rekindle checkpoint default/victim
      ((status != 0))
      [[ $output == *"failpoint $point"* ]]
    done
  done
  disarm
  well victim "$born"
  [[ $(rekindle list -o json | jq '.checkpoints | length') == "$before" ]]
  restores victim
}

@test "the shim is killed while the container is frozen: nothing stays frozen, and the pod comes back from its checkpoint" {
  arm 'dump.captured kill'
  run rekindle checkpoint default/victim
  ((status != 0))
  disarm
  wait_for 60 restarted "$born" victim
  ready victim
  has "restore taken $sound" decisions victim
  well victim "$(restarts victim)"
}

@test "daemon and shim are killed while the container is frozen: nothing stays frozen" {
  stop_at dump.frozen rekindle checkpoint default/victim
  lab-service kill rekindled
  in-node kill -KILL "$(stopped_pid)"
  disarm
  start_daemon
  wait_for 60 restarted "$born" victim
  ready victim
  well victim "$(restarts victim)"
  listed "$sound"
  restores victim
}

@test "runc is killed in the middle of a dump: the workload has not noticed" {
  in_the_middle_of_a_dump <<<'kill -KILL $(ps -o ppid= -p $criu)'
  run rekindle checkpoint default/victim
  ((status != 0))
  criu_again
  well victim "$born"
  listed "$sound"
}

@test "the daemon is killed while it gives a checkpoint to a new container: it starts, and the checkpoint serves the next one" {
  for point in ticket.claimed ticket.written; do
    born=$(restarts victim)
    arm "$point kill"
    in-node kill -9 "$(init_pid victim)"
    wait_for 60 restarted "$born" victim
    ready victim
    disarm
    start_daemon
    well victim "$(restarts victim)"
    listed "$sound"
    restores victim
  done
}

@test "the shim is killed at any step of a restore: the pod comes back, and its checkpoint is still there" {
  for point in restore.begin restore.files restore.create restore.created; do
    born=$(restarts victim)
    arm "$point kill"
    in-node kill -9 "$(init_pid victim)"
    wait_for 30 died_at "$point"
    disarm
    wait_for 90 restarted "$born" victim
    ready victim
    well victim "$(restarts victim)"
    listed "$sound"
  done
  restores victim
}

@test "the executor is killed, or the disk gives up, in the middle of a restore: the container starts cold in the same create" {
  local faults=('executor.restore kill' 'executor.verified kill') point fault
  for point in restore.begin restore.files restore.create executor.restore executor.verified; do
    faults+=("$point eio" "$point enospc")
  done
  for fault in "${faults[@]}"; do
    sound=$(checkpoint victim)
    born=$(restarts victim)
    arm "$fault"
    in-node kill -9 "$(init_pid victim)"
    wait_for 60 restarted "$born" victim
    disarm
    ready victim
    [[ $(restarts victim) == "$((born + 1))" ]]
    cold victim 30
    has "$sound started cold instead" decisions victim
    well victim "$((born + 1))"
  done
}

@test "the executor is killed before it lets the processes run: the kubelet tries again" {
  arm 'executor.start kill'
  in-node kill -9 "$(init_pid victim)"
  wait_for 60 decided 'restore taken'
  disarm
  wait_for 90 restarted "$born" victim
  ready victim
  well victim "$(restarts victim)"
  listed "$sound"
}

@test "the daemon is killed while it removes a checkpoint, or puts one into quarantine: no other is touched" {
  local other
  for point in remove.move remove.sync; do
    other=$(checkpoint victim)
    arm "$point kill"
    run rekindle remove "$other"
    ((status != 0))
    disarm
    start_daemon
    listed "$sound"
    run -0 rekindle verify "$sound"
    well victim "$born"
  done
  for point in quarantine.move quarantine.reason; do
    other=$(checkpoint victim)
    truncate -s 1 "$(dir_of "$other")/criu/pages-1.img"
    arm "$point kill"
    run rekindle verify "$other"
    ((status != 0))
    disarm
    start_daemon
    listed "$sound"
    run rekindle verify "$other" # unless it is gone already
    run ! listed "$other"
    quarantined "$other"
    well victim "$born"
  done
}
