#!/usr/bin/env bats
# What the kubelet sees of a restored container is what it sees of any other:
# its usage, its limits, its logs, and how it ends. And a pod without our
# annotations is on the rekindle handler as on runc's own.
# shellcheck disable=SC2016 # what is quoted is for the pods' shells

setup() {
  load lab
  clean
}

teardown() { clean; }

# usage POD prints the container's CPU time and memory as the kubelet knows them,
# and when that container started.
usage() {
  in-node curl -sS http://127.0.0.1:10255/stats/summary |
    jq -er --arg pod "$1" '.pods[] | select(.podRef.name == $pod).containers[]
      | "\(.cpu.usageCoreNanoSeconds // 0) \(.memory.workingSetBytes // 0) \(.startTime)"'
}

# used POD SINCE: both are known of a container that was created after SINCE.
used() {
  local cpu memory started
  read -r cpu memory started < <(usage "$1")
  echo "cpu $cpu memory $memory started $started"
  ((cpu > 0 && memory > 0)) && [[ ! $started < $2 ]]
}

# limits POD prints the memory limit in bytes and the CPU quota in percent of
# the control group in which the container's init is.
limits() {
  in-node bash -c '
    # controller NAME: the folder of the control group that has it (version 1).
    controller() {
      awk -F: -v c="$1" "\",\" \$2 \",\" ~ \",\" c \",\" { print \"/sys/fs/cgroup/\" c \$3 }" "/proc/$pid/cgroup"
    }
    pid=$1
    if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
      cd "/sys/fs/cgroup$(sed -n "s/^0:://p" "/proc/$pid/cgroup")"
      memory=$(cat memory.max)
      read -r quota period <cpu.max
    else
      memory=$(cat "$(controller memory)/memory.limit_in_bytes")
      read -r quota <"$(controller cpu)/cpu.cfs_quota_us"
      read -r period <"$(controller cpu)/cpu.cfs_period_us"
    fi
    echo "$memory $((quota * 100 / period))"' limits "$(init_pid "$1")"
}

# limited NAME SCRIPT starts a shell with limits.
limited() {
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
      command: [sh, -c, '$2']
      resources: { limits: { memory: 96Mi, cpu: 300m } }
EOF
  ready "$1"
}

busy='n=0; while [ ! -e /tmp/eat ]; do n=$((n+1)); sleep 0.01; done; exec tail /dev/zero'

@test "after a restore the kubelet knows the container's CPU time and memory" {
  limited stats "$busy"
  local id ended
  id=$(checkpoint stats)

  crash stats

  comes_from stats "$id"
  ended=$(status_of stats '' .lastState.terminated.finishedAt)
  wait_for 60 used stats "$ended"
}

@test "after a restore the memory limit and the CPU quota hold, in the new control group" {
  limited bounded "$busy"
  local id before
  [ "$(limits bounded)" = "$((96 << 20)) 30" ]
  before=$(in-node cat "/proc/$(init_pid bounded)/cgroup")
  id=$(checkpoint bounded)

  crash bounded

  comes_from bounded "$id"
  [ "$(limits bounded)" = "$((96 << 20)) 30" ]
  [ "$(in-node cat "/proc/$(init_pid bounded)/cgroup")" != "$before" ]
}

@test "a restored container that uses too much memory is OOMKilled, and reported so" {
  limited hungry "$busy"
  local id
  id=$(checkpoint hungry)
  crash hungry
  comes_from hungry "$id"

  kubectl exec hungry -- touch /tmp/eat
  wait_for 30 restarted 1 hungry

  [ "$(ended hungry)" = "137 OOMKilled" ]
}

@test "logs go on: no line is missing, before the crash or after the restore" {
  pod talker busybox '[sh, -c, "n=0; while :; do n=$((n+1)); echo $n; sleep 0.02; done"]' rekindle.dev/on=request
  wait_for 10 has 50 kubectl logs talker
  local before after id
  before=$(last talker)
  id=$(checkpoint talker)
  after=$(last talker)

  crash talker
  comes_from talker "$id"

  local first last
  wait_for 10 logged talker 20
  kubectl logs talker >"$BATS_TEST_TMPDIR/now"
  kubectl logs talker --previous >"$BATS_TEST_TMPDIR/previous"
  # Both run without a gap, the present one from the moment of the checkpoint.
  first=$(head -n 1 "$BATS_TEST_TMPDIR/now")
  last=$(tail -n 1 "$BATS_TEST_TMPDIR/now")
  diff "$BATS_TEST_TMPDIR/now" <(seq "$first" "$last")
  last=$(tail -n 1 "$BATS_TEST_TMPDIR/previous")
  diff "$BATS_TEST_TMPDIR/previous" <(seq 1 "$last")
  at_least "$((before + 1))" "$first"
  at_least "$first" "$((after + 1))"
  at_least "$((first - 1))" "$last"
}

# logged POD NUMBER: the present container has printed so many lines.
logged() { at_least "$2" "$(kubectl logs "$1" | wc -l)"; }

