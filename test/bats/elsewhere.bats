#!/usr/bin/env bats
# What has been seen to go wrong with sleeping pods elsewhere, and where it is shown
# that it does not here:
#
#   open connections die when a pod falls asleep
#       sockets.bats: servers of every kind are put to sleep twenty times
#       slumber.bats: ... one with 200 open connections ...
#   the connection that woke a pod is cut some seconds later
#       here: who wakes a pod is served for as long as he stays
#       sockets.bats: traffic by way of the node wakes a pod and is relayed to it
#   a client that waits for the server to speak first wakes nobody
#       sockets.bats: servers of every kind (greeter), traffic by way of the node
#   a server that listens on the pod's address alone cannot be woken
#       sockets.bats: servers of every kind (podonly)
#   exit codes are masked
#       suspend.bats: exit codes are true, of a container that slept and of one that sleeps
#   one that was put to sleep while containerd was down cannot be stopped afterwards
#       sleepfaults.bats: put to sleep while containerd is down, and woken after its return
#       suspend.bats: daemon and containerd restarted as it sleeps
#   when the shim dies, the state is lost and the snapshot stays
#       here: the shim killed as it sleeps
#       suspend.bats: the shim killed as it sleeps
#   an image is missing: a silent cold start
#       suspend.bats: an image cut off, or missing, as it sleeps
#   pages are cut off: CRIU loops for ever, and fills the disk with its log
#       suspend.bats: an image cut off, or missing, as it sleeps
#       here: a CRIU that never ends, and writes without end, is ended

bats_require_minimum_version 1.5.0

setup_file() {
  load lab
  build_test_programs
}

setup() {
  load lab
  load asleep
  load faults
  load visitor
  clean
}

teardown() {
  criu_again
  clean
}

# no_snapshot ID...: is a snapshot of one of these containers left?
no_snapshot() {
  local left
  left=$(in-node ctr -n k8s.io snapshots ls | awk '{ print $1 }' | grep -xF "$(printf '%s\n' "$@")") || return 0
  printf 'left: %s\n' "$left"
  return 1
}

server() { pod "$1" workloads '[sockets, "line=:9000"]' rekindle.dev/on=request; }

@test "who wakes a pod is served for as long as he stays" {
  clients
  server stays
  rekindle suspend default/stays
  # shellcheck disable=SC2016 # the inner shell expands it
  in-node nsenter --net="/proc/$(sandbox_pid clients)/ns/net" -- bash -c '
    exec 3<>"/dev/tcp/$1/9000"
    for ((i = 0; i < 40; i++)); do
      echo "line $i" >&3 && read -r -t 20 -u 3 line && [[ $line == *"line $i" ]] || exit
      sleep 0.2
    done' talking "$(pod_ip stays)"
  run ! asleep stays
  [ "$(nap stays times)" = 1 ]
}

@test "the shim killed as it sleeps: the pod comes back, and nothing of the old container is left" {
  server orphan
  local id old
  rekindle suspend default/orphan
  id=$(nap orphan checkpoint)
  old=$(container_id orphan)
  in-node kill -9 "$(shim_pid orphan)"
  wait_for 60 restarted 0 orphan
  comes_from orphan "$id"
  ready orphan
  # The kubelet keeps the container that ended last, for its log.
  run ! no_snapshot "$old"
  crash orphan
  wait_for 60 no_snapshot "$old"
  no_remains
}

@test "a CRIU that never ends, and writes without end, is ended, and the pod starts anew" {
  server loops
  rekindle suspend default/loops
  criu_is <<'SH'
if [[ $doing == restore ]]; then
  while :; do printf '%s\n' "a line that says nothing, as CRIU writes them when its pages are cut off"; done >>"$(tr '\0' '\n' </proc/$PPID/cmdline | grep -A 1 -x -e --work-path | tail -n 1)/restore.log"
fi
exec "$real" "$@"
SH
  run ! timeout 60 rekindle resume default/loops
  criu_again
  wait_for 60 restarted 0 loops
  [ "$(ended loops)" = "137 Error" ]
  ready loops
  no_remains
  # What is kept of a log is bounded, too.
  less_than $((64 << 20)) "$(du -sb "$LAB_DIR/store/logs" | cut -f 1)"
}
