#!/usr/bin/env bats
# Suspend and resume: a container sleeps where it is. Its processes are gone and
# its memory is given back, and nothing in Kubernetes has changed.
# shellcheck disable=SC2016 # what is quoted is for the pods' shells

bats_require_minimum_version 1.5.0

setup() {
  load lab
  load asleep
  load faults
  clean
}

teardown() {
  criu_again
  clean
}

# A shell that counts in memory, and prints each number.
shell_counter='[sh, -c, "n=0; while :; do n=$((n+1)); echo $n; sleep 0.1; done"]'

# suspend POD puts a pod to sleep, and sees that its processes are gone and that
# the kubelet has not noticed.
suspend() {
  local pid
  pid=$(present_pid "$1")
  rekindle suspend "default/$1"
  asleep "$1"
  ! in-node test -e "/proc/$pid"
}

# present_pid POD prints the id of the init that the pod's container has now; the
# runtime's notes know only the first.
present_pid() { in-node cat "/run/containerd/io.containerd.runtime.v2.task/k8s.io/$(container_id "$1")/init.pid"; }

# without_gap POD: a shell counter has printed every number, from 1 on.
without_gap() {
  kubectl logs "$1" >"$BATS_TEST_TMPDIR/log"
  diff "$BATS_TEST_TMPDIR/log" <(seq 1 "$(tail -n 1 "$BATS_TEST_TMPDIR/log")")
}

shell() { pod "$1" busybox "$shell_counter" rekindle.dev/on=request "${@:2}"; }

@test "a shell sleeps and wakes three times: it never missed a number, and the kubelet noticed nothing" {
  shell dozer
  local round before
  for round in 1 2 3; do
    wait_for 10 counted_to $((round * 5)) dozer
    suspend dozer
    before=$(last dozer)
    undisturbed dozer

    rekindle resume default/dozer
    awake dozer
    wait_for 10 counted_to $((before + 5)) dozer
    undisturbed dozer
  done
  without_gap dozer
  [ "$(nap dozer times)" = 3 ]
  [ "$(nap dozer wokenBy)" = "asked for on the command line" ]
}

# charged POD prints how much memory, page cache included, is charged to a pod, in
# MiB.
charged() {
  in-node bash -c '
    sandbox=$1
    if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
      file="/sys/fs/cgroup$(sed -n "s/^0:://p" "/proc/$sandbox/cgroup")/../memory.current"
    else
      file="/sys/fs/cgroup/memory$(awk -F: "\$2 == \"memory\" { print \$3 }" "/proc/$sandbox/cgroup")/../memory.usage_in_bytes"
    fi
    echo $(($(<"$file") >> 20))' charged "$(in-node ctr -n k8s.io task ls | awk -v id="$(sandbox_id "$1")" '$1 == id { print $2 }')"
}

@test "Redis sleeps: its memory is given back, and kubectl exec wakes it with all keys" {
  pod redis redis '[redis-server, --protected-mode, "no", --save, ""]' rekindle.dev/on=request
  wait_for 10 kubectl exec redis -- redis-cli ping
  kubectl exec redis -- redis-cli eval \
    "for i = 1, 600000 do redis.call('set', 'key:' .. i, 'value ' .. i) end" 0
  at_least 60 "$(charged redis)"

  suspend redis

  less_than 20 "$(charged redis)"
  undisturbed redis
  [ "$(kubectl exec redis -- redis-cli dbsize)" = 600000 ]
  awake redis
  [ "$(nap redis wokenBy)" = "an exec session" ]
  [ "$(kubectl exec redis -- redis-cli get key:77777)" = "value 77777" ]
  undisturbed redis
}

@test "exit codes are true, of a container that slept and of one that sleeps" {
  pod codes busybox '[sh, -c, "trap \"exit 3\" USR1; while :; do sleep 0.05; done"]' \
    rekindle.dev/on=request rekindle.dev/restore=never
  # A signal that stops nothing by itself wakes the container and is delivered.
  suspend codes
  signal codes SIGUSR1
  wait_for 30 restarted 0 codes
  [ "$(ended codes)" = "3 Error" ]

  # Killed after it woke.
  ready codes
  suspend codes
  rekindle resume default/codes
  in-node kill -9 "$(present_pid codes)"
  wait_for 60 restarted 1 codes
  [ "$(ended codes)" = "137 Error" ]

  # Killed as it slept.
  ready codes
  suspend codes
  signal codes SIGKILL
  wait_for 60 restarted 2 codes
  [ "$(ended codes)" = "137 Error" ]
}

