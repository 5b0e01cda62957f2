#!/usr/bin/env bats
# An image never gives a process more than its spec allows, and a checkpoint is
# only restored where it can be. Whoever could write to the store would alter
# checkpoints as forge does here: everything that only tells damage fits again.
#
# Scripts are for the node to expand, and bats sets status and output.
# shellcheck disable=SC2016,SC2030,SC2031
bats_require_minimum_version 1.5.0

# What each test alters, by the name of the pod it is done to.
images=(capability capabilities=32 privileges no_new_privs=0 filter seccomp=0 user uid=1000 disk mount=ext4:/mnt
  processes mount=proc:/mnt volume writable=/data pids namespace=pid root namespace=mount upwards file=/../../etc/shadow)
nodes=(kernel kernel=99.1.0 tool criu=99.0.0 runtime runc=99.0.0 machine arch=riscv64 processor cpu=AVX1024 groups cgroup=newest before kernel=1.0.0)

setup_file() {
  load lab
  load faults
  build_test_programs
}

teardown_file() {
  load lab
  load faults
  criu_again
  clean
}

setup() {
  load lab
  load faults
  clean
}

teardown() { criu_again; }

# confined NAME creates a pod that has given up what it can, with a volume that
# it may only read.
confined() {
  pod_more='volumes: [{ name: data, emptyDir: {} }]' \
    more='securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: [ALL] }, seccompProfile: { type: RuntimeDefault } }
      volumeMounts: [{ name: data, mountPath: /data, readOnly: true }]' \
    workload "$1" | apply
}

# alter ID [WHAT=VALUE]... forges a checkpoint, with digests that fit.
alter() { "$test_programs/forge" "$LAB_DIR/store/keys" "$(dir_of "$1")" "${@:2}"; }

# each COMMAND... runs a command for every pod of the list that ${pods[@]} is:
# names, and what is altered for them.
each() {
  local next
  for ((next = 0; next < ${#pods[@]}; next += 2)); do
    "$@" "${pods[next]}" "${pods[next + 1]}" || {
      echo "for pod ${pods[next]}, ${pods[next + 1]}"
      return 1
    }
  done
}

come() { ready "$1"; }

# dump_and_alter POD EDIT leaves the checkpoint's id in a file.
dump_and_alter() {
  checkpoint "$1" >"$BATS_TEST_TMPDIR/$1"
  alter "$(<"$BATS_TEST_TMPDIR/$1")" "$2"
}

fell() { in-node kill -9 "$(init_pid "$1")"; }

is_back() {
  wait_for 90 restarted 0 "$1"
  ready "$1"
}

# reason POD prints what was decided about the pod's altered checkpoint.
reason() { decisions "$1" | grep -F "$(<"$BATS_TEST_TMPDIR/$1")"; }

refused_and_cold() {
  local id
  id=$(<"$BATS_TEST_TMPDIR/$1")
  wait_for 30 quarantined "$id"
  has "more than the container's spec allows" reason "$1"
  run ! called restore "$id"
  cold "$1" 60
  counts_on "$1"
}

@test "images that ask for no more than before are restored, with digests made anew" {
  local id number
  confined same
  ready same
  number=$(count same)
  id=$(checkpoint same)
  alter "$id"
  crash same
  comes_from same "$id"
  (($(count same) >= number))
}

@test "images that would give more than the spec allows are refused before CRIU opens them: cold start, quarantine" {
  local pods=("${images[@]}")
  each confined
  each come
  each dump_and_alter
  criu_is <<<'exec "$real" "$@"'
  each fell
  each is_back
  each refused_and_cold
  has 'CAP_KILL' reason capability
  has 'no_new_privs' reason privileges
  has 'no seccomp filter' reason filter
  has 'user 1000' reason user
  has 'mounted at "/mnt"' reason disk
  has 'a mount at "/mnt"' reason processes
  has 'a mount at "/data"' reason volume
  has "the node's pid namespace" reason pids
  has "the node's mount namespace" reason root
  has 'a file with the name' reason upwards
  # Each has been looked at once.
  [[ $(rekindle list -o json | jq '[.checkpoints[]?] | length') == 0 ]]
}

@test "what CRIU restored with more than the spec allows is killed before it runs, and the container starts cold" {
  local id sound number
  confined late
  ready late
  id=$(checkpoint late)
  # The images change between our look at them and CRIU's, and back again.
  cp -a "$(dir_of "$id")" "$BATS_TEST_TMPDIR/altered"
  "$test_programs/forge" "$LAB_DIR/store/keys" "$BATS_TEST_TMPDIR/altered" capabilities=32
  cp "$BATS_TEST_TMPDIR"/altered/criu/core-*.img "$LAB_DIR/run/"
  sound=$(dir_of "$id")/criu
  criu_is <<SH
if [[ \$doing == restore && ! -e \$calls.done ]]; then
  : >\$calls.done
  mkdir -p $LAB_DIR/run/sound
  cp -a $sound/core-*.img $LAB_DIR/run/sound/
  for image in $LAB_DIR/run/core-*.img; do cat \$image >$sound/\${image##*/}; done
  "\$real" "\$@"
  status=\$?
  for image in $LAB_DIR/run/sound/core-*.img; do cat \$image >$sound/\${image##*/}; done
  exit \$status
fi
exec "\$real" "\$@"
SH
  crash late
  called restore "$id"
  wait_for 30 quarantined "$id"
  has "CAP_KILL" decisions late
  has "more than the container's spec allows" decisions late
  cold late 60
  counts_on late
  no_remains
}

restored_or_not() {
  local id
  id=$(<"$BATS_TEST_TMPDIR/$1")
  listed "$id"
  run ! quarantined "$id"
  [[ $1 == before ]] || cold "$1" 60
  counts_on "$1"
}

@test "what was made with a newer kernel, CRIU or runc, or where processor or control groups are others, starts cold and says so" {
  local pods=("${nodes[@]}") before
  each confined
  each come
  wait_for 30 grown before 20
  each dump_and_alter
  before=$(count before)
  each fell
  each is_back
  each restored_or_not
  has 'it was made on a newer kernel (99.1.0, this node has' decisions kernel
  has 'it was made by a newer CRIU (99.0.0, this node has' decisions tool
  has 'it was made by a newer runc (99.0.0, this node has' decisions runtime
  has 'it was made on another architecture (riscv64, this node is' decisions machine
  has 'it was made on a processor that can do more (AVX1024)' decisions processor
  has 'it was made with other control groups (newest, this node has' decisions groups
  # The other way round nothing is lost: kernels keep what programs rely on.
  comes_from before "$(<"$BATS_TEST_TMPDIR/before")"
  (($(count before) >= before))
}
