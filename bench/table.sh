#!/usr/bin/env bash
# Prints a recorded result as a table: table.sh FILE
set -euo pipefail

jq -r '
  def row(f): .figures[] | f | @tsv;
  def only(kind): select(.figure == kind);
  (.machine | "\(.date), \(.commit): \(.processors) x \(.processor), \(.memory_mib) MiB, kernel \(.kernel), cgroup v\(.cgroups), load \(.load), CRIU \(.criu), runc \(.runc), containerd \(.containerd)"),
  "",
  "first byte to first answer, ms\tmedian\tp99\tcriu alone\ttarget\tmet",
  row(only("wake") | [.of, .median_ms, .p99_ms, .bare_criu_median_ms, .target_ms, .met]),
  "",
  "many at once, ms\tclients\tfirst\tlast\tanswered\tfailed",
  row(only("crowd") | [.of, .clients, .first_median_ms, .last_median_ms, .answered, .failed]),
  "",
  "available memory of the node, MiB\tbefore\tasleep\tafter\tgiven back\timages cached",
  row(only("memory") | [.of, .available_before_mib, .available_asleep_mib, .available_after_mib, .given_back_mib, .images_cached_mib]),
  "",
  "memory of a shim, MiB\tours\tstock\tmore",
  row(only("shim memory") | [.of, .ours_mib, .stock_mib, .more_mib]),
  "",
  "processor time, us each second\teach",
  row(only("processor") | [.of, .each_us_per_s]),
  "",
  "pause of a checkpoint, ms\tmedian\tlongest",
  row(only("pause") | [.of, .median_ms, .longest_ms])
' "$1" | awk -F'\t' 'NF > 1 { printf "%-40s", $1; for (i = 2; i <= NF; i++) printf " %14s", $i; print ""; next } { print }'
