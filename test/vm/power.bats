#!/usr/bin/env bats
# What a node has after its power was cut in the middle of a commit, and after a
# reboot. These tests are run beside the machine, for they switch it off.
# shellcheck disable=SC2016 # what is quoted is for the shell in the machine
bats_require_minimum_version 1.5.0

setup() {
  # shellcheck source=test/vm/settings.sh
  source "$BATS_TEST_DIRNAME/settings.sh"
  guest 'disarm; clean'
}

power() { "$vm_source/power.sh" "$@"; }

# guest SCRIPT runs it in the machine, with what the suites there have.
guest() {
  in_vm bash -euo pipefail -c 'source "$1/env"; export BATS_TEST_TMPDIR=/tmp; cd "$2/test/bats"
    source ./lab.bash; source ./faults.bash; source ./crash.bash; eval "$3"' \
    guest "$vm_lab" "$vm_tree" "$1"
}

@test "the power is cut in the middle of a commit: the store is sound, and the newest committed checkpoint restores" {
  local sound number
  # What was there long before is on the disk; the checkpoint sees to itself.
  guest 'counter victim -- -ballast 16; sync; http victim /add/1000000 >/dev/null'
  sound=$(guest 'checkpoint victim')
  guest 'http victim /add/1000000 >/dev/null
    arm "commit.place wait"
    setsid rekindle checkpoint default/victim >/dev/null 2>&1 </dev/null &
    wait_for 60 reached commit.place'

  power cut
  power on

  guest 'disarm; ready victim; wait_for 60 http victim /'
  [ "$(guest 'rekindle list -o json | jq -r ".checkpoints[].id"')" = "$sound" ]
  guest 'rekindle verify --all && nothing_staged'
  guest "comes_from victim $sound"
  # What it had counted since is lost, as it should be.
  number=$(guest 'http victim /')
  ((number >= 1000000 && number < 2000000))
}

@test "after a reboot of the node a StatefulSet's pod is back with its memory" {
  local id
  guest 'apply <<EOF
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: kept }
spec:
  serviceName: kept
  selector: { matchLabels: { app: kept } }
  template:
    metadata: { labels: { app: kept }, annotations: { rekindle.dev/on: request } }
    spec:
      runtimeClassName: rekindle
      terminationGracePeriodSeconds: 1
      containers:
        - name: app
          image: rekindle.test/workloads:lab
          imagePullPolicy: Never
          command: [counter]
          readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 }
EOF
    wait_for 60 kubectl get pod kept-0
    ready kept-0
    http kept-0 /add/1000000 >/dev/null'
  id=$(guest 'checkpoint kept-0')

  power off
  power on

  guest "ready kept-0; wait_for 60 http kept-0 /; comes_from kept-0 $id"
  (($(guest 'http kept-0 /') >= 1000000))
}
