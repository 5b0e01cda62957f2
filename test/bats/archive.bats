#!/usr/bin/env bats
# Checkpoints leave the node as archives that other tools read, and come in from
# archives, their own and those that the kubelet's checkpoint API makes.
#
# bats sets status and output.
# shellcheck disable=SC2030,SC2031
bats_require_minimum_version 1.5.0

setup_file() {
  load lab
  load faults
  settings <<<$'[import]\nmax_size = "1GiB"'
}

teardown_file() {
  load lab
  load faults
  settings_again
  clean
}

setup() {
  load lab
  load faults
  load crash
  disarm
  clean
  archive=$BATS_TEST_TMPDIR/checkpoint.tar
}

# goes_on_from ID POD NUMBER makes the pod anew, which is restored from that
# checkpoint and counts on from there.
goes_on_from() {
  counter "$2"
  comes_from "$2" "$1"
  (($(count "$2") >= $3))
}

# import_as POD [OPTION]... prints the id of what was imported.
import_as() {
  local made
  made=$(rekindle import "$archive" --as "default/$1/app" -o json "${@:2}") || return
  jq -er .checkpoint.id <<<"$made"
}

# round_trip OPTION... exports a checkpoint, removes it, takes it in again, and
# starts the pod's successor from it.
round_trip() {
  local id number
  counter traveller
  number=$(count traveller)
  id=$(checkpoint traveller)
  gone traveller
  rekindle export "$id" --file "$archive" "$@"
  [[ $(stat -c %a "$archive") == 600 ]]
  rekindle remove "$id" >/dev/null
  id=$(import_as traveller)
  goes_on_from "$id" traveller "$number"
}

@test "a checkpoint that was exported, removed and imported gives a successor its memory" {
  round_trip
}

@test "so it does compressed, as an OCI image" {
  round_trip --format oci --zstd
}

@test "checkpointctl shows and inspects what is exported" {
  local id
  counter shown
  id=$(checkpoint shown)
  rekindle export "$id" --file "$archive"
  run -0 in-node checkpointctl show "$archive"
  [[ $output == *app* && $output == *rekindle.test/workloads* ]]
  run -0 in-node checkpointctl inspect --all "$archive"
  [[ $output == *counter* && $output == *'Process tree'* ]]
}

@test "an archive that the kubelet's checkpoint API made is imported, and gives a successor its memory" {
  local id number node made
  counter kubelets
  number=$(count kubelets)
  node=$(kubectl get node -o jsonpath='{.items[0].metadata.name}')
  made=$(kubectl create --raw "/api/v1/nodes/$node/proxy/checkpoint/default/kubelets/app" -f /dev/null | jq -er '.items[0]')
  in-node cat "$made" >"$archive"
  in-node rm "$made"
  gone kubelets
  id=$(import_as kubelets --image rekindle.test/workloads:lab)
  goes_on_from "$id" kubelets "$number"
}

@test "what is being exported is not removed" {
  local id
  counter held
  id=$(checkpoint held)
  mkfifo "$archive.pipe"
  rekindle export "$id" >"$archive.pipe" &
  exec 4<"$archive.pipe"
  head -c 1 <&4 >/dev/null
  run ! rekindle remove "$id"
  [[ $output == *'in use'* ]]
  cat <&4 >/dev/null
  wait $!
  exec 4<&-
  wait_for 10 rekindle remove "$id"
}

@test "without import.max_size nothing is imported, and a hostile archive leaves nothing behind" {
  local id
  counter refused
  id=$(checkpoint refused)
  rekindle export "$id" --file "$archive"
  ln -s /etc/passwd "$BATS_TEST_TMPDIR/container.log"
  tar -C "$BATS_TEST_TMPDIR" -rf "$archive" container.log
  run ! import_as refused
  [[ $output == *'not a plain file'* ]]
  wait_for 10 nothing_staged
  settings </dev/null
  run ! import_as refused
  [[ $output == *import.max_size* ]]
  settings <<<$'[import]\nmax_size = "1GiB"'
}

@test "whoever dies and whatever fails in an export or import: nothing is left lying about, and the checkpoint is still there" {
  local id point fault do_it
  counter traveller
  id=$(checkpoint traveller)
  rekindle export "$id" --file "$archive"
  for point in export.held import.begin import.unpacked; do
    do_it=(rekindle import "$archive" --as default/traveller/app)
    [[ $point == import.* ]] || do_it=(rekindle export "$id" --file "$BATS_TEST_TMPDIR/other.tar")
    for fault in eio enospc kill; do
      arm "$point $fault"
      run "${do_it[@]}"
      ((status != 0))
      disarm
      if [[ $fault == kill ]]; then
        wait_for 10 died rekindled
        start_daemon
      fi
      well traveller 0
      [[ $(rekindle list -o json | jq -r .checkpoints[].id) == "$id" ]]
    done
    # The command dies while the daemon waits for it.
    stop_at "$point" "${do_it[@]}"
    kill -KILL "$stopped_job"
    go_on
    well traveller 0
    listed "$id"
    # What was handed over by then may have been taken in.
    rekindle list -o json | jq -r .checkpoints[].id | grep -vxF "$id" | xargs -r -n 1 rekindle remove
  done
  import_as traveller
}
