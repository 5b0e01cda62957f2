#!/usr/bin/env bats
# When something fails, "rekindle explain" says why, and "rekindle logs" shows
# what CRIU and runc wrote: of the last operations on a container, whatever has
# become of the container, of its checkpoint and of the daemon since.
bats_require_minimum_version 1.5.0

setup_file() {
  load lab
  load faults
  settings <<TOML
[limits]
logs_kept = 2
TOML
}

teardown_file() {
  load lab
  load faults
  criu_again
  settings_again
  kubectl delete pod --ignore-not-found --wait logged noted >/dev/null
}

setup() {
  load lab
  load faults
}

teardown() { criu_again; }

dumps_fail() { criu_is <<<'[[ $doing != dump ]] || export CRIU_FAULT=3; exec "$real" "$@"'; }
restores_fail() { criu_is <<<'[[ $doing != restore ]] || export CRIU_FAULT=6; exec "$real" "$@"'; }

# heads POD|ID prints operation and outcome of each log that is kept, newest first.
heads() { rekindle logs --list -o json "$1" | jq -r '.logs[] | "\(.action) \(.outcome)"' | paste -sd,; }

@test "the log of a dump that failed is shown, under the reason that explain gives" {
  anew logged
  counter logged
  dumps_fail
  run ! rekindle checkpoint default/logged
  explains logged 'Dump VMA pages failure'
  run -0 rekindle logs default/logged/app
  [[ ${lines[0]} == *" default/logged/app checkpoint failed: "*"Dump VMA pages failure"* ]]
  [[ $output == *"==> runc.log"*"criu failed"*"==> dump.log"*"Error (criu/"*"Dumping FAILED"* ]]
  # Nothing in it moves a terminal's cursor.
  run ! grep -qaP '[\x00-\x08\x0b-\x1f\x7f]' <<<"$output"
}

@test "the log of a restore that failed outlives the container and the daemon, and is found by the checkpoint's id" {
  local sound
  anew logged
  counter logged
  sound=$(checkpoint logged)
  restores_fail
  crash logged
  explains logged "restore failed $sound started cold instead"
  criu_again
  crash logged
  restart_daemon
  run -0 rekindle logs default/logged
  [[ $output == *" restore failed $sound: started cold instead"*"==> restore.log"*"Restoring FAILED"* ]]
  # The checkpoint is in quarantine, with the log of its dump.
  quarantined "$sound"
  run -0 rekindle logs "$sound"
  [[ ${lines[0]} == *" restore failed $sound: "* ]]
  [[ $output == *" checkpoint taken $sound: "*"==> dump.log"*"Dumping finished successfully"* ]]
  # An id may be shortened.
  [[ $(heads "${sound:0:24}") == "restore failed,checkpoint taken" ]]
}

@test "the logs of the last operations are kept, limits.logs_kept of them, and the last that failed" {
  anew noted
  counter noted
  dumps_fail
  run ! rekindle checkpoint default/noted
  criu_again
  checkpoint noted
  [[ $(heads default/noted) == "checkpoint taken,checkpoint failed" ]]
  checkpoint noted
  checkpoint noted
  [[ $(heads default/noted) == "checkpoint taken,checkpoint taken,checkpoint failed" ]]
  gone noted
  [[ $(heads default/noted) == "checkpoint taken,checkpoint taken,checkpoint failed" ]]
}

@test "there are no logs of what was never dumped, and of no other pod" {
  run -3 rekindle logs default/nobody
  [[ $output == *"no logs of default/nobody are kept on this node"* ]]
  run -3 rekindle logs 01ARZ3NDEKTSV4RRFFQ69G5FAV
  run -2 rekindle logs ../marks
}
