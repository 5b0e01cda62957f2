#!/usr/bin/env bash
# Prepares a machine with systemd and cgroup version 2 to be the lab's node, with
# nothing around it (LAB_NODE=machine of test/lab/up.sh); run by Vagrant, and in
# the image of the VM lab (root). Again, it changes nothing.
#   node.sh [ROOT]   ROOT is a machine's root folder that does not run yet
set -euo pipefail
root=${1:-}

# put PATH: a file from standard input.
put() {
  mkdir -p "$root${1%/*}"
  cat >"$root$1"
}

# What pods need of the kernel, loaded at boot.
put /etc/modules-load.d/rekindle-lab.conf <<<$'overlay\nbridge\nveth'

# For every user: the lab is made of this machine itself.
# Go may fetch the version that go.mod asks for.
put /etc/profile.d/rekindle-lab.sh <<<$'export LAB_NODE=machine\nexport GOTOOLCHAIN=auto'

# A kubelet counts memory, and swap would make its limits lie.
[[ ! -e $root/etc/fstab ]] || sed -i '/[[:space:]]swap[[:space:]]/s/^[^#]/#&/' "$root/etc/fstab"

[[ -z $root ]] || exit 0
swapoff -a
while read -r module; do
  modprobe "$module"
done </etc/modules-load.d/rekindle-lab.conf
