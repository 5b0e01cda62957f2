#!/usr/bin/env bash
# Installs from the distribution what a purpose needs and the machine lacks:
#   host-packages.sh [build] [lab] [test] [lint] [vm]
# Nothing is installed, and no package list fetched, when nothing is missing.
set -euo pipefail
# shellcheck source=test/lab/base.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/base.sh"

# One line per need: purpose, how to see that it is there, Debian package.
# "command X" looks on the PATH, "header X" asks the C compiler.
needs='
build command gcc            gcc
build command pkg-config     pkg-config
build command make           make
build command git            git
build header  stdlib.h       libc6-dev
build header  seccomp.h      libseccomp-dev
lab   command ip             iproute2
lab   command nsenter        util-linux
lab   command setsid         util-linux
lab   command ps             procps
lab   command jq             jq
lab   command curl           curl
lab   command socat          socat
lab   command openssl        openssl
lab   command busybox        busybox-static
lab   command tar            tar
lab   command xz             xz-utils
lab   command dpkg-deb       dpkg
lab   command gpgv           gpgv
test  command bats           bats
test  command jq             jq
test  command mkfs.ext4      e2fsprogs
test  command mkfs.xfs       xfsprogs
lab   command mkfs.xfs       xfsprogs
test  command ip             iproute2
test  command nsenter        util-linux
lint  command shellcheck     shellcheck
lint  command ruby           ruby
vm    command qemu-system-x86_64 qemu-system-x86
vm    command qemu-img       qemu-utils
vm    command debootstrap    debootstrap
vm    command mke2fs         e2fsprogs
vm    command ssh            openssh-client
vm    command busybox        busybox-static
'

has() {
  case $1 in
    command) command -v "$2" >/dev/null ;;
    header)
      command -v gcc >/dev/null &&
        printf '#include <%s>\n' "$2" | gcc -E -x c - >/dev/null 2>&1
      ;;
  esac
}

wanted=" ${*:-build lab test lint} "
missing=()
while read -r purpose kind what package; do
  [[ -n $purpose && $wanted == *" $purpose "* ]] || continue
  has "$kind" "$what" || missing+=("$package")
done <<<"$needs"

# A dynamic busybox is of no use as an image's only file.
if [[ $wanted == *" lab "* ]] && command -v busybox >/dev/null &&
  ldd "$(command -v busybox)" >/dev/null 2>&1; then
  missing+=(busybox-static)
fi

[[ ${#missing[@]} -gt 0 ]] || exit 0
mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)

command -v apt-get >/dev/null ||
  die "these are missing: ${missing[*]} (Debian's names); this machine has no apt-get, so install them by hand and run again"
need_root

step "installing from the distribution: ${missing[*]}"
install() {
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    -o Dpkg::Use-Pty=0 "${missing[@]}"
}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { apt-get update && install; } >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  die "apt-get could not install ${missing[*]}: see its words above"
fi