# signal POD SIGNAL has containerd send a signal to the container.
signal() { in-node ctr -n k8s.io task kill -s "$2" "$(container_id "$1")"; }

@test "a stop signal ends a sleeping container as it sleeps, or wakes it, as its policy says" {
  local polite='[sh, -c, "trap \"echo goodbye; exit 7\" TERM; while :; do sleep 0.05; done"]'
  pod silent busybox "$polite" rekindle.dev/on=request rekindle.dev/restore=never
  pod polite busybox "$polite" rekindle.dev/on=request rekindle.dev/restore=never rekindle.dev/stop-asleep=wake
  suspend silent
  suspend polite

  signal silent SIGTERM
  signal polite SIGTERM

  wait_for 30 restarted 0 silent
  wait_for 30 restarted 0 polite
  [ "$(ended silent)" = "143 Error" ]
  [ -z "$(kubectl logs silent --previous)" ]
  [ "$(ended polite)" = "7 Error" ]
  [ "$(kubectl logs polite --previous)" = goodbye ]
}

@test "a pod that is deleted as it sleeps: its successor goes on with the next number" {
  shell heir
  wait_for 10 counted_to 5 heir
  suspend heir
  local before
  before=$(last heir)
  gone heir
  no_remains

  shell heir

  wait_for 10 counted_to $((before + 5)) heir
  [ "$(kubectl logs heir | head -n 1)" = "$((before + 1))" ]
}

@test "the kubelet's statistics of a sleeping container are not zero, and of a woken one go on from there" {
  shell stats
  local before asleep
  wait_for 60 used stats 0
  before=$(cpu_of stats)
  suspend stats
  wait_for 60 used_at_most stats $((1 << 20))
  asleep=$(cpu_of stats)
  at_least "$before" "$asleep"
  rekindle resume default/stats
  wait_for 60 used stats "$asleep"
  at_least $((100 << 10)) "$(memory_used_by stats)"
}

# usage POD prints the container's CPU time and memory as the kubelet knows them.
usage() {
  in-node curl -sS http://127.0.0.1:10255/stats/summary |
    jq -er --arg pod "$1" '.pods[] | select(.podRef.name == $pod).containers[]
      | "\(.cpu.usageCoreNanoSeconds // 0) \(.memory.workingSetBytes // 0)"'
}
cpu_of() { usage "$1" | cut -d' ' -f1; }
memory_used_by() { usage "$1" | cut -d' ' -f2; }
# used POD CPU: more than that, and some memory.
used() {
  local cpu memory
  read -r cpu memory < <(usage "$1")
  echo "cpu $cpu memory $memory"
  ((cpu > $2 && memory > 0))
}
# used_at_most POD BYTES: so little memory, but some.
used_at_most() { (($(memory_used_by "$1") > 0 && $(memory_used_by "$1") <= $2)); }

@test "limits that change as it sleeps hold when it wakes" {
  apply <<YAML
apiVersion: v1
kind: Pod
metadata: { name: bounded, annotations: $(annotated rekindle.dev/on=request) }
spec:
  runtimeClassName: rekindle
  terminationGracePeriodSeconds: 1
  containers:
    - name: app
      image: rekindle.test/busybox:lab
      imagePullPolicy: Never
      command: $shell_counter
      resources: { limits: { memory: 96Mi, cpu: 300m } }
YAML
  ready bounded
  suspend bounded

  kubectl patch pod bounded --subresource resize --patch \
    '{"spec":{"containers":[{"name":"app","resources":{"limits":{"cpu":"500m","memory":"96Mi"},"requests":{"cpu":"500m","memory":"96Mi"}}}]}}'
  wait_for 60 resized bounded 500m
  rekindle resume default/bounded

  [ "$(quota_of "$(present_pid bounded)")" = 50 ]
  undisturbed bounded
}
resized() { [ "$(status_of "$1" '' .resources.limits.cpu)" = "$2" ]; }

# quota_of PID prints the CPU quota of a process in percent.
quota_of() {
  in-node bash -c '
    cpu=$(awk -F: "\",\" \$2 \",\" ~ /,cpu,/ { print \$3 }" "/proc/$1/cgroup")
    if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
      read -r quota period <"/sys/fs/cgroup$(sed -n "s/^0:://p" "/proc/$1/cgroup")/cpu.max"
    else
      read -r quota <"/sys/fs/cgroup/cpu$cpu/cpu.cfs_quota_us"
      read -r period <"/sys/fs/cgroup/cpu$cpu/cpu.cfs_period_us"
    fi
    echo $((quota * 100 / period))' quota "$1"
}

