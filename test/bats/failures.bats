#!/usr/bin/env bats
# What a failed dump or restore leaves behind: nothing. A dump that fails, hangs
# or loses one of its programs leaves the workload running; a restore that fails
# or hangs ends in a cold start, in the same create.
#
# Scripts are for the node to expand, and bats sets status and output.
# shellcheck disable=SC2016,SC2030,SC2031
bats_require_minimum_version 1.5.0

setup_file() {
  load lab
  load faults
  settings <<TOML
[limits]
dump_timeout = "3s"
restore_timeout = "3s"
TOML
  anew worker
  counter worker -- -ballast 192
}

teardown_file() {
  load lab
  load faults
  criu_again
  settings_again
  kubectl delete pod --ignore-not-found --wait worker files >/dev/null
}

setup() {
  load lab
  load faults
}

teardown() {
  criu_again
  lab-service pid rekindled >/dev/null || start_daemon
}

# dump_fails WHY: a checkpoint of the worker is refused with that reason, and
# the worker has not noticed.
dump_fails() {
  local before
  before=$(restarts worker)
  run rekindle checkpoint default/worker
  ((status != 0))
  [[ $output == *"$1"* ]]
  unharmed worker "$before"
  [[ $(decisions worker | head -n 1) == "checkpoint failed - "*"$1"* ]]
}

@test "when CRIU ends with an error at once, the workload runs on and the reason is shown" {
  criu_is <<<'exit 1'
  dump_fails 'criu swrk failed: exit status 1'
}

@test "when CRIU answers with garbage, the workload runs on and the reason is shown" {
  criu_is <<<'head -c 100000 /dev/urandom >&"$2"; exit 0'
  dump_fails 'CRIU version check failed'
}

@test "when CRIU is missing, the workload runs on and the reason says what to install" {
  rm "$LAB_DIR/bin/criu"
  dump_fails 'install CRIU 4.2 or newer'
}

@test "when CRIU fails before it has dumped anything, the workload runs on" {
  criu_is <<<'[[ $doing != dump ]] || export CRIU_FAULT=1; exec "$real" "$@"'
  dump_fails 'dump container'
  called dump
}

@test "when CRIU fails while it writes the memory, the workload runs on and CRIU's own error is shown" {
  criu_is <<<'[[ $doing != dump ]] || export CRIU_FAULT=3; exec "$real" "$@"'
  dump_fails 'Dump VMA pages failure'
}

@test "when CRIU cannot talk to the code it put into the workload, the workload runs on" {
  criu_is <<<'[[ $doing != dump ]] || export CRIU_FAULT=5; exec "$real" "$@"'
  dump_fails 'Unable to connect a transport socket'
}

@test "when CRIU says that all is well and has written nothing, there is no checkpoint" {
  local before
  before=$(rekindle list -o json | jq '.checkpoints | length')
  # Its answer is a CriuResp with type DUMP and success.
  criu_is <<'SH'
[[ $doing == dump ]] || exec "$real" "$@"
head -c 1 <&"$2" >/dev/null
printf '\x08\x01\x10\x01' >&"$2"
SH
  dump_fails 'the dump is not complete'
  called dump
  [[ $(rekindle list -o json | jq '.checkpoints | length') == "$before" ]]
}

@test "when CRIU is killed in the middle of a dump, the workload runs on" {
  in_the_middle_of_a_dump <<<'kill -KILL $criu'
  dump_fails 'dump container'
  wait_for 5 reached_the_middle
}

@test "a dump that hangs is ended by limits.dump_timeout, and the workload runs on" {
  in_the_middle_of_a_dump <<<'kill -STOP $criu'
  local began=$SECONDS
  dump_fails 'took too long'
  ((SECONDS - began <= 10))
  wait_for 5 reached_the_middle
  no_remains
}

