#!/usr/bin/env bats
# What only a node with systemd and cgroup version 2 can show: its mount of
# /sys/fs/cgroup stays as systemd made it, and a restored container is where
# systemd puts containers, with its limits in force.
# shellcheck disable=SC2016 # what is quoted is for the node's shell
bats_require_minimum_version 1.5.0

setup_file() {
  load ../bats/lab
  load ../bats/faults
  # Restores count as sound at once: these tests are not about loops.
  settings <<TOML
[limits]
settle = "1s"
max_restores = 100
TOML
}

teardown_file() {
  load ../bats/lab
  load ../bats/faults
  settings_again
}

setup() {
  load ../bats/lab
  load ../bats/faults
}

teardown() {
  in-node mount -o remount,nsdelegate,memory_recursiveprot /sys/fs/cgroup
  clean
}

# cgroup_mount prints the kernel's whole line about it, but for the mount's id.
cgroup_mount() { in-node awk '$5 == "/sys/fs/cgroup" { $1 = ""; $2 = ""; print }' /proc/1/mountinfo; }

# criu_options POD prints the path of the container's CRIU options.
criu_options() { printf '/run/rekindle/containers/%s/criu.conf' "$(container_id "$1")"; }

# cgroup_of POD prints the path of the container's control group.
cgroup_of() { in-node sed -n 's/^0:://p' "/proc/$(init_pid "$1")/cgroup"; }

# confined NAME PROFILE starts a shell that tries, when it is told to, what the
# default profile denies and nothing else does.
confined() {
  apply <<EOF
apiVersion: v1
kind: Pod
metadata: { name: $1, annotations: $(annotated rekindle.dev/on=request) }
spec:
  runtimeClassName: rekindle
  terminationGracePeriodSeconds: 1
  containers:
    - name: app
      image: rekindle.test/busybox:lab
      imagePullPolicy: Never
      command: [sh, -c, 'while sleep 0.2; do [ ! -e /tmp/try ] || (echo x >/proc/uptime) 2>/tmp/said; done']
      securityContext: { appArmorProfile: { type: $2 } }
EOF
  ready "$1"
}

# other_init BEFORE POD: another init than BEFORE runs in the pod's container.
other_init() {
  local pid
  pid=$(init_pid "$2")
  [[ -n $pid && $pid != "$1" ]]
}

@test "the mount options of /sys/fs/cgroup are the same after 20 checkpoints and restores" {
  counter steady
  local before round pid id
  before=$(cgroup_mount)
  [[ $before == *nsdelegate* && $before == *memory_recursiveprot* ]]

  for round in {1..20}; do
    id=$(checkpoint steady)
    pid=$(init_pid steady)
    in-node kill -9 "$pid"
    wait_for 60 other_init "$pid" steady
    wait_for 30 has "restore taken $id" decisions steady
  done

  [ "$(cgroup_mount)" = "$before" ]
}

@test "they would not be, if CRIU were let to manage control groups" {
  counter meddler
  local before
  before=$(cgroup_mount)
  in-node sed -i '/^manage-cgroups/d' "$(criu_options meddler)"

  # The daemon would write the options anew, so runc is asked itself.
  in-node runc --root /run/containerd/runc/k8s.io checkpoint --leave-running \
    --image-path "$BATS_TEST_TMPDIR/images" "$(container_id meddler)"

  [ "$(cgroup_mount)" != "$before" ]
}

@test "a restored container is in its pod's slice, in a scope of its own, with its limits on memory, CPU and processes" {
  more='resources: { limits: { memory: 96Mi, cpu: 300m } }' counter placed
  local before after id
  before=$(cgroup_of placed)
  [[ $before =~ ^/kubepods\.slice/kubepods-pod[0-9a-f_]+\.slice/cri-containerd-[0-9a-f]{64}\.scope$ ]]
  id=$(checkpoint placed)

  crash placed

  comes_from placed "$id"
  after=$(cgroup_of placed)
  [ "${after%/*}" = "${before%/*}" ]
  [[ $after == */cri-containerd-"$(container_id placed)".scope ]]
  [ "$(in-node cat "/sys/fs/cgroup$after/memory.max")" = $((96 << 20)) ]
  [ "$(in-node cat "/sys/fs/cgroup$after/cpu.max")" = "30000 100000" ]
  # It sees its own, and nothing above it.
  [ "$(in-node awk '$5 == "/sys/fs/cgroup" { print $4, substr($6, 1, 3) }' "/proc/$(init_pid placed)/mountinfo")" = "$after ro," ]
  # systemd knows it, and would keep its limits if it wrote them again.
  [ "$(in-node systemctl show --property ActiveState --value "${after##*/}")" = active ]
  [ "$(in-node systemctl show --property MemoryMax --value "${after##*/}")" = $((96 << 20)) ]
  # The kubelet's own limit for a pod's processes holds too.
  [ "$(in-node cat "/sys/fs/cgroup${after%/*}/pids.max")" = 400 ]
  run ! kubectl exec placed -- sh -c 'i=0; while [ $i -lt 450 ]; do sleep 30 & i=$((i+1)); done'
  [[ $output == *"can't fork"* ]]
}

@test "a container whose memory limit is 1.2 times what it uses survives its restore" {
  counter tight -- -ballast 64
  local used limit id
  used=$(in-node awk '/^VmRSS/ { print $2 * 1024 }' "/proc/$(init_pid tight)/status")
  gone tight
  limit=$((used * 12 / 10))
  more="resources: { limits: { memory: \"$limit\" } }" counter tight -- -ballast 64
  id=$(checkpoint tight)

  crash tight

  comes_from tight "$id"
  [ "$(in-node cat "/sys/fs/cgroup$(cgroup_of tight)/memory.max")" = $((limit / 4096 * 4096)) ]
  [ "$(in-node awk '$1 == "oom_kill" { print $2 }' "/sys/fs/cgroup$(cgroup_of tight)/memory.events")" = 0 ]
  [ "$(restarts tight)" = 1 ]
}

@test "a restored process is still confined by AppArmor's default profile" {
  confined confined RuntimeDefault
  confined loose Unconfined
  local id profile
  profile=$(in-node cat "/proc/$(init_pid confined)/attr/apparmor/current")
  [ "$profile" = 'cri-containerd.apparmor.d (enforce)' ]
  id=$(checkpoint confined)

  crash confined

  comes_from confined "$id"
  [ "$(in-node cat "/proc/$(init_pid confined)/attr/apparmor/current")" = "$profile" ]
  # It is the profile that denies this: the kernel alone lets it be opened.
  kubectl exec confined -- touch /tmp/try
  wait_for 10 has 'Permission denied' kubectl exec confined -- cat /tmp/said
  kubectl exec loose -- touch /tmp/try
  wait_for 10 has 'error' kubectl exec loose -- cat /tmp/said
  run ! has 'Permission denied' kubectl exec loose -- cat /tmp/said
}

@test "rekindle check finds that the kernel tells which memory has changed" {
  run -0 in-node rekindle check --config "$LAB_DIR/etc/rekindle.toml" --containerd-config "$LAB_DIR/etc/containerd.toml"
  grep -qE '^dirty tracking +ok +on:' <<<"$output"
  grep -qE '^kernel +ok .*cgroup v2' <<<"$output"
  # And so it is: CRIU's own word.
  in-node criu check --feature mem_dirty_track
}
