# shellcheck shell=bash
# One lab: its folder, its port, its names. Sourced, never run.

: "${LAB_DIR:=/var/tmp/rekindle-lab}"
: "${LAB_PORT:=16443}"
: "${LAB_CONTAINERD:=2.4}"
: "${LAB_NODE:=namespaces}"
# Where the product's own programs are taken from.
: "${LAB_BIN:=$repository/bin}"

LAB_DIR=$(realpath -m -- "$LAB_DIR")
LAB_BIN=$(realpath -m -- "$LAB_BIN")
export LAB_DIR LAB_PORT LAB_CONTAINERD LAB_NODE LAB_BIN

# Shims put their own sockets under run/, and the kernel's limit for a path to
# one is 107 bytes.
((${#LAB_DIR} <= 48)) ||
  die "LAB_DIR=$LAB_DIR is too long for the unix sockets below it: use at most 48 characters"
case $LAB_DIR/ in
  / | /run/* | /var/run/* | /var/lib/* | /var/log/* | /proc/* | /sys/* | /dev/*)
    die "LAB_DIR=$LAB_DIR is where the lab's node has folders of its own: choose another, such as /var/tmp/rekindle-lab"
    ;;
esac
[[ $LAB_DIR != *[!A-Za-z0-9/._-]* ]] ||
  die "LAB_DIR=$LAB_DIR has characters that configuration files would need quoted: use letters, digits and / . _ -"
[[ $LAB_PORT =~ ^[1-9][0-9]{3,4}$ && $LAB_PORT -ge 1024 && $LAB_PORT -le 65535 ]] ||
  die "LAB_PORT=$LAB_PORT is no port between 1024 and 65535"
case $LAB_CONTAINERD in
  2.4 | 2.2) ;;
  *) die "LAB_CONTAINERD=$LAB_CONTAINERD is not built here: 2.4 or 2.2" ;;
esac
case $LAB_NODE in
  namespaces) ;;
  machine)
    [[ -d /run/systemd/system && -e /sys/fs/cgroup/cgroup.controllers ]] ||
      die "LAB_NODE=machine wants systemd and cgroup version 2, which this machine does not have"
    ;;
  *) die "LAB_NODE=$LAB_NODE is unknown: namespaces or machine" ;;
esac

# The name that tells this lab from others where the kernel has one name space
# for all: the control groups, and the lock.
# shellcheck disable=SC2034 # for those who source this
lab_name=rekindle-lab-$(printf %s "$LAB_DIR" | sha256sum | cut -c 1-8)
# shellcheck disable=SC2034
lab_mark=$LAB_DIR/.rekindle-lab

# hierarchies: where each control-group hierarchy is mounted.
hierarchies() { awk '$3 == "cgroup" || $3 == "cgroup2" { print $2 }' /proc/self/mounts; }
