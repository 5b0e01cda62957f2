#!/usr/bin/env bash
# Takes the figures of bench/ on a lab of its own, prints them as a table, and
# records them below bench/results.
#   BENCH_ROUNDS  how often each pod is woken (100)
#   BENCH_RESULT  the file to write instead
#   LAB_DIR, LAB_PORT, KEEP_LAB  as for test.sh
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

: "${LAB_DIR:=/var/tmp/rekindle-lab}"
: "${BENCH_RESULT:=bench/results/$(date -u +%Y-%m-%d).json}"
work=$(mktemp -d)
export LAB_DIR BENCH_FIGURES=$work/figures

finish() {
  rm -rf "$work"
  [[ -n ${KEEP_LAB:-} ]] || test/lab/down.sh
}
trap finish EXIT

# machine prints what the figures depend on, and nothing by which the machine
# could be told.
machine() {
  local groups=1
  [[ ! -e /sys/fs/cgroup/cgroup.controllers ]] || groups=2
  jq -n --arg date "$(date -u +%Y-%m-%d)" --argjson processors "$(nproc)" \
    --arg model "$(awk -F': ' '/^model name/ { print $2; exit }' /proc/cpuinfo)" \
    --argjson memory "$(awk '$1 == "MemTotal:" { print int($2 / 1024) }' /proc/meminfo)" \
    --arg kernel "$(uname -r | grep -oE '^[0-9]+\.[0-9]+\.[0-9]+')" --argjson groups "$groups" --argjson load "$(cut -d' ' -f1 /proc/loadavg)" \
    --arg criu "$(in-node criu --version | awk '$1 == "Version:" { print $2 }')" \
    --arg runc "$(in-node runc --version | awk '$1 == "runc" { print $3 }')" \
    --arg containerd "$(in-node containerd --version | awk '{ print $3 }')" \
    --arg commit "$(git rev-parse --short HEAD 2>/dev/null || echo unknown)" \
    '{ date: $date, commit: $commit, processors: $processors, processor: $model, memory_mib: $memory, kernel: $kernel,
       cgroups: $groups, load: $load, criu: $criu, runc: $runc, containerd: $containerd }'
}

test/lab/host-packages.sh lab test
test/lab/up.sh cluster
# shellcheck source=/dev/null
source "$LAB_DIR/env"
machine >"$work/machine"
bats --formatter tap --timing --print-output-on-failure bench/bench.bats
jq -n --slurpfile machine "$work/machine" --slurpfile figures "$BENCH_FIGURES" \
  '{ version: 1, machine: $machine[0], figures: $figures }' >"$work/result"
mkdir -p "$(dirname -- "$BENCH_RESULT")"
mv "$work/result" "$BENCH_RESULT"
bench/table.sh "$BENCH_RESULT"
printf '\nrecorded in %s\n' "$BENCH_RESULT"
