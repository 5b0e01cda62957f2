#!/usr/bin/env bats
# Before a dump the daemon looks at the container, while it runs, and says what
# will not work, what is lost and what to do. Here its word is held against what
# a real dump does.
bats_require_minimum_version 1.5.0

setup_file() {
  load lab
  load faults
  clean
  rm -rf "$LAB_DIR/outside-volume"
  mkdir "$LAB_DIR/outside-volume"
  everybody >"$BATS_FILE_TMPDIR/pods"
  kubectl apply -f "$BATS_FILE_TMPDIR/pods" >/dev/null
  # Its clients come after it.
  ready server
  kubectl wait --for=condition=Ready pods --all --timeout=120s >/dev/null
}

teardown_file() {
  load lab
  load faults
  settings_again
  clean
  rm -rf "$LAB_DIR/outside-volume"
}

setup() {
  load lab
  load faults
}

# odd NAME ODDITY... prints a pod whose container holds those.
odd() {
  program=oddity workload "$1" -- "${@:2}"
  echo ---
}

# everybody prints the pods of this suite, which start together.
everybody() {
  local outside="volumes: [{ name: v, hostPath: { path: $LAB_DIR/outside-volume } }]"
  odd known netlink packet memfd tcp unix-own=/tmp/socket child zombie flock=/tmp/lock deleted=1000 sparse=1000000000 inotify=/dev/shm
  odd rings io_uring
  odd mptcp mptcp
  odd faults userfaultfd
  odd watcher inotify=/data
  odd renamed linked=/tmp/name
  odd deleted deleted=3000000
  odd users user=1000
  odd traced traced
  odd stopped stopped
  odd sysv sysv
  more='securityContext: { capabilities: { add: [SYS_ADMIN] } }' odd sandbox pidns
  pod_more=$outside more='volumeMounts: [{ name: v, mountPath: /v }]' odd server unix-own=/v/socket
  pod_more=$outside more='volumeMounts: [{ name: v, mountPath: /v }]' odd client unix=/v/socket
  pod_more='volumes: [{ name: v, hostPath: { path: / } }]' more='volumeMounts: [{ name: v, mountPath: /node }]' odd all
  pod_more='volumes: [{ name: d, emptyDir: {} }, { name: m, emptyDir: { medium: Memory } }, { name: c, downwardAPI: { items: [] } }]' \
    more='volumeMounts: [{ name: d, mountPath: /disk }, { name: m, mountPath: /memory }, { name: c, mountPath: /readonly }]' \
    odd losses file=/disk/state tcp
  pod_more='shareProcessNamespace: true' odd shared
  more='stdin: true, tty: true' odd terminal | sed 's/stdin: true, tty: true/stdin: true\n      tty: true/'
}

# preflight POD prints "severity kind what", a line each, and fails with blockers.
preflight() {
  local out status=0
  out=$(rekindle preflight "default/$1" -o json 2>/dev/null) || status=$?
  jq -r '.containers[].findings[] | "\(.severity) \(.kind) \(.what)"' <<<"$out"
  return "$status"
}

# blocked POD KIND: the preflight says so, and a dump does fail, with CRIU's
# words and those of the preflight. The workload runs on.
blocked() {
  run -1 preflight "$1"
  echo "$output"
  [[ $'\n'$output == *$'\n'"blocker $2 "* ]]
  [ "$(grep -c '^blocker' <<<"$output")" = 1 ]

  run -1 rekindle checkpoint "default/$1"
  echo "$output"
  [[ $output == *"Error (criu/"* && $output == *"; the preflight found: "* ]]
  [ "$(http "$1" /)" = ok ]
}

# clear POD: no blocker is found, and a dump succeeds, as does the restore.
clear() {
  local id
  preflight "$1"
  id=$(checkpoint "$1")
  crash "$1"
  comes_from "$1" "$id"
}

@test "what CRIU knows is no obstacle: sockets, locks, children, deleted files, watches of a tmpfs" {
  clear known
}

