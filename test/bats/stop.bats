#!/usr/bin/env bats
# The stop trigger: a container is checkpointed when its pod is deleted, drained
# or evicted, before it gets its stop signal, and the successor goes on from
# that very moment.

# A stop is held back no longer than a pod's grace period.
grace=30

setup() {
  load lab
  load faults
  clean
}

teardown() {
  criu_again
  clean
}

# A shell that says goodbye when it gets SIGTERM, and counts in memory.
polite='[sh, -c, "trap \"echo goodbye; exit 0\" TERM; n=0; while :; do n=$((n+1)); echo $n; sleep 0.1; done"]'

counting() { wait_for 10 counted "$1"; }
counted() { [[ $(last "$1") =~ ^[0-9]+$ ]]; }

# deleted_with_log POD prints the whole log that a pod has written until its end.
deleted_with_log() {
  local log=$BATS_TEST_TMPDIR/$1.log
  timeout 100 kubectl logs -f "$1" >"$log" &
  gone "$1"
  wait $!
  cat "$log"
}

@test "the successor of a deleted pod goes on where the pod was stopped, and no number is counted twice" {
  pod stopped busybox "$polite" rekindle.dev/on=stop
  counting stopped
  local before
  before=$(deleted_with_log stopped)
  pod stopped busybox "$polite" rekindle.dev/on=stop
  counting stopped

  [[ $before != *goodbye* ]]
  [ "$(kubectl logs stopped | head -n 1)" = "$(($(tail -n 1 <<<"$before") + 1))" ]
  has "checkpoint taken" decisions stopped
  has "the container is being stopped" decisions stopped
}

# template NAME COMMAND [RESTART_POLICY] is a pod template for a workload.
template() {
  cat <<YAML
{ metadata: { labels: { app: $1 }, annotations: { rekindle.dev/on: stop } },
  spec: { runtimeClassName: rekindle, terminationGracePeriodSeconds: $grace, restartPolicy: ${3:-Always},
    containers: [{ name: app, image: "rekindle.test/busybox:lab", imagePullPolicy: Never, command: $2 }] } }
YAML
}

deployment() {
  apply <<YAML
apiVersion: apps/v1
kind: Deployment
metadata: { name: dep }
spec: { selector: { matchLabels: { app: dep } }, template: $(template dep "$polite") }
YAML
}

statefulset() {
  apply <<YAML
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: set }
spec: { serviceName: set, selector: { matchLabels: { app: set } }, template: $(template set "$polite") }
YAML
}

# A Job that adds up the numbers to 120 in memory.
job() {
  local sum='[sh, -c, "trap \"echo goodbye; exit 0\" TERM; n=0; s=0; while [ $n -lt 120 ]; do n=$((n+1)); s=$((s+n)); echo $n; sleep 0.1; done; echo sum $s"]'
  apply <<YAML
apiVersion: batch/v1
kind: Job
metadata: { name: sum }
spec: { template: $(template sum "$sum" Never) }
YAML
}

# pod_of NAME prints the pod of a workload that is not on its way out.
pod_of() {
  kubectl get pods -l "app=$1" -o json | jq -er '[.items[]
    | select(.metadata.deletionTimestamp == null and .status.phase != "Failed")][0].metadata.name'
}
runs() { [[ $(kubectl get pod "$(pod_of "$1")" -o jsonpath='{.status.phase}') =~ Running|Succeeded ]]; }

# begun NAME waits until a workload's pod has counted for longer than a new
# replica waits for the others, and writes its log down from then on.
begun() {
  wait_for 30 runs "$1"
  wait_for 30 counted_to 30 "$(pod_of "$1")"
  timeout 100 kubectl logs -f "$(pod_of "$1")" >"$BATS_TEST_TMPDIR/$1.log" 3>&- &
}

# goes_on NAME: the workload's new pod went on with the number after the last
# one of the pod before, which got no signal.
goes_on() {
  local before
  before=$(<"$BATS_TEST_TMPDIR/$1.log")
  wait_for 90 runs "$1"
  wait_for 90 has_log "$(pod_of "$1")"
  echo "$1: $(tail -n 1 <<<"$before"), then $(kubectl logs "$(pod_of "$1")" | head -n 1)"
  [[ $before != *goodbye* ]]
  [ "$(kubectl logs "$(pod_of "$1")" | head -n 1)" = "$(($(tail -n 1 <<<"$before") + 1))" ]
}
has_log() { [[ -n $(kubectl logs "$1") ]]; }

@test "the pods of a drained node go on from there, a StatefulSet's, a Deployment's, a Job's: nothing is computed twice" {
  statefulset
  deployment
  begun set
  begun dep
  # It ends by itself, and must not have by then.
  job
  begun sum

  kubectl drain rekindle-node --ignore-daemonsets --delete-emptydir-data --force --timeout=60s >/dev/null
  wait
  kubectl uncordon rekindle-node >/dev/null

  goes_on sum
  goes_on set
  goes_on dep
  kubectl wait --for=condition=complete job/sum --timeout=60s
  [ "$(last "$(pod_of sum)")" = "sum 7260" ]
}

@test "the replacement of a deleted replica goes on where that was stopped, and no number is counted twice" {
  deployment
  begun dep

  kubectl delete pod "$(pod_of dep)"
  wait

  goes_on dep
}

# dump_that_hangs stands in for CRIU; hangs_in_dump POD deletes the pod, and
# returns when the dump before its stop is under way.
dump_that_hangs() {
  criu_is <<'SH'
[[ $doing != dump ]] || sleep 30
exec "$real" "$@"
SH
}
hangs_in_dump() {
  dump_that_hangs
  kubectl delete pod "$1" --wait=false >/dev/null
  wait_for 10 called dump
}

