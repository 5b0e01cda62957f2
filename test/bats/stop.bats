#!/usr/bin/env bats
# The stop trigger: a container is checkpointed when its pod is deleted, drained
# or evicted, before it gets its stop signal, and the successor goes on from
# that very moment.

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

last() { kubectl logs "$1" --tail=1; }
counting() { wait_for 10 counted "$1"; }
counted() { [[ $(last "$1") =~ ^[0-9]+$ ]]; }

counted_to() { counted "$2" && (($(last "$2") >= $1)); }

# deleted_with_log POD prints the whole log that a pod has written until its end.
deleted_with_log() {
  local log=$BATS_TEST_TMPDIR/$1.log
  kubectl logs -f "$1" >"$log" &
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

@test "the pods of a drained node go on from there: a StatefulSet's, a Deployment's" {
  apply <<'YAML'
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: set }
spec:
  serviceName: set
  replicas: 1
  selector: { matchLabels: { app: set } }
  template:
    metadata: { labels: { app: set }, annotations: { rekindle.dev/on: stop } }
    spec: &pod
      runtimeClassName: rekindle
      terminationGracePeriodSeconds: 2
      containers:
        - { name: app, image: "rekindle.test/workloads:lab", imagePullPolicy: Never, command: [counter] }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: dep }
spec:
  replicas: 1
  selector: { matchLabels: { app: dep } }
  template:
    metadata: { labels: { app: dep }, annotations: { rekindle.dev/on: stop } }
    spec:
      runtimeClassName: rekindle
      terminationGracePeriodSeconds: 2
      containers:
        - { name: app, image: "rekindle.test/workloads:lab", imagePullPolicy: Never, command: [counter] }
YAML
  kubectl rollout status deployment/dep statefulset/set --timeout=60s >/dev/null
  local dep
  dep=$(kubectl get pod -l app=dep -o jsonpath='{.items[0].metadata.name}')
  http set-0 /add/5000 >/dev/null
  http "$dep" /add/7000 >/dev/null

  kubectl drain rekindle-node --ignore-daemonsets --delete-emptydir-data --force --timeout=60s >/dev/null
  kubectl uncordon rekindle-node >/dev/null
  kubectl rollout status deployment/dep statefulset/set --timeout=60s >/dev/null
  dep=$(kubectl get pod -l app=dep --field-selector=status.phase=Running -o jsonpath='{.items[0].metadata.name}')

  at_least 5000 "$(http set-0 /)"
  at_least 7000 "$(http "$dep" /)"
}

@test "the replacement of a deleted replica goes on where that was stopped, and no number is counted twice" {
  apply <<YAML
apiVersion: apps/v1
kind: Deployment
metadata: { name: dep }
spec:
  selector: { matchLabels: { app: dep } }
  template:
    metadata: { labels: { app: dep }, annotations: { rekindle.dev/on: stop } }
    spec:
      runtimeClassName: rekindle
      terminationGracePeriodSeconds: 2
      containers: [{ name: app, image: "rekindle.test/busybox:lab", imagePullPolicy: Never, command: $polite }]
YAML
  kubectl rollout status deployment/dep --timeout=60s >/dev/null
  local old new before
  old=$(kubectl get pod -l app=dep -o jsonpath='{.items[0].metadata.name}')
  wait_for 20 counted_to 30 "$old" # longer than a new replica waits for the others
  before=$(deleted_with_log "$old")
  kubectl rollout status deployment/dep --timeout=60s >/dev/null
  new=$(kubectl get pod -l app=dep -o jsonpath='{.items[0].metadata.name}')
  counting "$new"

  [[ $before != *goodbye* ]]
  [ "$(kubectl logs "$new" | head -n 1)" = "$(($(tail -n 1 <<<"$before") + 1))" ]
}

@test "a dump that outlasts the budget costs the container nothing: it gets its signal and ends as ever" {
  with_stop_budget 1s
  pod slow busybox "$polite" rekindle.dev/on=stop
  counting slow
  criu_is <<'SH'
[[ $doing != dump ]] || sleep 30
exec "$real" "$@"
SH
  local log
  log=$(deleted_with_log slow)

  [[ $log == *goodbye* ]]
  explains slow "the time for a checkpoint before the stop was over"
  [ -z "$(ls "$LAB_DIR/store/staging")" ]
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

@test "SIGKILL ends the wait for the checkpoint, and the container, at once" {
  pod forced busybox "$polite" rekindle.dev/on=stop
  counting forced
  criu_is <<'SH'
[[ $doing != dump ]] || sleep 30
exec "$real" "$@"
SH
  local id pid
  id=$(container_id forced)
  pid=$(init_pid forced)
  kubectl delete pod forced --wait=false >/dev/null
  wait_for 10 has "dump" cat "$criu_calls"
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
  terminationGracePeriodSeconds: 2
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
