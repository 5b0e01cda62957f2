# shellcheck shell=bash
# What every script of the lab agrees on: where things are, and how to speak.
# Sourced, never run.

lab_source=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck disable=SC2034 # for those who source this
repository=$(cd -- "$lab_source/../.." && pwd)

# The cache holds only what can be made again (tools, packages, images). It is
# outside the tree so that a clean checkout does not cost twelve minutes.
: "${REKINDLE_CACHE:=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/rekindle}"
export REKINDLE_CACHE

step() { printf '==> %s\n' "$*" >&2; }
note() { printf '    %s\n' "$*" >&2; }
warn() { printf 'lab: warning: %s\n' "$*" >&2; }
die() {
  printf 'lab: %s\n' "$*" >&2
  exit 1
}

need_root() {
  [[ $(id -u) == 0 ]] ||
    die "the lab makes namespaces, mounts and cgroups: run it as root"
}

# with_lock NAME COMMAND...: two labs brought up at once share one cache.
with_lock() {
  local name=$1
  shift
  mkdir -p "$REKINDLE_CACHE/locks"
  (
    if ! flock --nonblock 9; then
      note "waiting for another run that is preparing $name"
      flock 9
    fi
    "$@" 9>&-
  ) 9>"$REKINDLE_CACHE/locks/$name"
}

# alive FILE: is the process that FILE names ("pid start-time") still the same
# one? Prints its pid. The start time guards against a pid used again.
alive() {
  local pid born fields
  [[ -r $1 ]] && read -r pid born <"$1" || return 1
  [[ -r /proc/$pid/stat ]] || return 1
  read -r -a fields <"/proc/$pid/stat" 2>/dev/null || return 1
  [[ ${fields[21]} == "$born" && ${fields[2]} != Z ]] || return 1
  printf '%s\n' "$pid"
}