@test "an open connection survives a dump that was killed" {
  # Commands on standard input of a shell in the node that holds the connection.
  coproc peer { in-node bash -c "exec 3<>/dev/tcp/$(pod_ip worker)/8080; while read -r _; do
    printf 'GET / HTTP/1.1\r\nHost: x\r\n\r\n' >&3; read -r -t 5 answer <&3 && echo \"\$answer\"
    while read -r -t 5 line <&3 && [[ \$line != \$'\r' ]]; do :; done; read -r -t 5 line <&3; done"; }
  local answer
  echo ask >&"${peer[1]}"
  read -r -t 10 answer <&"${peer[0]}"
  [[ $answer == *"200 OK"* ]]
  in_the_middle_of_a_dump <<<'kill -KILL $criu'
  dump_fails 'dump container'
  echo ask >&"${peer[1]}"
  read -r -t 10 answer <&"${peer[0]}"
  [[ $answer == *"200 OK"* ]]
  eval "exec ${peer[1]}>&-"
  # shellcheck disable=SC2154 # coproc sets it
  wait "$peer_PID"
}

@test "when the store must keep more space free than there is, the dump is refused before the freeze" {
  store_more='min_free = "1000TiB"' settings <<<''
  criu_is <<<'exec "$real" "$@"'
  run rekindle checkpoint default/worker
  ((status != 0))
  [[ $output == *"must stay free"*"min_free"* ]]
  run ! called dump
  unharmed worker 0
  settings <<TOML
[limits]
dump_timeout = "3s"
restore_timeout = "3s"
TOML
}

@test "when the daemon is killed in the middle of a dump, the workload runs on and the next daemon cleans up" {
  local sound
  sound=$(checkpoint worker)
  in_the_middle_of_a_dump <<<'lab-service kill rekindled; kill -STOP $criu'
  run rekindle checkpoint default/worker
  ((status != 0))
  wait_for 5 reached_the_middle
  wait_for 10 thawed worker
  counts_on worker
  start_daemon
  unharmed worker 0
  listed "$sound"
  criu_again
  [[ -n $(checkpoint worker) ]]
  no_remains
}

@test "when the shim is killed in the middle of a dump, the kubelet starts the pod again and nothing stays frozen" {
  local sound before number old
  before=$(restarts worker)
  old=$(container_id worker)
  number=$(count worker)
  sound=$(checkpoint worker)
  shim_pid worker >"$LAB_DIR/shim"
  in_the_middle_of_a_dump <<<'kill -KILL $(<"$lab/shim")'
  run rekindle checkpoint default/worker
  ((status != 0))
  wait_for 5 reached_the_middle
  criu_again
  wait_for 60 restarted "$before" worker
  ready worker
  [[ $(container_id worker) != "$old" ]]
  wait_for 10 thawed worker
  counts_on worker
  listed "$sound"
  wait_for 10 no_remains
  wait_for 5 nothing_staged
  # Its last good checkpoint is what it came back from.
  (($(count worker) >= number))
}

# A pod whose rootfs and /dev/shm differ from what its checkpoint $sound holds.
files_pod() {
  anew files
  program=files workload files | apply
  ready files
  kubectl exec files -- sh -c 'touch /only-in-checkpoint /dev/shm/only-in-checkpoint'
  sound=$(checkpoint files)
  kubectl exec files -- sh -c 'rm /dev/shm/only-in-checkpoint; echo kept >/dev/shm/since'
  born=$(http files / | jq -r '.files["/data/made/created"].text')
}

# clean_cold_start: the files pod began anew, once, with nothing of a checkpoint.
clean_cold_start() {
  [[ $(restarts files) == 1 ]]
  [[ $(http files / | jq -r '.files["/data/made/created"].text') != "$born" ]]
  [[ $(http files / | jq -r '.files["/data/changed"].text') == *started* ]]
  run -0 kubectl exec files -- sh -c 'ls / /dev/shm; cat /dev/shm/since'
  [[ $output != *only-in-checkpoint* ]]
  [[ $output == *kept* ]]
  [[ $(http files / | jq .counter) -lt 300 ]]
  no_remains
}

# half_way_through_a_restore COMMAND runs a command for CRIU, within the node,
# when the first process is there and the others are not; CRIU waits for it.
# $PPID is CRIU's pid.
half_way_through_a_restore() {
  cat >"$LAB_DIR/half-way.sh" <<SH
#!/bin/bash
[[ \$CRTOOLS_SCRIPT_ACTION == setup-namespaces ]] || exit 0
echo "reached the middle" >>"$criu_calls"
$1
SH
  chmod 755 "$LAB_DIR/half-way.sh"
  echo "action-script $LAB_DIR/half-way.sh" >"$LAB_DIR/half-way.conf"
  criu_is <<'SH'
[[ $doing != restore ]] || export CRIU_CONFIG_FILE=$lab/half-way.conf
exec "$real" "$@"
SH
}

@test "when CRIU is killed in the middle of a restore, the container starts cold in the same create, with nothing of the checkpoint in it" {
  files_pod
  half_way_through_a_restore 'kill -KILL $PPID'
  crash files
  reached_the_middle
  clean_cold_start
  has "restore failed $sound started cold instead" decisions files
  quarantined "$sound"
  run ! listed "$sound"
}

@test "when CRIU fails after the processes are there already, none of them is left and the container starts cold" {
  files_pod
  criu_is <<<'[[ $doing != restore ]] || export CRIU_FAULT=6; exec "$real" "$@"'
  crash files
  clean_cold_start
  has "$sound started cold instead" decisions files
  quarantined "$sound"
}

@test "a restore that hangs is ended by limits.restore_timeout, and the container starts cold" {
  files_pod
  half_way_through_a_restore 'kill -STOP $PPID'
  crash files
  reached_the_middle
  clean_cold_start
  has "took too long" decisions files
  quarantined "$sound"
}

@test "when CRIU is missing at a restore, the checkpoint is not to blame and serves the next one" {
  local number
  anew worker
  counter worker
  number=$(count worker)
  sound=$(checkpoint worker)
  rm "$LAB_DIR/bin/criu"
  crash worker
  cold worker 20
  has "$sound started cold instead" decisions worker
  has 'install CRIU' decisions worker
  listed "$sound"
  criu_again
  crash worker
  has "restore taken $sound" decisions worker
  (($(count worker) >= number))
}
