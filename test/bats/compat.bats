#!/usr/bin/env bats
# The same programs under an older containerd: one shim binary serves both. This
# suite brings up a lab of its own, beside the one that is sourced.
#
# bats file_tags=second-lab
# Scripts are for the node to expand, and bats sets status and output.
# shellcheck disable=SC2016,SC2030,SC2031
bats_require_minimum_version 1.5.0

setup_file() {
  local repository=$BATS_TEST_DIRNAME/../..
  # The programs under test are those of the lab that is up.
  export LAB_BIN=$LAB_DIR/bin
  export LAB_DIR=$LAB_DIR-compat LAB_PORT=$((LAB_PORT + 100)) LAB_CONTAINERD=2.2
  "$repository/test/lab/up.sh" cluster >&2
  # shellcheck source=/dev/null
  source "$LAB_DIR/env"
  load lab
  load faults
  counter app
}

teardown_file() { "$BATS_TEST_DIRNAME/../lab/down.sh" >&2; }

setup() {
  load lab
  load faults
}

@test "this is containerd 2.2, and the daemon is registered with it" {
  has 'v2.2.' in-node containerd --version
  has 'runtime containerd/v2.2.' grep 'Configuring plugin' "$LAB_DIR/log/rekindled.log"
}

@test "containerd 2.2: a running container is checkpointed and goes on" {
  [[ -n $(checkpoint app) ]]
  unharmed app 0
}

@test "containerd 2.2: after a crash the container comes back with its memory" {
  local sound number
  number=$(count app)
  sound=$(checkpoint app)
  crash app
  has "restore taken $sound" decisions app
  (($(count app) >= number))
  [[ $(restarts app) == 1 ]]
}

@test "containerd 2.2: a successor pod comes back with the memory of the one before" {
  local sound number
  number=$(count app)
  sound=$(checkpoint app)
  gone app
  counter app
  has "restore taken $sound" decisions app
  (($(count app) >= number))
}

@test "containerd 2.2: exec, logs and CRI stats of a restored container work" {
  has 'still here' kubectl exec app -- echo 'still here'
  wait_for 10 logged
  [[ $(in-node cat /proc/"$(init_pid app)"/comm) == counter ]]
  wait_for 30 measured
}

# The number goes on in the log of the restored container.
logged() { (($(last app) > 0)); }
measured() {
  (($(in-node ctr -n k8s.io task metrics --format json "$(container_id app)" |
    jq '[.. | objects | (.usage? // .rss?) | select(type == "object" or type == "number")] | length') > 0))
}

@test "containerd 2.2: a restore that fails starts cold in the same create" {
  local sound
  sound=$(checkpoint app)
  criu_is <<<'[[ $doing != restore ]] || export CRIU_FAULT=6; exec "$real" "$@"'
  crash app
  criu_again
  cold app 20
  [[ $(restarts app) == 1 ]]
  has "restore failed $sound" decisions app
  no_remains
}

@test "containerd 2.2: a pod without our annotations is as on the stock handler" {
  opt_in='' counter plain
  has 'still here' kubectl exec plain -- echo 'still here'
  run ! http plain /crash
  wait_for 30 restarted 0 plain
  ready plain
  cold plain 15
  [[ $(status_of plain '' .lastState.terminated.exitCode) == 3 ]]
  gone plain
}
