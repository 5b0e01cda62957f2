#!/usr/bin/env bats
# What may happen to a container while it sleeps, or is put to sleep: no memory on the
# node, no room on the disk, a reboot. It is not lost, and it is said what the matter is.
# shellcheck disable=SC2016 # what is quoted is for the node
bats_require_minimum_version 1.5.0

setup() {
  load lab
  load asleep
  load faults
  clean
}

teardown() {
  criu_again
  if in-node mountpoint -q "$LAB_DIR/store"; then
    lab-service stop rekindled
    in-node umount "$LAB_DIR/store"
    start_daemon
  fi
  settings_again
  clean
}

# heavy NAME starts a server with 40 MiB of memory.
heavy() {
  pod "$1" workloads '[sockets, "http=:8080", "heap=40"]' rekindle.dev/on=request
  wait_for 30 has 'heap is there' kubectl logs "$1"
}

# pod_limit POD BYTES bounds the memory of all of a pod.
pod_limit() {
  in-node bash -c '
    sandbox=$(ctr -n k8s.io task ls | awk -v id="$1" "\$1 == id { print \$2 }")
    if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
      file="/sys/fs/cgroup$(sed -n "s/^0:://p" "/proc/$sandbox/cgroup")/../memory.max"
    else
      file="/sys/fs/cgroup/memory$(awk -F: "\$2 == \"memory\" { print \$3 }" "/proc/$sandbox/cgroup")/../memory.limit_in_bytes"
    fi
    echo "$2" >"$file"' limit "$(sandbox_id "$1")" "$2"
}

@test "no memory to wake: the container sleeps on, it is said why, and it wakes when there is some" {
  local answer=$BATS_TEST_TMPDIR/answer number
  heavy large
  number=$(http large / | cut -d' ' -f1)
  rekindle suspend default/large
  pod_limit large $((20 << 20))

  in-node curl -sS --max-time 60 "http://$(pod_ip large):8080/" >"$answer" &
  wait_for 30 has "not enough memory to wake the container: it has 4" nap large heldBack
  has "the memory limit of control group pod" nap large heldBack
  explains large "resume skipped"
  run -1 rekindle resume default/large
  [[ $output == *"not enough memory to wake the container"* ]]
  run ! kubectl exec large -- true
  asleep large
  undisturbed large

  pod_limit large $((200 << 20))
  wait
  [ "$(cut -d' ' -f1 "$answer")" = $((number + 1)) ]
  awake large
  undisturbed large
  [[ $(nap large heldBack) == null ]]
}

@test "the disk is full in the middle of a suspension: the container stays awake, and sleeps when there is room" {
  # A disk of its own, with room for a dump when that begins.
  in-node mount -t tmpfs -o size=128m,mode=700 small "$LAB_DIR/store"
  store_more='min_free = "16MiB"' settings <<<''
  heavy large
  local number
  number=$(http large / | cut -d' ' -f1)
  criu_is <<'SH'
if [[ $doing == dump ]]; then
  dd if=/dev/zero of=$lab/store/filler bs=1M count=110 2>/dev/null
fi
exec "$real" "$@"
SH

  run -1 rekindle suspend default/large

  [[ $output == *"the store's file system is full"* ]]
  explains large "suspend failed"
  undisturbed large
  run ! asleep large
  [ "$(http large / | cut -d' ' -f1)" = $((number + 1)) ]
  criu_again
  in-node rm "$LAB_DIR/store/filler"
  rekindle suspend default/large
  asleep large
  [ "$(http large / | cut -d' ' -f1)" = $((number + 2)) ]
  undisturbed large
}

@test "put to sleep while containerd is down, and woken after its return: it ends as any other" {
  local before
  dreamer
  before=$(registrations)
  lab-service stop containerd
  rekindle suspend default/dreamer
  asleep dreamer
  lab-service start containerd
  wait_for 30 registered_since "$before"
  wait_for 60 kubectl wait --for=condition=Ready node --all --timeout=1s
  asleep dreamer
  before=$(last dreamer)

  wait_for 20 kubectl exec dreamer -- true
  wait_for 10 counted_to $((before + 5)) dreamer
  undisturbed dreamer
  kubectl exec dreamer -- sh -c 'kill -USR1 1'
  wait_for 60 restarted 0 dreamer
  [ "$(ended dreamer)" = "3 Error" ]
  gone dreamer
  no_remains
}

# dreamer starts a shell that counts in memory, prints each number, and can be told
# to end.
dreamer() {
  pod dreamer busybox '[sh, -c, "trap \"exit 3\" USR1; n=0; while :; do n=$((n+1)); echo $n; sleep 0.1; done"]' rekindle.dev/on=request
  wait_for 10 counted_to 20 dreamer
}

@test "the node is booted anew while a pod sleeps: it goes on from where it fell asleep" {
  local before id
  dreamer
  rekindle suspend default/dreamer
  before=$(last dreamer)
  id=$(nap dreamer checkpoint)

  reboot

  wait_for 90 counted_to $((before + 5)) dreamer
  comes_from dreamer "$id"
  [ "$(kubectl logs dreamer | head -n 1)" = $((before + 1)) ]
  no_remains
}

# reboot leaves of the node's own daemons and pods what a reboot does: what is on the
# disk. The control plane is another machine's.
reboot() {
  local name
  for name in kubelet containerd rekindled; do lab-service kill "$name"; done
  in-node bash -c '
    kill -KILL $(pgrep -x containerd-shim)
    while pods=$(find /sys/fs/cgroup -path "*kubepods*" -name cgroup.procs -exec cat {} + | sort -u) && [[ -n $pods ]]; do
      kill -KILL $pods
    done
    awk "\$5 ~ \"^/run/|^/var/lib/kubelet/pods/\" { print \$5 }" /proc/self/mountinfo | sort -r | xargs -r umount -l
    find /run -mindepth 1 -maxdepth 1 ! -name lab -exec rm -rf {} +
    find /sys/fs/cgroup -depth -type d -path "*kubepods*" -exec rmdir {} +
    ip -o link show type bridge | cut -d: -f2 | xargs -r -n 1 ip link delete' reboot
  [ "$(in-node ls /run)" = lab ]
  for name in containerd rekindled kubelet; do lab-service start "$name"; done
  kubectl wait --for=condition=Ready node --all --timeout=60s
}
