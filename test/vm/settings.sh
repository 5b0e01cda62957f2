# shellcheck shell=bash
# One virtual machine: its folder, its port, its size. Sourced, never run.

vm_source=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=test/lab/base.sh
source "$vm_source/../lab/base.sh"

: "${VM_DIR:=/var/tmp/rekindle-vm}"
: "${VM_PORT:=16700}"
# auto, kvm or tcg, which is QEMU's own emulation and about ten times slower.
: "${VM_ACCEL:=auto}"
: "${VM_CPUS:=$(nproc)}"
: "${VM_MEMORY:=4096}"
# Nobody needs one for longer; a forgotten one ends by itself.
: "${VM_LIFE:=6h}"
VM_DIR=$(realpath -m -- "$VM_DIR")
export VM_DIR VM_PORT VM_ACCEL VM_CPUS VM_MEMORY VM_LIFE

[[ $VM_PORT =~ ^[1-9][0-9]{3,4}$ && $VM_PORT -ge 1024 && $VM_PORT -le 65535 ]] ||
  die "VM_PORT=$VM_PORT is no port between 1024 and 65535"
case $VM_ACCEL in
  auto | kvm | tcg) ;;
  *) die "VM_ACCEL=$VM_ACCEL is unknown: auto, kvm or tcg" ;;
esac

# shellcheck disable=SC2034 # for those who source this
{
  # The folder of this tree in the machine, and of the lab.
  vm_tree=/opt/rekindle
  vm_lab=/var/tmp/rekindle-lab
  vm_mark=$VM_DIR/.rekindle-vm
}

# in_vm COMMAND...: with a channel per command, to loopback only.
in_vm() {
  local command
  printf -v command '%q ' "$@"
  ssh -F none -i "$VM_DIR/image/key" -p "$VM_PORT" -o UserKnownHostsFile="$VM_DIR/image/known_hosts" \
    -o HostKeyAlias=rekindle-vm -o IdentitiesOnly=yes -o BatchMode=yes -o LogLevel=ERROR \
    -o ConnectTimeout=10 -o ServerAliveInterval=30 -o ServerAliveCountMax=10 root@127.0.0.1 "$command"
}
