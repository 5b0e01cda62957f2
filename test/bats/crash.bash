# Failpoints: see package fail. What is armed here works in the daemon, in the
# shims of pods and in the executor, for the lab starts them with the variable.
# shellcheck shell=bash

failpoints=$LAB_DIR/failpoints

# arm 'POINT ACTION'... has programs do that at those points, and nothing at others.
arm() {
  rm -f "$failpoints.reached"
  (umask 077 && printf '%s\n' "$@" >"$failpoints.new")
  mv "$failpoints.new" "$failpoints"
}

disarm() { rm -f "$failpoints" "$failpoints.reached"; }

reached() { grep -q "^$1 " "$failpoints.reached"; }

# stop_at POINT COMMAND... starts a command and returns when some program stands
# still at the point; go_on lets it go on, and waits for the command.
stop_at() {
  local point=$1
  shift
  arm "$point wait"
  "$@" >"$BATS_TEST_TMPDIR/stopped.log" 2>&1 3>&- &
  stopped_job=$!
  wait_for 30 reached "$point"
}
go_on() {
  disarm
  wait "$stopped_job" || true
}

# stopped_pid prints the id, within the node, of the program that stands still.
stopped_pid() { tail -n 1 "$failpoints.reached" | cut -d' ' -f2; }

# died NAME: a service of the lab does not run any more.
died() { ! lab-service pid "$1" >/dev/null; }

# died_at POINT: the pod's shim did, which containerd has noticed.
died_at() { ! shim_pid victim >/dev/null; }

# decided TEXT: the newest decision about the victim begins with it.
decided() { [[ $(decisions victim | head -n 1) == "$1"* ]]; }

# restores POD: it crashes, and comes back from its newest checkpoint, which is
# sound.
restores() {
  local newest number
  newest=$(rekindle list -o json | jq -r --arg pod "$1" '[.checkpoints[] | select(.pod == $pod).id][0]')
  number=$(count "$1")
  crash "$1"
  has "restore taken $newest" decisions "$1"
  counts_on "$1"
}

# well POD RESTARTS: it runs, neither frozen nor traced, in the same container as
# before, and nothing is left over on the node.
well() {
  unharmed "$1" "$2"
  wait_for 10 no_remains
  wait_for 10 no_leaks
}

# no_leaks: nothing staged or in the trash, no control group frozen, no packet
# filter of CRIU's, no order or ticket that waits for an outcome.
no_leaks() {
  local left
  left=$(
    find "$LAB_DIR/store/staging" "$LAB_DIR/store/trash" -mindepth 1
    find "$LAB_DIR/run/rekindle/containers" -name freeze.json -o -name ticket.json
    # shellcheck disable=SC2016 # the node expands it
    in-node bash -c '
      find /sys/fs/cgroup/freezer -name freezer.state -exec grep -lv THAWED {} + 2>/dev/null
      find /sys/fs/cgroup -name cgroup.events -exec grep -l "frozen 1" {} + 2>/dev/null
      for pid in $(pgrep -x counter); do
        nsenter --target "$pid" --net sh -c "cat /proc/net/ip_tables_names /proc/net/ip6_tables_names; command -v nft >/dev/null && nft list tables" 2>/dev/null | grep -i criu
      done' || true
  )
  [[ -z $left ]] || {
    echo "$left"
    return 1
  }
}
