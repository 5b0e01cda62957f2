#!/usr/bin/env bats
# What an administrator does with checkpoints: verify, pin, collect, look into
# quarantine, rotate keys.
#
# bats sets status and output.
# shellcheck disable=SC2030,SC2031
bats_require_minimum_version 1.5.0

setup_file() {
  load lab
  load faults
  anew kept
  counter kept rekindle.dev/keep=1
}

teardown_file() {
  load lab
  load faults
  gone kept
}

setup() {
  load lab
  load faults
}

@test "a damaged checkpoint is found by rekindle verify, listed in quarantine, and not released before it is whole again" {
  local bad
  bad=$(checkpoint kept)
  run -0 rekindle verify "$bad"
  cp "$(dir_of "$bad")/criu/core-1.img" "$BATS_TEST_TMPDIR/core"
  truncate -s 10 "$(dir_of "$bad")/criu/core-1.img"
  run -1 rekindle verify --all
  [[ $output == *"$bad"*"now in quarantine"* ]]
  run -0 rekindle quarantine
  [[ $output == *"$bad"*"kept"*"criu/core-1.img"* ]]
  run -1 rekindle quarantine release "$bad"
  cat "$BATS_TEST_TMPDIR/core" >"$LAB_DIR/store/quarantine/$bad/criu/core-1.img"
  run -0 rekindle quarantine release "$bad"
  listed "$bad"
  crash kept
  has "restore taken $bad" decisions kept
}

@test "a pinned checkpoint stays when newer ones are made, and until it is unpinned" {
  local pinned
  pinned=$(checkpoint kept)
  rekindle pin "$pinned"
  checkpoint kept
  checkpoint kept
  listed "$pinned"
  run -1 rekindle remove "$pinned"
  run -0 rekindle gc --dry-run
  [[ $output != *"$pinned"* ]]
  rekindle unpin "$pinned"
  rekindle remove "$pinned"
  run ! listed "$pinned"
}

@test "after a rotation old and new checkpoints are restored; when its key is retired a checkpoint is not, and it is told why" {
  local sound key
  sound=$(checkpoint kept)
  key=$(rekindle inspect "$sound" -o json | jq -r .manifest.keyId)
  rekindle key rotate
  crash kept
  has "restore taken $sound" decisions kept
  run -0 rekindle key list
  [[ $output == *"$key"* ]]
  rekindle key retire "$key"
  crash kept
  cold kept 20
  has "no such key" decisions kept
  sound=$(checkpoint kept)
  crash kept
  has "restore taken $sound" decisions kept
}
