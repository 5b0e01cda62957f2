#!/usr/bin/env bash
# Programs of the distribution that must not be installed on this machine:
# CRIU, because the release's own may be too old for the kernel, and Redis,
# because its package would start a service. They are unpacked into a prefix
# of their own under the cache, with the libraries they need, by an apt that
# has its own lists, cache and package status.
#   distribution.sh criu    prints the folder whose criu runs CRIU >= 4.2
#   distribution.sh redis   prints the prefix that has redis-server
set -euo pipefail
# shellcheck source=test/lab/base.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/base.sh"

# The release whose CRIU is known to work on current kernels, and the one to
# ask where that has moved on.
criu_releases=(forky sid)
criu_least=4.2

private_apt=()

# open_apt RELEASE: an apt that knows only RELEASE, from the mirror that this
# machine is already set up to use. RELEASE "own" means the machine's own
# suites.
open_apt() {
  local release=$1 root=$REKINDLE_CACHE/apt/$1 mirrors
  # Lists must be there before apt can say which mirrors are Debian's.
  mirrors=$(debian_mirrors)
  if [[ -z $mirrors ]]; then
    apt-get update >/dev/null 2>&1 || true
    mirrors=$(debian_mirrors)
  fi
  [[ -n $mirrors ]] ||
    die "apt knows no Debian mirror on this machine: configure one in /etc/apt/sources.list and run again"

  mkdir -p "$root"/{lists/partial,archives/partial,parts}
  : >"$root/status"
  if [[ $release == own ]]; then
    awk '{ print "deb", $1, $2, "main" }' <<<"$mirrors" >"$root/sources.list"
  else
    awk -v release="$release" '$3 == "Debian" { print "deb", $1, release, "main"; exit }' \
      <<<"$mirrors" >"$root/sources.list"
  fi
  private_apt=(
    -o "Dir::State::Lists=$root/lists" -o "Dir::State::status=$root/status"
    -o "Dir::Cache=$root" -o Dir::Cache::pkgcache=packages.bin -o Dir::Cache::srcpkgcache=sources.bin -o "Dir::Cache::archives=$root/archives"
    -o "Dir::Etc::sourcelist=$root/sources.list" -o "Dir::Etc::sourceparts=$root/parts"
    -o APT::Get::List-Cleanup=0 -o APT::Install-Recommends=0 -o Acquire::Languages=none
    -o "Dir::Etc::preferences=/dev/null" -o "Dir::Etc::preferencesparts=$root/parts"
    -o APT::Sandbox::User=root -o APT::Update::Post-Invoke::= -o APT::Default-Release=
  )
  step "reading Debian's package list ($release)"
  local log=$root/update.log
  apt-get "${private_apt[@]}" update >"$log" 2>&1 ||
    {
      tail -n 10 "$log" >&2
      die "apt could not read the package list of Debian $release (see above): is the mirror reachable, does it carry that release?"
    }
}

# debian_mirrors: address, suite and label of each Debian source in use.
debian_mirrors() {
  # shellcheck disable=SC2016 # the $(NAMES) are apt's own
  apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(LABEL) $(ORIGIN) $(COMPONENT)' \
    'Created-By: Packages' 2>/dev/null |
    awk '$4 == "Debian" && $5 == "main" { print $1, $2, $3 }' | sort -u
}

