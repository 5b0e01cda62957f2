#!/usr/bin/env bash
# Breaks things at random, for long: first the store alone, by kills and by power
# cuts, then a whole node.
#   SOAK_SECONDS  how long each of its three parts takes (600)
#   SOAK_SEED     makes the choices of an earlier run again; it is printed
#   LAB_DIR, LAB_PORT, KEEP_LAB  as for test.sh
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

: "${SOAK_SECONDS:=600}" "${SOAK_SEED:=$SRANDOM}" "${LAB_DIR:=/var/tmp/rekindle-lab}"
export SOAK_SECONDS SOAK_SEED LAB_DIR
printf 'SOAK_SEED=%s makes the same choices again\n' "$SOAK_SEED"

go test ./store -run '^(TestCrashSoak|TestPowerLossReplay)$' -count=1 -v -timeout "$((2 * SOAK_SECONDS + 600))s"

finish() { [[ -n ${KEEP_LAB:-} ]] || test/lab/down.sh; }
trap finish EXIT
test/lab/host-packages.sh lab test
test/lab/up.sh cluster
# shellcheck source=/dev/null
source "$LAB_DIR/env"
bats --formatter tap --print-output-on-failure test/soak/soak.bats
