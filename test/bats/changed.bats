#!/usr/bin/env bats
# A checkpoint fits only the container it was taken from: when the pod's spec or
# image has changed since in a way that matters, the next one starts cold and
# says why. What does not matter does not stand in the way.
#
# Scripts are for the node to expand, and bats sets status and output.
# shellcheck disable=SC2016,SC2030,SC2031
bats_require_minimum_version 1.5.0

setup() {
  load lab
  load faults
  # A name of its own for each test: nobody waits for the pod before.
  pod=changing-$BATS_TEST_NUMBER
  anew "$pod"
}

teardown() { kubectl delete pod "$pod" --wait=false --ignore-not-found >/dev/null; }

# first is the pod as it was when its checkpoint $sound was made.
first() {
  counter "$pod"
  number=$(count "$pod")
  sound=$(checkpoint "$pod")
}

# then_as ARGUMENT... replaces it by a pod of the same name.
then_as() {
  gone "$pod"
  counter "$pod" -- "$@"
}

# refused_for REASON: the new pod has started cold, for that reason, and the
# checkpoint is kept for a pod that it fits.
refused_for() {
  cold "$pod" 10
  has "$1" decisions "$pod"
  decisions "$pod" | grep -F "$1" | grep -F "$sound"
  listed "$sound"
}

@test "a successor whose spec is the same is restored" {
  first
  then_as
  has "restore taken $sound" decisions "$pod"
  (($(count "$pod") >= number))
}

@test "another memory limit changes nothing: the successor is restored, and the new limit is in force" {
  local limit
  more='resources: { limits: { memory: 200Mi } }' first
  more='resources: { limits: { memory: 300Mi } }' then_as
  has "restore taken $sound" decisions "$pod"
  (($(count "$pod") >= number))
  limit=$(in-node bash -c "
    path=\$(awk -F: '\$2 == \"memory\" {print \$3}' /proc/$(init_pid "$pod")/cgroup)
    cat /sys/fs/cgroup/memory\$path/memory.limit_in_bytes 2>/dev/null ||
      cat /sys/fs/cgroup\$(awk -F: '\$1 == 0 {print \$3}' /proc/$(init_pid "$pod")/cgroup)/memory.max")
  [[ $limit == $((300 << 20)) ]]
}

@test "a changed environment variable starts cold" {
  more='env: [{ name: GREETING, value: hello }]' first
  more='env: [{ name: GREETING, value: goodbye }]' then_as
  refused_for "spec has changed"
}

@test "changed arguments start cold" {
  first
  then_as -delay 10ms
  refused_for "spec has changed"
}

@test "another user starts cold" {
  first
  more='securityContext: { runAsUser: 1001 }' then_as
  refused_for "spec has changed"
  [[ $(in-node awk '/^Uid:/ {print $2}' "/proc/$(init_pid "$pod")/status") == 1001 ]]
}

@test "an added volume starts cold" {
  first
  pod_more='volumes: [{ name: scratch, emptyDir: {} }]' \
    more='volumeMounts: [{ name: scratch, mountPath: /scratch }]' then_as
  refused_for "spec has changed"
}

@test "an added capability starts cold" {
  first
  more='securityContext: { capabilities: { add: [SYS_TIME] } }' then_as
  refused_for "capabilities"
}

@test "a capability that was taken away does not come back with a checkpoint" {
  first
  more='securityContext: { capabilities: { drop: [ALL] } }' then_as
  refused_for "capabilities"
  [[ $(in-node awk '/^CapEff:/ {print $2}' "/proc/$(init_pid "$pod")/status") == 0000000000000000 ]]
}

@test "a pod that may not gain privileges any more does not come back with the right to" {
  more='securityContext: { allowPrivilegeEscalation: true }' first
  more='securityContext: { allowPrivilegeEscalation: false }' then_as
  refused_for "started cold instead"
  [[ $(in-node awk '/^NoNewPrivs:/ {print $2}' "/proc/$(init_pid "$pod")/status") == 1 ]]
}

@test "a root file system that has become read-only starts cold" {
  first
  more='securityContext: { readOnlyRootFilesystem: true }' then_as
  refused_for "started cold instead"
}

@test "a successor with another image starts cold" {
  first
  image=rekindle.test/workloads:lab2 then_as
  refused_for "another image"
}

@test "an image changed in place starts cold, in the same pod" {
  local before
  first
  before=$(restarts "$pod")
  kubectl set image "pod/$pod" app=rekindle.test/workloads:lab2 >/dev/null
  wait_for 60 restarted "$before" "$pod"
  ready "$pod"
  refused_for "another image"
}
