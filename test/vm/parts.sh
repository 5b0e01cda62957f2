#!/usr/bin/env bash
# Makes the second disk of the virtual machine, with the lab's parts (see
# test/lab/parts.sh) at the paths that they have here, and prints its folder:
#   disk.raw  to be mounted at REKINDLE_CACHE     parts  the list, for LAB_PARTS
set -euo pipefail
# shellcheck source=test/vm/settings.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/settings.sh"

make_disk() {
  local parts folder path
  parts=$("$lab_source/parts.sh" cluster)
  folder=$REKINDLE_CACHE/vm/parts-$(sha256sum <<<"$parts" | cut -c 1-16)
  if [[ ! -d $folder ]]; then
    step "making the disk with the lab's parts (about 10 s)"
    mkdir -p "${folder%/*}"
    work=$(mktemp -d "$REKINDLE_CACHE/vm/.building.XXXXXX")
    trap 'rm -rf --one-file-system "$work"' EXIT
    while read -r _ path; do
      [[ $path == "$REKINDLE_CACHE"/* ]] ||
        die "$path is not below $REKINDLE_CACHE: the virtual machine takes what this machine has installed itself from there only"
      mkdir -p "$work/root/$(dirname -- "${path#"$REKINDLE_CACHE"/}")"
      # By links: only mke2fs copies.
      cp -al "$path" "$work/root/${path#"$REKINDLE_CACHE"/}"
    done <<<"$parts"
    printf '%s\n' "$parts" >"$work/root/parts"
    mke2fs -q -t ext4 -L rekindle-parts -O ^has_journal -m 0 -d "$work/root" "$work/disk.raw" 4G >/dev/null
    rm -rf --one-file-system "$work/root"
    mv "$work" "$folder"
    # Only one is of use.
    find "${folder%/*}" -maxdepth 1 -name 'parts-*' -not -path "$folder" -mmin +720 -exec rm -rf {} +
  fi
  printf '%s\n' "$folder"
}

need_root
with_lock vm-parts make_disk
