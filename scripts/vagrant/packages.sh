#!/usr/bin/env bash
# Installs what a machine needs to be the lab's node, and to build the lab:
#   packages.sh                          installs, on Debian or Fedora (root)
#   packages.sh list debian|fedora node  prints the names; the VM lab's image is
#                                        made with them
# "node" is what runs the lab and its suites, "build" what builds its parts.
set -euo pipefail

# shellcheck disable=SC2034 # used by name
{
  debian_node='apparmor bats busybox-static ca-certificates curl gpgv iproute2 jq kmod libseccomp2 openssl
  procps socat tar util-linux xz-utils'
  debian_build='gcc git golang-go libc6-dev libseccomp-dev make pkg-config protobuf-compiler'
  fedora_node='bats busybox ca-certificates criu curl dpkg gnupg2 iproute jq kmod libseccomp openssl
  procps-ng socat tar util-linux xz'
  fedora_build='gcc git golang glibc-devel libseccomp-devel make pkgconf-pkg-config protobuf-compiler'
}

die() {
  printf 'packages: %s\n' "$*" >&2
  exit 1
}

# names DISTRIBUTION PURPOSE
names() {
  local list=${1}_$2
  [[ -v $list ]] || die "there is no list '$2' for '$1': debian or fedora, node or build"
  tr -s ' \n' '\n' <<<"${!list}"
}

if [[ ${1:-} == list ]]; then
  names "${2:-}" "${3:-}"
  exit
fi

# shellcheck source=/dev/null
source /etc/os-release
mapfile -t packages < <(names "$ID" node && names "$ID" build)
case $ID in
  debian)
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    apt-get install -q -y --no-install-recommends "${packages[@]}"
    ;;
  fedora) dnf install -q -y --setopt=install_weak_deps=False "${packages[@]}" ;;
  *) die "this is $ID; the lab's node is made on debian and fedora" ;;
esac
