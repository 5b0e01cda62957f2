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
  settings <<TOML
[limits]
settle = "1s"
max_restores = 100
TOML
  anew victim
  counter victim -- -ballast 4
}

teardown_file() {
  load ../bats/lab
  load ../bats/faults
  load ../bats/crash
  disarm
  gone victim
  settings_again
}

setup() {
  load ../bats/lab
  load ../bats/faults
  load ../bats/crash
}

# choose WORD... prints one of them.
choose() { printf '%s\n' "${@:RANDOM%$#+1:1}"; }

# managed: the container is one that a daemon knows, which it is not when that
# died while it was created.
managed() { rekindle preflight default/victim >/dev/null 2>&1; }

# round POINT FAULT WHAT
round() {
  local sound newest
  managed || crash victim
  sound=$(checkpoint victim)
  arm "$1 $2"
  case $3 in
    checkpoint) rekindle checkpoint default/victim || true ;;
    remove) rekindle remove "$(rekindle list -o json | jq -r '[.checkpoints[] | select(.pod == "victim").id][-1]')" || true ;;
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
}

serves() { kubectl wait --for=condition=Ready pod/victim --timeout=5s && count victim; }

@test "at random, for as long as SOAK_SECONDS says, nothing is lost and nothing stays" {
  local seed=${SOAK_SEED:-$SRANDOM} until=$((SECONDS + ${SOAK_SECONDS:-60})) points rounds=0
  echo "# SOAK_SEED=$seed makes the same choices again" >&3
  RANDOM=$seed
  mapfile -t points < <(sed -n 's/^\t[A-Za-z]* *= define("\([a-z.-]*\)".*/\1/p' "$BATS_TEST_DIRNAME/../../fail/points.go")
  while ((SECONDS < until)); do
    local point fault what
    point=$(choose "${points[@]}")
    fault=$(choose kill kill eio enospc)
    what=$(choose checkpoint checkpoint crash crash remove)
    rounds=$((rounds + 1))
    echo "round $rounds: $point $fault, $what"
    round "$point" "$fault" "$what"
  done
  echo "# $rounds rounds" >&3
}
