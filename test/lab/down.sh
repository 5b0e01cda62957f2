#!/usr/bin/env bash
# Takes the lab in LAB_DIR down and checks that nothing of it is left: no
# process, namespace, mount, control group or network rule. What was built
# stays in the cache.
set -euo pipefail
# shellcheck source=test/lab/base.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/base.sh"
# shellcheck source=test/lab/settings.sh
source "$lab_source/settings.sh"
# shellcheck source=test/lab/configure.sh
source "$lab_source/configure.sh"
# shellcheck source=test/lab/machine.sh
source "$lab_source/machine.sh"

take_down() {
  local namespaces=()
  if [[ -e $LAB_DIR && ! -f $lab_mark ]]; then
    # A first start that failed early leaves folders without a mark.
    [[ -d $LAB_DIR/pid && -d $LAB_DIR/outside ]] ||
      die "$LAB_DIR was not made by up.sh: nothing is touched; remove it by hand if it is in the way"
  fi
  step "taking down the lab in $LAB_DIR"
  [[ ! -r $LAB_DIR/pid/namespaces ]] || mapfile -t namespaces <"$LAB_DIR/pid/namespaces"

  if [[ -e $LAB_DIR/etc/machine ]]; then
    machine_stop
  else
    stop_forward
    stop_holder
  fi
  local attempt
  for ((attempt = 0; attempt < 100; attempt++)); do
    remove_cgroups && [[ -z $(processes_in "${namespaces[@]}") ]] && break
    sleep 0.1
  done
  ! mounted "$LAB_DIR/run" || umount "$LAB_DIR/run" ||
    umount --lazy "$LAB_DIR/run"

  check "${namespaces[@]}"
  [[ ! -d $LAB_DIR ]] || rm -rf --one-file-system "$LAB_DIR"
  step 'nothing of the lab is left'
}

stop_forward() {
  local pid
  # Each connection is a child; they are a process group of their own.
  ! pid=$(alive "$LAB_DIR/pid/forward") || kill -TERM -- "-$pid" 2>/dev/null || true
}

stop_holder() {
  local pid tenth
  pid=$(alive "$LAB_DIR/pid/holder") || return 0
  kill -KILL "$pid"
  for ((tenth = 0; tenth < 200; tenth++)); do
    [[ -d /proc/$pid ]] || return 0
    sleep 0.1
  done
  die "the node's first process (pid $pid) does not end: something in the node hangs in the kernel ('ps -o pid,stat,wchan:30,cmd' shows it)"
}

mounted() { awk -v where="$1" '$5 == where { found = 1 } END { exit !found }' /proc/self/mountinfo; }

remove_cgroups() {
  local root left=0
  while read -r root; do
    [[ -d $root/$lab_name ]] || continue
    find "$root/$lab_name" -depth -type d -exec rmdir {} + 2>/dev/null || true
    [[ ! -d $root/$lab_name ]] || left=1
  done < <(hierarchies)
  return "$left"
}

# processes_in NAMESPACE...: pids that are still in one of them.
processes_in() {
  (($# > 0)) || return 0
  local pattern
  pattern=$(printf '%s|' "$@" | sed 's/[][]/\\&/g; s/|$//')
  find /proc/[0-9]*/ns -maxdepth 1 -type l -printf '%p %l\n' 2>/dev/null |
    grep -E " ($pattern)\$" | cut -d/ -f3 | sort -u || true
}

# check NAMESPACE...: the second is the network's, as up.sh wrote them.
check() {
  local bad=0 found pid
  found=$(processes_in "$@" | paste -sd' ')
  # A process outside the namespaces can only be the forward, or a program that
  # someone runs from the lab's folder.
  for pid in /proc/[0-9]*; do
    [[ $(readlink "$pid/exe" 2>/dev/null) != "$LAB_DIR"/* ]] || found+=" ${pid##*/}"
  done
  ! pid=$(alive "$LAB_DIR/pid/forward") || found+=" $pid"
  report 'processes' "$found"
  report 'namespaces' "$(grep -F ' - nsfs ' /proc/self/mountinfo | grep -F "${2:-none}" || true)"
  report 'mounts' "$(awk -v dir="$LAB_DIR" '$5 == dir || index($5, dir "/") == 1 { print $5 }' /proc/self/mountinfo | paste -sd' ')"
  report 'control groups' "$(hierarchies | while read -r found; do find "$found" -maxdepth 1 -name "$lab_name"; done | paste -sd' ')"
  report 'network devices' "$(ip -o link show 2>/dev/null | awk -F': ' '$2 == "rekindle0" { print $2 }' | paste -sd' ')"
  report 'packet filter rules' "$({
    ! command -v iptables-save >/dev/null || iptables-save 2>/dev/null
    ! command -v nft >/dev/null || nft list ruleset 2>/dev/null
  } | grep -E '10\.24[012]\.|chain CRIU|:CRIU' | head -n 3 || true)"
  ((bad == 0)) || die "something of the lab is left (see above)"
}

report() {
  if [[ -z ${2// /} ]]; then
    note "no $1"
  else
    note "LEFT: $1: $2"
    bad=1
  fi
}

need_root
# up.sh holds the lock already when it replaces a lab.
if [[ ${1:-} == --locked ]]; then
  take_down
else
  with_lock "$lab_name" take_down
fi
