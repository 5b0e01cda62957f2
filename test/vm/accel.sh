#!/usr/bin/env bash
# Prints with what QEMU shall run the image in FOLDER: kvm, or tcg.
#   accel.sh FOLDER
# That /dev/kvm is there does not mean that it runs this kernel (some nested ones
# give up in its first instructions), so a small guest is really started.
set -euo pipefail
# shellcheck source=test/vm/settings.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/settings.sh"
image=$1

# kvm_works starts the image's kernel with nothing but a busybox that says so.
kvm_works() {
  local pid tenth
  mkdir -p "$work/root/dev"
  cp "$(type -P busybox)" "$work/root/busybox"
  printf '#!/busybox sh\necho it works >/dev/ttyS0\n/busybox sleep 60\n' >"$work/root/init"
  chmod 755 "$work/root/init"
  mknod "$work/root/dev/ttyS0" c 4 64
  mknod "$work/root/dev/console" c 5 1
  (cd "$work/root" && find . | busybox cpio -o -H newc) >"$work/initrd" 2>/dev/null
  touch "$work/said" "$work/log"
  timeout --signal=KILL 30 qemu-system-x86_64 -accel kvm -cpu host -M q35 -m 256 -nodefaults -display none \
    -serial "file:$work/said" -kernel "$image/vmlinuz" -initrd "$work/initrd" \
    -append 'console=ttyS0 quiet panic=-1' -no-reboot >>"$work/log" 2>&1 &
  pid=$!
  for ((tenth = 0; tenth < 250; tenth++)); do
    if grep -q 'it works' "$work/said" || [[ ! -d /proc/$pid ]] || grep -q 'KVM internal error' "$work/log"; then
      break
    fi
    sleep 0.1
  done
  {
    kill "$pid" || true
    wait "$pid" || true
  } 2>/dev/null
  grep -q 'it works' "$work/said"
}

if [[ $VM_ACCEL != auto ]]; then
  echo "$VM_ACCEL"
  exit
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [[ ! -w /dev/kvm ]]; then
  note 'there is no /dev/kvm: the virtual machine is emulated, which is about ten times slower'
  echo tcg
elif kvm_works; then
  echo kvm
else
  note "/dev/kvm does not run the machine's kernel: it is emulated, which is about ten times slower"
  echo tcg
fi