@test "daemon and containerd restarted as it sleeps: it wakes, goes on, and ends as any other" {
  shell outlast
  wait_for 10 counted_to 5 outlast
  suspend outlast
  local before id
  before=$(last outlast)
  id=$(nap outlast checkpoint)

  restart_daemon
  asleep outlast
  restart_containerd
  asleep outlast
  undisturbed outlast
  run ! rekindle remove "$id"

  kubectl exec outlast -- true
  wait_for 10 counted_to $((before + 5)) outlast
  without_gap outlast
  undisturbed outlast
  in-node kill -9 "$(present_pid outlast)"
  wait_for 60 restarted 0 outlast
  [ "$(ended outlast)" = "137 Error" ]
  gone outlast
}

restart_containerd() {
  local before
  before=$(registrations)
  lab-service stop containerd
  lab-service start containerd
  wait_for 30 registered_since "$before"
  wait_for 60 kubectl wait --for=condition=Ready node --all --timeout=1s
}

@test "containerd restarted, and the container woken meanwhile: its log has no gap" {
  shell meanwhile
  wait_for 10 counted_to 5 meanwhile
  suspend meanwhile
  local before
  before=$(last meanwhile)
  lab-service stop containerd
  rekindle resume default/meanwhile
  lab-service start containerd
  wait_for 30 counted_to $((before + 20)) meanwhile
  without_gap meanwhile
  undisturbed meanwhile
}

@test "the shim killed as it sleeps: the pod comes back with its memory, as after any fault" {
  shell orphan
  wait_for 10 counted_to 10 orphan
  suspend orphan
  local before id
  before=$(last orphan)
  id=$(nap orphan checkpoint)

  in-node kill -9 "$(shim_pid orphan)"

  wait_for 90 counted_to $((before + 5)) orphan
  comes_from orphan "$id"
}

@test "CRIU is killed in the middle of the suspension: the container stays awake, and explain says why" {
  # With some memory, the writing of which has a middle.
  pod fails busybox '[sh, -c, "kept=$(head -c 16777216 /dev/zero | tr \"\\0\" x); n=0; while :; do n=$((n+1)); echo $n; sleep 0.1; done"]' \
    rekindle.dev/on=request
  wait_for 30 counted_to 5 fails
  in_the_middle_of_a_dump <<<'kill -KILL $criu'

  run ! rekindle suspend default/fails

  reached_the_middle
  criu_again
  explains fails "suspend failed"
  local before
  before=$(last fails)
  wait_for 10 counted_to $((before + 5)) fails
  undisturbed fails
  without_gap fails
  # And it can be suspended afterwards.
  suspend fails
}

@test "CRIU fails at the resume: the pod is not lost, and explain says why" {
  shell sleeper
  wait_for 10 counted_to 5 sleeper
  suspend sleeper
  local before
  before=$(last sleeper)
  criu_is <<'SH'
if [[ $doing == restore && $(grep -c ^restore "$calls") -le 3 ]]; then
  exit 1
fi
exec "$real" "$@"
SH

  run ! rekindle resume default/sleeper

  wait_for 30 restarted 0 sleeper
  explains sleeper "could not be woken and has ended"
  # The kubelet creates it anew, and it has its memory.
  wait_for 30 counted_to $((before + 5)) sleeper
}

@test "what is in the way of a wake may pass: it is tried again, and nobody notices more than the time" {
  shell patient
  wait_for 10 counted_to 5 patient
  suspend patient
  local before
  before=$(last patient)
  criu_is <<'SH'
if [[ $doing == restore && $(grep -c ^restore "$calls") -le 2 ]]; then
  exit 1
fi
exec "$real" "$@"
SH

  rekindle resume default/patient

  wait_for 10 counted_to $((before + 5)) patient
  undisturbed patient
  without_gap patient
}

