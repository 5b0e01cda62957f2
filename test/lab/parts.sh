#!/usr/bin/env bash
# Provides what a lab is made of, and prints where each part is, one a line:
#   parts.sh [cluster|node]
# "tool PATH", "criu FOLDER", "redis FOLDER" or "images FOLDER". A machine that
# has the same cache can bring up a lab from that list without building anything
# (LAB_PARTS of up.sh).
#   LAB_CONTAINERD  2.4 or 2.2 (2.4)
#   REKINDLE_CACHE  what is built is kept here (~/.cache/rekindle)
set -euo pipefail
# shellcheck source=test/lab/base.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/base.sh"

# provide NAME COMMAND... prints each line of the command's output under a name.
provide() {
  local name=$1 path paths
  shift
  paths=$("$lab_source/$1" "${@:2}")
  while read -r path; do printf '%s %s\n' "$name" "$path"; done <<<"$paths"
}

"$lab_source/host-packages.sh" lab
provide tool tools.sh "${1:-cluster}"
# Later names win when they are linked.
[[ ${LAB_CONTAINERD:-2.4} == 2.4 ]] || provide tool tools.sh compat
provide criu distribution.sh criu
provide redis distribution.sh redis
provide images images.sh
