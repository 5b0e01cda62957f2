#!/usr/bin/env bash
# The power switch of the virtual machine in VM_DIR:
#   power.sh on     boots it and waits until all of its units have started
#   power.sh cut    takes the power away, in the middle of whatever it does
#   power.sh off    shuts it down as its systemd does
set -euo pipefail
# shellcheck source=test/vm/settings.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/settings.sh"

# running prints QEMU's pid.
running() { alive "$VM_DIR/pid"; }

on() {
  local accel began=$SECONDS pid stat cpu=host within=120 more='systemd.getty_auto=no'
  ! running >/dev/null || return 0
  accel=$(<"$VM_DIR/accel")
  if [[ $accel == tcg ]]; then
    accel=tcg,thread=multi,tb-size=512 cpu=max within=900
    # Page tables that are changed with every system call are dear to emulate.
    more+=" mitigations=off systemd.default_timeout_start_sec=$within systemd.default_device_timeout_sec=$within"
  fi
  step "booting the virtual machine ($accel)"
  ! (: <"/dev/tcp/127.0.0.1/$VM_PORT") 2>/dev/null ||
    die "port $VM_PORT on 127.0.0.1 is taken: choose another with VM_PORT=..."
  # Its network is QEMU's own, and reaches nothing but this port.
  (
    cd /
    exec setsid timeout --foreground --signal=KILL "$VM_LIFE" \
      qemu-system-x86_64 -name rekindle-vm -accel "$accel" -cpu "$cpu" -smp "$VM_CPUS" -m "$VM_MEMORY" -M q35 \
      -nodefaults -display none -serial "file:$VM_DIR/console" -no-reboot -pidfile "$VM_DIR/qemu.pid" \
      -kernel "$VM_DIR/image/vmlinuz" -initrd "$VM_DIR/image/initrd" \
      -append "root=/dev/vda rw console=ttyS0 quiet panic=-1 $more" \
      -drive "file=$VM_DIR/disk.qcow2,if=virtio,format=qcow2" \
      -drive "file=$VM_DIR/parts/disk.raw,if=virtio,format=raw,snapshot=on" \
      -netdev "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:$VM_PORT-:22" \
      -device virtio-net-pci,netdev=net -device virtio-rng-pci \
      </dev/null >"$VM_DIR/qemu.log" 2>&1 9>&-
  ) &
  for (( ; ; )); do
    if pid=$(cat "$VM_DIR/qemu.pid" 2>/dev/null) && [[ -n $pid && -r /proc/$pid/stat ]]; then
      read -r -a stat <"/proc/$pid/stat"
      printf '%s %s\n' "$pid" "${stat[21]}" >"$VM_DIR/pid"
      break
    fi
    ((SECONDS - began < 20)) || die "QEMU does not start: $(tail -n 3 "$VM_DIR/qemu.log")"
    sleep 0.1
  done
  until in_vm true 2>/dev/null; do
    running >/dev/null || die "the virtual machine has ended: see $VM_DIR/qemu.log and $VM_DIR/console"
    ((SECONDS - began < within)) || die "the virtual machine does not answer after $within s: see $VM_DIR/console"
    sleep 0.5
  done
  in_vm timeout "$within" systemctl is-system-running --wait >"$VM_DIR/state" || true
  [[ $(<"$VM_DIR/state") == running ]] ||
    die "not all of the virtual machine has started ($(<"$VM_DIR/state")): $(in_vm systemctl --failed --plain --no-legend || true)"
  note "it is up after $((SECONDS - began)) s"
}

cut_power() {
  local pid tenth
  pid=$(running) || return 0
  kill -KILL "$pid"
  while running >/dev/null; do sleep 0.05; done
  # The first of its threads may be gone while others still hold the port.
  for ((tenth = 0; tenth < 200; tenth++)); do
    (: <"/dev/tcp/127.0.0.1/$VM_PORT") 2>/dev/null || break
    sleep 0.1
  done
  rm -f "$VM_DIR/qemu.pid" "$VM_DIR/pid"
}

off() {
  local tenth
  running >/dev/null || return 0
  in_vm systemctl poweroff >/dev/null 2>&1 || true
  for ((tenth = 0; tenth < 1200; tenth++)); do
    running >/dev/null || break
    sleep 0.1
  done
  cut_power
}

case ${1:-} in
  on) on ;;
  cut) cut_power ;;
  off) off ;;
  *) die 'usage: power.sh on|cut|off' ;;
esac