@test "one container of a pod sleeps, the other goes on" {
  apply <<YAML
apiVersion: v1
kind: Pod
metadata: { name: pair, annotations: $(annotated rekindle.dev/on=request) }
spec:
  runtimeClassName: rekindle
  terminationGracePeriodSeconds: 1
  containers:
    - { name: one, image: "rekindle.test/busybox:lab", imagePullPolicy: Never, command: $shell_counter }
    - { name: two, image: "rekindle.test/busybox:lab", imagePullPolicy: Never, command: $shell_counter }
YAML
  ready pair
  rekindle suspend default/pair/one
  local one two
  one=$(last pair one)
  two=$(last pair two)

  wait_for 10 further pair two "$two"
  [ "$(last pair one)" = "$one" ]
  in-node kill -9 "$(init_pid pair two)"
  wait_for 30 restarted 0 pair two
  kubectl exec pair -c one -- true
  wait_for 10 further pair one "$one"
  [ "$(restarts pair one)" = 0 ]
}
further() { (($(last "$1" "$2") > $3 + 5)); }

@test "an image cut off, or missing, as it sleeps: refused at once, told, and the pod starts anew" {
  shell cutoff
  shell missing
  wait_for 10 counted_to 50 cutoff
  suspend cutoff
  suspend missing
  truncate -s 4096 "$(dir_of "$(nap cutoff checkpoint)")/criu/pages-1.img"
  rm "$(dir_of "$(nap missing checkpoint)")"/criu/core-1.img

  run ! timeout 10 rekindle resume default/cutoff
  run ! timeout 10 rekindle resume default/missing

  local pod
  for pod in cutoff missing; do
    wait_for 30 restarted 0 "$pod"
    explains "$pod" "the images of the sleeping container are damaged"
    [ "$(ended "$pod")" = "137 Error" ]
    wait_for 30 counted_to 1 "$pod"
    less_than 40 "$(kubectl logs "$pod" | head -n 1)"
  done
  no_remains
}

@test "no room on the disk at the suspension: the container stays awake" {
  shell roomy
  wait_for 10 counted_to 5 roomy
  store_more='min_free = "512TiB"' settings <<<''

  run ! rekindle suspend default/roomy

  explains roomy "suspend failed"
  settings_again
  undisturbed roomy
  without_gap roomy
}

@test "the daemon killed in the middle of a suspension: the container stays awake" {
  shell cut
  wait_for 10 counted_to 5 cut
  criu_is <<'SH'
if [[ $doing == dump ]]; then
  "$lab/bin/lab-service" kill rekindled
fi
exec "$real" "$@"
SH

  run ! rekindle suspend default/cut

  criu_again
  start_daemon
  local before
  before=$(last cut)
  wait_for 10 counted_to $((before + 5)) cut
  undisturbed cut
  without_gap cut
  suspend cut
}

@test "the daemon killed in the middle of a resume: the container wakes" {
  shell forward
  wait_for 10 counted_to 5 forward
  suspend forward
  criu_is <<'SH'
if [[ $doing == restore ]]; then
  "$lab/bin/lab-service" kill rekindled
fi
exec "$real" "$@"
SH

  run ! rekindle resume default/forward

  criu_again
  local before
  before=$(last forward)
  wait_for 10 counted_to $((before + 5)) forward
  start_daemon
  awake forward
  undisturbed forward
  without_gap forward
}

@test "the log is rotated as it sleeps: it goes on in the new file" {
  pod writer busybox '[sh, -c, "n=0; yes 0123456789012345678901234567890123456789012345678901234567890123456789 | head -n 200000; while :; do n=$((n+1)); echo $n; sleep 0.1; done"]' \
    rekindle.dev/on=request
  wait_for 30 counted_to 5 writer
  suspend writer
  local before
  before=$(last writer)

  wait_for 60 rotated writer
  rekindle resume default/writer

  wait_for 10 counted_to $((before + 5)) writer
  undisturbed writer
}
rotated() { (($(in-node bash -c 'ls /var/log/pods/default_"$1"_*/app | wc -l' rotated "$1") > 1)); }

@test "a container with a standard input is not suspended, and told why" {
  apply <<YAML
apiVersion: v1
kind: Pod
metadata: { name: typed, annotations: $(annotated rekindle.dev/on=request) }
spec:
  runtimeClassName: rekindle
  terminationGracePeriodSeconds: 1
  containers: [{ name: app, image: "rekindle.test/busybox:lab", imagePullPolicy: Never, command: $shell_counter, stdin: true }]
YAML
  ready typed
  run rekindle suspend default/typed
  [ "$status" -ne 0 ]
  [[ $output == *"standard input"* ]]
  undisturbed typed
}
