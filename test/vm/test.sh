#!/usr/bin/env bash
# Runs tests on the second kind of node, a virtual machine with systemd, cgroup
# version 2 and AppArmor, which it boots and takes away again:
#   test.sh         all suites that fit there, and those that are only for it
#   test.sh smoke   a few tests, without a control plane; prints TAP
# The settings are those of up.sh, and:
#   SUITES   the bats files to run instead of all of them
#   KEEP_VM  when set, the machine stays up for another run
# shellcheck disable=SC2016 # what is quoted is for the shell in the machine
set -euo pipefail
# shellcheck source=test/vm/settings.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/settings.sh"

steps=()

# timed NAME COMMAND...
timed() {
  local began=$SECONDS status=0
  "${@:2}" || status=$?
  steps+=("$(printf '%-10s %4d s' "$1" $((SECONDS - began)))")
  return "$status"
}

finish() {
  local status=$?
  trap - EXIT INT TERM
  [[ -n ${KEEP_VM:-} ]] || "$vm_source/down.sh" || status=1
  {
    printf 'time, on a machine that is %s:\n' "${accel:-not up}"
    printf '  %s\n' "${steps[@]}"
  } >&2
  exit "$status"
}

# lab COMMAND...: in the tree in the machine, with the lab's settings.
lab() {
  local patience=1
  [[ $accel == kvm ]] || patience=6
  in_vm bash -euc 'cd "$1"; shift; exec env "$@"' lab "$vm_tree" REKINDLE_CACHE="$REKINDLE_CACHE" \
    LAB_DIR="$vm_lab" LAB_NODE=machine LAB_PARTS="$REKINDLE_CACHE/parts" LAB_PATIENCE="$patience" "$@"
}

smoke() {
  timed lab lab LAB_IMAGES='pause-lab.tar workloads-lab.tar' test/lab/up.sh node
  timed tests lab bash -euc 'source "$LAB_DIR/env"
    exec bats --formatter tap --timing --print-output-on-failure test/vm/smoke.bats'
}

# suites: those of test/bats that need no second lab beside theirs, for a machine
# is one node, and those of this folder.
suites() {
  (cd "$repository" && grep -LE '^# bats file_tags=second-lab$' test/bats/*.bats && echo test/vm/cgroup.bats)
}

all() {
  local status=0
  : "${SUITES=$(suites | paste -sd' ') test/vm/power.bats}"
  timed lab lab test/lab/up.sh cluster
  if [[ -n ${SUITES//*power.bats/} || $SUITES == *' '* ]]; then
    timed suites lab LABS=1 KEEP_LAB=1 SUITES="${SUITES//test\/vm\/power.bats/}" scripts/test.sh e2e || status=1
  fi
  if [[ $SUITES == *power.bats* ]]; then
    timed power bats --formatter tap --timing --print-output-on-failure "$vm_source/power.bats" || status=1
  fi
  return "$status"
}

trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
case ${1:-all} in
  smoke | all) ;;
  *) die 'usage: test.sh [smoke]' ;;
esac
timed image "$vm_source/image.sh" >/dev/null
timed parts "$vm_source/parts.sh" >/dev/null
timed boot "$vm_source/up.sh"
accel=$(<"$VM_DIR/accel")
"${1:-all}"
