#!/usr/bin/env bash
# Builds the virtual machine's image, Debian with its own cloud kernel, and
# prints the folder that has it:
#   disk.raw  the root file system     vmlinuz, initrd  to boot it with
#   key, known_hosts                   the way in
# It comes from the mirror that this machine uses, and is kept in REKINDLE_CACHE
# under a key of what went into it.
set -euo pipefail
# shellcheck source=test/vm/settings.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/settings.sh"

release=trixie
provisioning=$repository/scripts/vagrant

# mirror prints that of this machine; package lists have to be there first.
mirror() {
  # shellcheck disable=SC2016 # the $(NAMES) are apt's own
  apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(LABEL) $(COMPONENT)' 'Created-By: Packages' |
    awk '$2 == "Debian" && $3 == "Debian" && $4 == "main" { print $1; exit }'
}

# furnish ROOT: what makes a Debian this machine.
furnish() {
  local root=$1 unit
  "$provisioning/node.sh" "$root"
  echo rekindle-vm >"$root/etc/hostname"
  printf '127.0.0.1 localhost rekindle-vm\n' >"$root/etc/hosts"
  # Only QEMU's network card: the others are the pods'.
  printf '[Match]\nName=en*\n[Network]\nDHCP=ipv4\n' >"$root/etc/systemd/network/80-vm.network"
  ln -s /usr/lib/systemd/system/systemd-networkd.service "$root/etc/systemd/system/multi-user.target.wants/"
  # Profiles of programs that are not here take a minute to load under emulation;
  # that of containers is containerd's.
  ln -s /dev/null "$root/etc/systemd/system/apparmor.service"
  for unit in apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer \
    systemd-networkd-wait-online.service getty@tty1.service; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
  done
  rm -f "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*_*

  ssh-keygen -q -t ed25519 -N '' -C rekindle-vm -f "$work/key"
  mkdir -p "$root/root/.ssh"
  chmod 700 "$root/root/.ssh"
  install -m 600 "$work/key.pub" "$root/root/.ssh/authorized_keys"
  sed 's/^/rekindle-vm /' "$root"/etc/ssh/ssh_host_*_key.pub >"$work/known_hosts"
  cp "$root"/boot/vmlinuz-* "$work/vmlinuz"
  cp "$root"/boot/initrd.img-* "$work/initrd"
}

build_image() {
  local from packages key folder began=$SECONDS
  from=$(mirror)
  if [[ -z $from ]]; then
    apt-get update >/dev/null 2>&1 || true
    from=$(mirror)
  fi
  [[ -n $from ]] ||
    die "apt knows no Debian mirror on this machine: configure one in /etc/apt/sources.list and run again"
  packages=$(printf '%s\n' systemd-sysv dbus linux-image-cloud-amd64 openssh-server udev \
    "$("$provisioning/packages.sh" list debian node)" | paste -sd,)
  key=$({
    printf '%s\n' "$release" "$packages"
    cat "$vm_source/image.sh" "$provisioning/node.sh"
  } | sha256sum | cut -c 1-16)
  folder=$REKINDLE_CACHE/vm/image-$key
  if [[ ! -d $folder ]]; then
    step "building the image of the virtual machine: Debian $release (about 2 min)"
    mkdir -p "${folder%/*}"
    work=$(mktemp -d "$REKINDLE_CACHE/vm/.building.XXXXXX")
    trap 'rm -rf --one-file-system "$work"' EXIT
    debootstrap --variant=minbase --include="$packages" "$release" "$work/root" "$from" >"$work/log" 2>&1 || {
      tail -n 20 "$work/log" >&2
      die "debootstrap could not make a Debian $release (see above)"
    }
    furnish "$work/root"
    # Sparse, and without anything mounted here.
    mke2fs -q -t ext4 -L rekindle-root -E lazy_itable_init=1 -d "$work/root" "$work/disk.raw" 12G >/dev/null
    rm -rf --one-file-system "$work/root"
    mv "$work" "$folder"
    chmod 755 "$folder"
    note "the image is built after $((SECONDS - began)) s"
  fi
  printf '%s\n' "$folder"
}

need_root
"$lab_source/host-packages.sh" vm
with_lock vm-image build_image