@test "exit codes of restored containers: by itself, by a signal it handles, by one it cannot" {
  pod codes busybox '[sh, -c, "trap \"echo told; exit 7\" TERM; while :; do [ -e /tmp/end ] && exit 3; sleep 0.05; done"]' \
    rekindle.dev/on=request
  local id
  id=$(checkpoint codes)
  crash codes
  comes_from codes "$id"
  [ "$(ended codes)" = "137 Error" ]

  # Each is asked of a restored one.
  checkpoint codes
  kubectl exec codes -- touch /tmp/end
  wait_for 30 restarted 1 codes
  ready codes
  [ "$(ended codes)" = "3 Error" ]

  in-node kill -TERM "$(init_pid codes)"
  wait_for 30 restarted 2 codes
  ready codes
  [ "$(ended codes)" = "7 Error" ]
  has told kubectl logs codes --previous

  checkpoint codes
  crash codes
  crash codes
  [ "$(ended codes)" = "137 Error" ]
}

@test "a restored container is told to stop as any other, and may take its time" {
  apply <<EOF
apiVersion: v1
kind: Pod
metadata: { name: polite, annotations: $(annotated rekindle.dev/on=request) }
spec:
  runtimeClassName: rekindle
  terminationGracePeriodSeconds: 30
  containers:
    - name: app
      image: rekindle.test/busybox:lab
      imagePullPolicy: Never
      command: [sh, -c, 'trap "echo told to stop; sleep 1; exit 0" TERM; while :; do sleep 0.05; done']
EOF
  ready polite
  checkpoint polite
  crash polite
  local id log
  id=$(container_id polite)
  log=$BATS_TEST_TMPDIR/log
  kubectl logs polite --follow >"$log" 3>&- &
  local began=$SECONDS

  kubectl delete pod polite --timeout=25s
  less_than 15 $((SECONDS - began))
  wait $! || true
  has "told to stop" cat "$log"
}

# plain NAME [HANDLER] starts a pod without annotations of ours: five containers
# of which each ends in its own way, and one that stays.
plain() {
  apply <<EOF
apiVersion: v1
kind: Pod
metadata: { name: $1 }
spec:
  ${2:+runtimeClassName: $2}
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers:
    - { name: stays, image: "rekindle.test/busybox:lab", imagePullPolicy: Never, command: [sh, -c, "echo begun; while :; do sleep 1; done"] }
    - { name: zero, image: "rekindle.test/busybox:lab", imagePullPolicy: Never, command: [sh, -c, "echo done"] }
    - { name: three, image: "rekindle.test/busybox:lab", imagePullPolicy: Never, command: [sh, -c, "echo three; exit 3"] }
    - { name: term, image: "rekindle.test/busybox:lab", imagePullPolicy: Never, command: [sh, -c, "trap 'exit 143' TERM; while :; do sleep 0.1; done"] }
    - { name: kill, image: "rekindle.test/busybox:lab", imagePullPolicy: Never, command: [sh, -c, "while :; do sleep 1; done"] }
    - name: oom
      image: rekindle.test/busybox:lab
      imagePullPolicy: Never
      command: [tail, /dev/zero]
      resources: { limits: { memory: 24Mi } }
EOF
  wait_for 30 running "$1" stays term kill
  in-node kill -TERM "$(init_pid "$1" term)"
  in-node kill -KILL "$(init_pid "$1" kill)"
  wait_for 30 all_ended "$1" zero three term kill oom
}

# running POD CONTAINER...
running() {
  pod_object "$1" | jq -e '[.status.containerStatuses[]? | select(.state.running).name] | contains($ARGS.positional)' --args "${@:2}"
}
all_ended() {
  pod_object "$1" | jq -e '[.status.containerStatuses[]? | select(.state.terminated).name] | contains($ARGS.positional)' --args "${@:2}"
}

# ends POD prints how each container ended.
ends() {
  pod_object "$1" | jq -r '.status.containerStatuses | sort_by(.name)[]
    | "\(.name) \(.state | keys[0]) \(.state.terminated | "\(.exitCode) \(.signal) \(.reason) \(.message)") restarts \(.restartCount)"'
}

@test "a pod without annotations is on the handler as on runc's own" {
  plain ours rekindle
  plain stock

  local container
  [ "$(in-node ctr -n k8s.io c info "$(container_id ours stays)" | jq -r .Runtime.Name)" = io.containerd.runc.v2 ]
  diff <(ends stock) <(ends ours)
  has "three terminated 3 null Error" ends ours
  has "term terminated 143 null Error" ends ours
  has "kill terminated 137 null Error" ends ours
  has "oom terminated 137 null OOMKilled" ends ours
  for container in stays zero three; do
    diff <(kubectl logs stock -c "$container") <(kubectl logs ours -c "$container")
  done
  # kubectl exec gives the program's words and its exit code.
  local pod
  for pod in stock ours; do
    run kubectl exec "$pod" -c stays -- sh -c 'echo inside; exit 5'
    [ "$status" = 5 ]
    [[ $output == *inside* ]]
  done
  # None of them is a matter for Rekindle.
  run rekindle checkpoint default/ours
  [ "$status" -ne 0 ]
  [ -z "$(rekindle list -o json | jq -r '.checkpoints[]?.id')" ]
}