@test "a terminal is no obstacle" {
  clear terminal
}

@test "io_uring blocks, which explain and the log tell, once" {
  local before
  before=$(preflights rings)
  blocked rings io_uring
  rekindle explain default/rings | grep -F 'io_uring is in use: process 1 "oddity"'
  # It was looked at twice, and is the same.
  [ "$(decisions rings | grep -c '^preflight failed')" = 1 ]
  [ "$(preflights rings)" = $((before + 1)) ]
}

# preflights POD counts the lines about them in the daemon's log.
preflights() { grep 'action=preflight' "$LAB_DIR/log/rekindled.log" | grep -cE "pod=$1( |\$)" || true; }

@test "a Go server that listens with MPTCP blocks, and the variable that helps is named" {
  blocked mptcp mptcp
  run -1 rekindle preflight default/mptcp/app
  [[ $output == *GODEBUG=multipathtcp=0* ]]
}

@test "an object of the kernel that CRIU does not know blocks" {
  blocked faults object
}

@test "a file of the image that is watched with inotify blocks" {
  blocked watcher inotify
}

@test "a process in a process namespace of its own blocks" {
  blocked sandbox namespace
}

@test "the node's root as a volume blocks: CRIU cannot describe mounts below it" {
  blocked all mount
}

@test "a process of another user blocks where the node has no CAP_SYS_RESOURCE" {
  # Bit 24 of what the shim may do.
  if (((0x$(in-node awk '/^CapEff/ {print $2}' "/proc/$(shim_pid users)/status") >> 24) & 1)); then
    clear users
  else
    blocked users limits
  fi
}

@test "a connection to a unix socket of somebody else blocks, at both ends, until it is closed" {
  blocked client unix
  blocked server unix
  gone client
  wait_for 10 preflight server
  checkpoint server
}

@test "an open file that has lost one of its names dumps, but does not restore: a blocker" {
  run -1 preflight renamed
  [[ $output == *"blocker unlinked "* ]]
  local id
  id=$(checkpoint renamed)
  crash renamed
  explains renamed "restore failed $id"
}

# untried POD: CRIU would wait for it, so no dump is tried.
untried() {
  run -1 preflight "$1"
  run -1 rekindle checkpoint "default/$1"
  echo "$output"
  [[ $output == *"the dump was not tried: a process is $2"* && $output != *"Error (criu/"* ]]
  explains "$1" "checkpoint refused"
}

@test "a traced process: a dump, which would wait for it, is not tried" {
  untried traced "being traced"
}

@test "a stopped process: a dump is not tried; when it is continued it is no obstacle" {
  untried stopped stopped
  kubectl exec stopped -- killall -CONT sh
  wait_for 10 preflight stopped
  checkpoint stopped
}

@test "volumes and connections are lost, which is said and keeps nobody from a checkpoint" {
  local said
  said=$(preflight losses)
  echo "$said"
  grep '^loss connection .*process 1 "oddity"' <<<"$said"
  grep -F 'loss volume what is on writable volumes is not in a checkpoint: "/disk", "/memory"' <<<"$said"
  [[ $said != *readonly* ]]
  checkpoint losses
}

@test "System V shared memory: created again in the same pod it starts cold, which is said" {
  preflight sysv | grep '^loss sysv'
  local id
  id=$(checkpoint sysv)
  crash sysv
  explains sysv "restore failed $id"
}

@test "a pod with shareProcessNamespace is left alone, and preflight says why" {
  run -1 rekindle preflight default/shared
  [[ $output == *"its process namespace is shared"* ]]
}

@test "a large deleted file blocks above the node's ghost_limit, and not below it" {
  preflight deleted
  checkpoint deleted
  settings <<<$'[criu]\nghost_limit = "2MiB"'
  wait_for 20 known_again deleted
  blocked deleted deleted
}

# known_again POD: the daemon that was restarted has heard of it.
known_again() { rekindle preflight "default/$1" 2>&1 | grep -v 'no running managed'; }
