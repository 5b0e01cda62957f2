#!/usr/bin/env bash
# Builds the lab's images from local files (a static busybox, the
# distribution's Redis, the programs under workloads/) and prints the folder
# that holds them, one docker-archive each. Nothing is pulled.
set -euo pipefail
# shellcheck source=test/lab/base.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/base.sh"

export GOFLAGS=-mod=readonly GOWORK=off CGO_ENABLED=0

build_images() {
  local busybox redis key folder work programs
  busybox=$(readlink -f "$(type -P busybox)")
  redis=$("$lab_source/distribution.sh" redis)
  key=$({
    cd "$lab_source"
    find images workloads -type f | sort | xargs sha256sum
    sha256sum "$busybox" "$redis/usr/bin/redis-cli"
    go env GOVERSION GOARCH
  } | sha256sum | cut -c 1-16)
  folder=$REKINDLE_CACHE/images/$key
  if [[ ! -d $folder ]]; then
    step "building the images (about 20 s)"
    work=$(mktemp -d "$REKINDLE_CACHE/images.XXXXXX")
    # shellcheck disable=SC2064 # the name is known now, and gone later
    trap "rm -rf '$work'" EXIT
    programs=$work/programs
    mkdir -p "$programs" "$work/out" "${folder%/*}"
    (cd "$lab_source/workloads" && go build -buildvcs=false -trimpath -ldflags '-s -w' -o "$programs/" ./...)
    "$busybox" --list-full >"$work/applets"
    (cd "$lab_source/images" && go run -buildvcs=false . -busybox "$busybox" -applets "$work/applets" \
      -redis "$redis" -workloads "$programs" -out "$work/out")
    mv "$work/out" "$folder"
  fi
  printf '%s\n' "$folder"
}

"$lab_source/host-packages.sh" lab
with_lock images build_images