@test "a dump that outlasts the budget costs the container nothing: it gets its signal and ends as ever" {
  with_stop_budget 1s
  pod slow busybox "$polite" rekindle.dev/on=stop
  counting slow
  dump_that_hangs
  local log
  log=$(deleted_with_log slow)

  [[ $log == *goodbye* ]]
  explains slow "the time for a checkpoint before the stop was over"
  [ -z "$(ls "$LAB_DIR/store/staging")" ]
  with_stop_budget 10s
}

@test "a stop is not held back for longer than the pod's grace period" {
  with_stop_budget 60s
  grace=2 pod brief busybox "$polite" rekindle.dev/on=stop
  counting brief
  dump_that_hangs
  local log
  log=$(deleted_with_log brief)

  [[ $log == *goodbye* ]]
  explains brief "the time for a checkpoint before the stop was over"
  with_stop_budget 10s
}

@test "without the daemon a pod with the stop trigger stops as ever" {
  pod alone busybox "$polite" rekindle.dev/on=stop
  counting alone
  in-node lab-service stop rekindled
  local log
  log=$(deleted_with_log alone)
  in-node lab-service start rekindled

  [[ $log == *goodbye* ]]
}

@test "a dump that fails leaves the container its signal" {
  pod failing busybox "$polite" rekindle.dev/on=stop
  counting failing
  criu_is <<'SH'
[[ $doing != dump ]] || exit 1
exec "$real" "$@"
SH
  local log
  log=$(deleted_with_log failing)

  [[ $log == *goodbye* ]]
  explains failing "checkpoint failed"
}

@test "when the daemon dies in the middle of the checkpoint, the container gets its signal at once" {
  with_stop_budget 60s
  pod orphan busybox "$polite" rekindle.dev/on=stop
  counting orphan
  timeout 100 kubectl logs -f orphan >"$BATS_TEST_TMPDIR/log" 3>&- &
  hangs_in_dump orphan

  in-node lab-service kill rekindled
  wait_for 20 has goodbye cat "$BATS_TEST_TMPDIR/log"
  wait_for 20 deleted orphan
  wait

  in-node lab-service start rekindled
  wait_for 10 rekindle list
  wait_for 10 nothing_staged
  with_stop_budget 10s
}
deleted() { [[ -z $(kubectl get pod "$1" --ignore-not-found -o name) ]]; }

@test "a pod that is force-deleted in the middle of its checkpoint ends within its grace period, and nothing is left" {
  with_stop_budget 60s
  grace=5 pod pressed busybox "$polite" rekindle.dev/on=stop
  counting pressed
  local id pid
  id=$(container_id pressed)
  pid=$(init_pid pressed)
  hangs_in_dump pressed
  in-node kill -0 "$pid"

  kubectl delete pod pressed --grace-period=0 --force >/dev/null 2>&1

  wait_for 20 ended_in_node "$pid"
  wait_for 60 gone_from_node "$id"
  wait_for 10 nothing_staged
  with_stop_budget 10s
}

@test "a second stop signal ends the wait for the checkpoint, and the container gets its signal" {
  with_stop_budget 60s
  grace=60 pod twice busybox "$polite" rekindle.dev/on=stop
  counting twice
  local id
  id=$(container_id twice)
  timeout 100 kubectl logs -f twice >"$BATS_TEST_TMPDIR/log" 3>&- &
  hangs_in_dump twice
  # Whichever of the two signals comes second finds nobody.
  in-node ctr -n k8s.io task kill -s SIGTERM "$id" || true

  wait_for 10 has goodbye cat "$BATS_TEST_TMPDIR/log"
  wait_for 20 deleted twice
  wait
  wait_for 10 nothing_staged
  with_stop_budget 10s
}

@test "SIGKILL ends the wait for the checkpoint, and the container, at once" {
  # So long that the signal is this test's, and not the kubelet's.
  grace=60 pod forced busybox "$polite" rekindle.dev/on=stop
  counting forced
  local id pid
  id=$(container_id forced)
  pid=$(init_pid forced)
  hangs_in_dump forced
  in-node kill -0 "$pid"
  in-node ctr -n k8s.io task kill -s SIGKILL "$id"

  wait_for 3 ended_in_node "$pid"
  wait_for 60 gone_from_node "$id"
}

@test "a checkpoint made while stopping is not used within the same pod" {
  apply <<'YAML'
apiVersion: v1
kind: Pod
metadata: { name: hung, annotations: { rekindle.dev/on: stop } }
spec:
  runtimeClassName: rekindle
  terminationGracePeriodSeconds: 30
  containers:
    - name: app
      image: "rekindle.test/workloads:lab"
      imagePullPolicy: Never
      command: [counter]
      livenessProbe: { httpGet: { port: 8080, path: / }, periodSeconds: 1, failureThreshold: 2 }
YAML
  ready hung
  http hung /add/5000 >/dev/null
  in-node curl -sS --max-time 1 "http://$(pod_ip hung):8080/hang" >/dev/null 2>&1 || true
  wait_for 30 restarted 0 hung
  ready hung

  less_than 1000 "$(http hung /)"
  explains hung "for a successor pod only"
}

ended_in_node() { ! in-node kill -0 "$1" 2>/dev/null; }
gone_from_node() { ! in-node ctr -n k8s.io containers ls -q | grep -q "$1"; }

# with_stop_budget DURATION sets limits.stop_budget and reloads the daemon.
with_stop_budget() {
  sed -i '/^\[limits\]$/,$d' "$LAB_DIR/etc/rekindle.toml"
  printf '[limits]\nstop_budget = "%s"\n' "$1" >>"$LAB_DIR/etc/rekindle.toml"
  in-node lab-service restart rekindled
}
