#!/usr/bin/env bats
# The least that a node with systemd and cgroup version 2 must show, with a
# kubelet and no control plane, so that it can be part of every run: the machine
# is up, a static pod comes back with its memory, and the machine's control
# groups are mounted as before.
# shellcheck disable=SC2016 # what is quoted is for the node's shell
bats_require_minimum_version 1.5.0

setup_file() {
  load ../bats/lab
  cgroup_mount >"$BATS_FILE_TMPDIR/cgroup-mount"
}

setup() { load ../bats/lab; }

teardown_file() { rm -f "$LAB_DIR/etc/manifests/counter.yaml"; }

cgroup_mount() { awk '$5 == "/sys/fs/cgroup" { $1 = ""; $2 = ""; print }' /proc/1/mountinfo; }

# counted prints the number of the one pod there is.
counted() {
  local address=("$LAB_DIR"/cni/lab/10.*)
  curl -fsS --max-time 5 "http://${address[-1]##*/}:8080${1:-/}"
}
counted_up_to() { at_least "$1" "$(counted)"; }

@test "the machine is up: systemd, cgroup version 2, AppArmor; rekindle check finds nothing missing" {
  [ "$(systemctl is-system-running)" = running ]
  [ "$(stat --file-system --format %T /sys/fs/cgroup)" = cgroup2fs ]
  [ "$(cat /sys/module/apparmor/parameters/enabled)" = Y ]
  run -0 in-node rekindle check --config "$LAB_DIR/etc/rekindle.toml" --containerd-config "$LAB_DIR/etc/containerd.toml"
  grep -qE '^runtime handler +ok +rekindle, SystemdCgroup = true' <<<"$output"
}

@test "a container goes on with its memory after kill -9, confined and in its slice as before" {
  local pod=default/counter-rekindle-node id group before pid
  cat >"$LAB_DIR/etc/manifests/.counter.yaml" <<EOF
apiVersion: v1
kind: Pod
metadata: { name: counter, annotations: { rekindle.dev/on: request } }
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - { name: app, image: "rekindle.test/workloads:lab", imagePullPolicy: Never, command: [counter] }
EOF
  mv "$LAB_DIR/etc/manifests/.counter.yaml" "$LAB_DIR/etc/manifests/counter.yaml"
  wait_for 60 counted
  counted /add/1000000
  id=$(rekindle checkpoint "$pod" -o json | jq -er '.checkpoints[0].id')
  pid=$(pgrep -x counter)
  group=$(sed -n 's/^0:://p' "/proc/$pid/cgroup")

  kill -9 "$pid"

  wait_for 60 counted_up_to 1000000
  wait_for 30 has "restore taken $id" bash -c "rekindle explain $pod -o json |
    jq -r '.containers[].decisions[]? | \"\(.action) \(.outcome) \(.checkpoint)\"'"
  pid=$(pgrep -x counter)
  before=${group%/*}
  group=$(sed -n 's/^0:://p' "/proc/$pid/cgroup")
  [[ $group == "$before"/cri-containerd-*.scope ]]
  # It sees its own control group, and nothing above it.
  [ "$(awk '$5 == "/sys/fs/cgroup" { print $4, substr($6, 1, 3) }' "/proc/$pid/mountinfo")" = "$group ro," ]
  [ "$(cat "/proc/$pid/attr/apparmor/current")" = 'cri-containerd.apparmor.d (enforce)' ]
}

@test "/sys/fs/cgroup is mounted as before" {
  [ "$(cgroup_mount)" = "$(<"$BATS_FILE_TMPDIR/cgroup-mount")" ]
  [[ $(cgroup_mount) == *nsdelegate*memory_recursiveprot* ]]
}
