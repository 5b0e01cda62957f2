#!/usr/bin/env bash
# Boots a virtual machine: Debian with systemd, cgroup version 2 and AppArmor.
#   up.sh
# It is under VM_DIR; down.sh takes it away. Run again, it puts this tree and
# newly built programs into it. Settings, by environment:
#   VM_DIR          where it lives (/var/tmp/rekindle-vm)
#   VM_PORT         port of its ssh on 127.0.0.1 (16700)
#   VM_ACCEL        kvm, tcg or auto, which finds out (auto)
#   VM_CPUS, VM_MEMORY (MiB), VM_LIFE
#   REKINDLE_CACHE  image and parts are kept here (~/.cache/rekindle)
set -euo pipefail
# shellcheck source=test/vm/settings.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/settings.sh"

main() {
  local image parts
  need_root
  image=$("$vm_source/image.sh")
  parts=$("$vm_source/parts.sh")
  with_lock "vm-$(sha256sum <<<"$VM_DIR" | cut -c 1-8)" bring_up "$image" "$parts"
}

# bring_up IMAGE PARTS
bring_up() {
  local made
  made=$(printf '%s\n' "$@" "$VM_PORT" "$VM_ACCEL" "$VM_CPUS" "$VM_MEMORY")
  if [[ -e $VM_DIR ]]; then
    [[ -f $vm_mark || -z $(ls -A "$VM_DIR") ]] ||
      die "$VM_DIR is there, and no virtual machine made it: choose another VM_DIR, or remove it"
    if [[ ! -f $vm_mark || $(cat "$vm_mark") != "$made" ]]; then
      "$vm_source/down.sh"
    fi
  fi
  if [[ ! -f $vm_mark ]]; then
    mkdir -p "$VM_DIR"
    chmod 700 "$VM_DIR"
    ln -sfn "$1" "$VM_DIR/image"
    ln -sfn "$2" "$VM_DIR/parts"
    "$vm_source/accel.sh" "$1" >"$VM_DIR/accel"
    qemu-img create -q -f qcow2 -b "$1/disk.raw" -F raw "$VM_DIR/disk.qcow2"
    printf '%s\n' "$made" >"$vm_mark"
  fi
  "$vm_source/power.sh" on
  furnish
}

# furnish puts in what changes: the parts, this tree, our programs.
furnish() {
  local began=$SECONDS
  in_vm bash -euc "
    mkdir -p '$REKINDLE_CACHE' '$vm_tree'
    grep -q rekindle-parts /etc/fstab ||
      echo 'LABEL=rekindle-parts $REKINDLE_CACHE ext4 nofail 0 0' >>/etc/fstab
    mountpoint -q '$REKINDLE_CACHE' || mount '$REKINDLE_CACHE'"
  (cd "$repository" && tar -c --exclude='*.go' --exclude=./.git .) | in_vm tar -C "$vm_tree" -x --recursive-unlink
  note "tree and programs are in place after $((SECONDS - began)) s"
}

main
