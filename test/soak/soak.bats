#!/usr/bin/env bats
# A pod is checkpointed, crashes and is restored, while programs are killed and
# disks give up at random points. After each round it runs, neither frozen nor
# traced, its newest good checkpoint is there, and nothing is left lying about.
#
# bats sets status and output.
# shellcheck disable=SC2030,SC2031
bats_require_minimum_version 1.5.0

setup_file() {
  load ../bats/lab
  load ../bats/faults
  load ../bats/crash
  (umask 077 && openssl rand -hex 32 >"$LAB_DIR/soak.key")
  encryption off
  anew victim
  counter victim -- -ballast 4
}

# encryption on|off: restores count as sound at once; nothing here is about loops.
encryption() {
  local section=''
  [[ $1 == off ]] || section=$'[encryption]\n'"key_file = \"$LAB_DIR/soak.key\""
  settings <<TOML
[limits]
settle = "1s"
max_restores = 100
[import]
max_size = "1GiB"
$section
TOML
}

teardown_file() {
  load ../bats/lab
  load ../bats/faults
  load ../bats/crash
  disarm
  gone victim
  settings_again
  rm -f "$LAB_DIR/soak.key"
}

setup() {
  load ../bats/lab
  load ../bats/faults
  load ../bats/crash
}

# choose NAME WORD... sets a variable to one of them. In a subshell the choice would
# not be the seed's.
choose() { printf -v "$1" %s "${@:RANDOM%($# - 1)+2:1}"; }

# managed: the container is one that a daemon knows, which it is not when that
# died while it was created.
managed() { rekindle preflight default/victim >/dev/null 2>&1; }

# by_fault POINT FAULT WHAT COMMAND...: it does what it should, or fails for the fault.
by_fault() {
  local said
  said=$("${@:4}" 2>&1) || [[ $2 == kill || $said == *"failpoint $1"* ]] || {
    printf '%s\n' "$said"
    return 1
  }
}

# round POINT FAULT WHAT
round() {
  local sound newest
  managed || crash victim
  sound=$(checkpoint victim)
  [[ $3 != import ]] || on_node export "$sound" --file "$BATS_TEST_TMPDIR/sound.tar"
  arm "$1 $2"
  case $3 in
    export) by_fault "$@" on_node export "$sound" --file "$BATS_TEST_TMPDIR/archive.tar" ;;
    import) by_fault "$@" on_node import "$BATS_TEST_TMPDIR/sound.tar" --as default/other/app ;;
    checkpoint) by_fault "$@" rekindle checkpoint default/victim ;;
    remove) by_fault "$@" rekindle remove "$(rekindle list -o json | jq -r '[.checkpoints[] | select(.pod == "victim").id][-1]')" ;;
    crash) in-node kill -9 "$(init_pid victim)" ;;
  esac
  sleep "0.$((RANDOM % 10))"
  [[ $3 != crash ]] || sleep "$((RANDOM % 4))"
  disarm
  lab-service pid rekindled >/dev/null || start_daemon
  # As every ten minutes: what the disk did not let it delete goes then.
  rekindle gc >/dev/null
  wait_for 120 serves
  well victim "$(restarts victim)"
  newest=$(rekindle list -o json | jq -r '[.checkpoints[] | select(.pod == "victim").id][0]')
  # One that was put into quarantine for the fault is there all the same.
  [[ ! $newest < $sound ]] || [[ $3 == remove ]] || quarantined "$sound"
  rekindle verify --all
  rm -f "$BATS_TEST_TMPDIR"/*.tar
}

# on_node runs the command line where decrypted checkpoints are, as on any node.
on_node() { in-node "$LAB_DIR/bin/rekindle" "$@"; }

serves() { kubectl wait --for=condition=Ready pod/victim --timeout=5s && count victim; }

@test "at random, for as long as SOAK_SECONDS says, nothing is lost and nothing stays" {
  local seed=${SOAK_SEED:-$SRANDOM} until=$((SECONDS + ${SOAK_SECONDS:-60})) points rounds=0
  echo "# SOAK_SEED=$seed makes the same choices again" >&3
  RANDOM=$seed
  mapfile -t points < <(sed -n 's/^\t[A-Za-z]* *= define("\([a-z.-]*\)".*/\1/p' "$BATS_TEST_DIRNAME/../../fail/points.go")
  while ((SECONDS < until)); do
    local point fault what encrypted
    choose point "${points[@]}"
    choose fault kill kill eio enospc
    choose what checkpoint checkpoint crash crash remove export import
    if ((rounds % 8 == 0)); then
      choose encrypted on off
      encryption "$encrypted"
    fi
    rounds=$((rounds + 1))
    echo "round $rounds: $point $fault, $what"
    round "$point" "$fault" "$what"
  done
  echo "# $rounds rounds" >&3
}