# unpack PREFIX PACKAGE[=VERSION]...: the packages and the libraries they
# depend on. Only libraries are followed: the rest of a dependency tree
# (python, init scripts) is not needed to run one program.
unpack() {
  local prefix=$1 archives=$1.debs wanted seen=' ' package
  shift
  rm -rf "$prefix.new" "$archives"
  mkdir -p "$prefix.new" "$archives"
  wanted=("$@")
  while ((${#wanted[@]} > 0)); do
    (cd "$archives" && apt-get "${private_apt[@]}" download "${wanted[@]}" >/dev/null 2>log) || {
      cat "$archives/log" >&2
      die "apt could not download ${wanted[*]} (see above)"
    }
    seen+="${wanted[*]%%=*} "
    mapfile -t wanted < <(apt-cache "${private_apt[@]}" depends --no-recommends --no-suggests \
      --no-conflicts --no-breaks --no-replaces --no-enhances "${wanted[@]%%=*}" |
      awk '/^ *\|?(Pre)?Depends: (lib|lua-)/ { print $2 }' | sort -u |
      while read -r package; do [[ $seen == *" $package "* ]] || printf '%s\n' "$package"; done)
  done
  for package in "$archives"/*.deb; do
    dpkg-deb --extract "$package" "$prefix.new"
  done
  rm -rf "$archives" "$prefix"
  mv "$prefix.new" "$prefix"
  # The lists are many times larger than what was taken from them.
  rm -rf "$REKINDLE_CACHE/apt"
}

recent_enough() { dpkg --compare-versions "$1" ge "$criu_least"; }

criu_version() { "$1" --version 2>/dev/null | awk '$1 == "Version:" { print $2 }'; }

# link_criu PREFIX FOLDER: the program named criu. It has the prefix's own loader
# and libraries, because this machine's C library may be older, and no script
# around it, which would be two more program starts in every restore.
link_criu() {
  local prefix=$1 folder=$2 loader libraries
  loader=$(cd "$prefix" && find . -name 'ld-linux*.so.*' | sort | head -n 1)
  libraries=$(cd "$prefix" && find . -path '*lib*' -name '*.so.*' -not -path './etc/*' -printf '%P\n' | xargs -n 1 dirname | sort -u |
    sed "s#^#$prefix/#" | paste -sd:)
  [[ -n $loader ]] || die "no loader among the packages in $prefix: remove it and run again"
  cp "$prefix/usr/sbin/criu" "$folder/criu.new"
  "$prefix/${loader#./}" --library-path "$libraries" "$prefix/usr/bin/patchelf" \
    --set-interpreter "$prefix/${loader#./}" --force-rpath --set-rpath "$libraries" "$folder/criu.new"
  mv "$folder/criu.new" "$folder/criu"
}

provide_criu() {
  local own version release candidate='' found='' folder
  if own=$(type -P criu) && version=$(criu_version "$own") &&
    [[ -n $version ]] && recent_enough "$version"; then
    dirname "$own"
    return
  fi
  for folder in "$REKINDLE_CACHE"/criu-linked/*/; do
    if [[ -x ${folder}criu ]] && recent_enough "$(criu_version "${folder}criu")"; then
      printf '%s\n' "${folder%/}"
      return
    fi
  done

  for release in "${criu_releases[@]}"; do
    open_apt "$release"
    candidate=$(apt-cache "${private_apt[@]}" madison criu | awk -F'|' '{ gsub(/ /, "", $2); print $2; exit }')
    if [[ -z $candidate ]] || ! recent_enough "$candidate"; then
      continue
    fi
    found=$release
    # 4.2 is what the suites were made with; a later one only for want of it.
    [[ $candidate != "$criu_least"* ]] || break
  done
  [[ -n $found ]] ||
    die "no Debian release that this machine's mirror carries has CRIU >= $criu_least: install one by hand so that 'criu' on the PATH is recent enough"
  if [[ $found != "$release" ]]; then
    open_apt "$found"
    candidate=$(apt-cache "${private_apt[@]}" madison criu | awk -F'|' '{ gsub(/ /, "", $2); print $2; exit }')
  fi
  version=${candidate%%-*}
  step "unpacking CRIU $version from Debian $found (this machine has ${own:-none}; 4.2 is the least that works on current kernels)"
  folder=$REKINDLE_CACHE/criu-linked/$version
  mkdir -p "$folder"
  unpack "$folder/prefix" "criu=$candidate" patchelf
  link_criu "$folder/prefix" "$folder"
  version=$(criu_version "$folder/criu")
  [[ -n $version ]] ||
    die "the CRIU unpacked in $folder does not run: '$folder/criu --version' says why"
  printf '%s\n' "$folder"
}

# unpack_redis_of_fedora PREFIX: there Redis is Valkey, with the old names in a
# package of its own.
unpack_redis_of_fedora() {
  step "unpacking Valkey from the distribution"
  rm -rf "$1" "$1.new"
  dnf --installroot="$1.new" --use-host-config -q -y --setopt=install_weak_deps=False \
    install valkey valkey-compat-redis >"$1.log" 2>&1 || {
    tail -n 10 "$1.log" >&2
    die "dnf could not unpack Valkey (see above)"
  }
  mv "$1.new" "$1"
}

provide_redis() {
  local prefix=$REKINDLE_CACHE/redis/prefix
  if [[ ! -x $prefix/usr/bin/redis-server && ! -L $prefix/usr/bin/redis-server ]]; then
    mkdir -p "${prefix%/*}"
    if command -v dnf >/dev/null; then
      unpack_redis_of_fedora "$prefix"
    else
      open_apt own
      step "unpacking Redis from the distribution"
      unpack "$prefix" redis-server redis-tools
    fi
  fi
  printf '%s\n' "$prefix"
}

case ${1:-} in
  criu | redis) with_lock distribution "provide_$1" ;;
  *) die "usage: distribution.sh criu|redis" ;;
esac
