#!/usr/bin/env bats
# The ready trigger: one checkpoint when a slow starter is ready, by one of four
# signs. With rekindle.dev/restore: clone the replicas that come later start from
# it, and none of them warms up again.
#
# Scripts are for the node to expand, and bats sets status and output.
# shellcheck disable=SC2016,SC2030,SC2031,SC2034

bats_require_minimum_version 1.5.0

setup() {
  load lab
  load faults
  clean
}

teardown() {
  criu_again
  clean
}

teardown_file() {
  load lab
  kubectl delete namespace elsewhere --ignore-not-found --wait=false >/dev/null
}

# A shell that warms up for three seconds, then counts. It says that it is warm
# in every way there is.
warming='[sh, -c, "echo warming up; sleep 3; mkdir -p /tmp; touch /tmp/rekindle-ready; echo Warm after 3 s; n=0; while :; do n=$((n+1)); echo $n; sleep 0.1; done"]'

# starter NAME [KEY=VALUE...] makes such a pod and does not wait for it. The
# variable "with" has more of its container's YAML.
starter() {
  local name=$1 more
  shift
  more=$(annotated rekindle.dev/on=ready "$@")
  apply <<YAML
apiVersion: v1
kind: Pod
metadata: { name: $name, namespace: ${namespace-default}, annotations: $more }
spec:
  runtimeClassName: rekindle
  terminationGracePeriodSeconds: 1
  containers:
    - { name: app, image: "rekindle.test/busybox:lab", imagePullPolicy: Never, command: $warming, ${with-} }
YAML
}

# start_of POD prints the id of the checkpoint of the ready trigger.
start_of() {
  rekindle list -o json | jq -er --arg pod "$1" '[.checkpoints[]? | select(.trigger == "ready" and .pod == $pod)][0].id'
}
starts() { rekindle list -o json | jq '[.checkpoints[]? | select(.trigger == "ready")] | length'; }

log_of() { kubectl logs "$@"; }
counts() { [[ $(last "$1") =~ ^[0-9]+$ ]]; }

# in_pod POD COMMAND... runs a command in the pod.
in_pod() { kubectl exec "$1" -- "${@:2}"; }

# names_in POD prints its name as the kernel, a file of the kubelet and a volume
# have it, and how often its address stands in /etc/hosts and on its interface.
names_in() {
  in_pod "$1" sh -c 'echo $(hostname; cat /etc/hostname /info/name; echo; grep -c "$1" /etc/hosts; ip -4 addr | grep -c "inet $1/")' \
    sh "$(pod_ip "$1")"
}

# note_of POD prints what the pod is told about its restore.
note_of() { in_pod "$1" cat /.rekindle-restored.json; }

@test "a container is checkpointed once when it is ready: after a time, by a line in its log, by a file, by a port" {
  starter by-time rekindle.dev/ready=after=4s
  with='securityContext: { readOnlyRootFilesystem: true }' starter by-log 'rekindle.dev/ready=log=Warm after'
  starter by-file rekindle.dev/ready=file
  workload by-port rekindle.dev/on=ready rekindle.dev/ready=port=8080 -- -delay 2s | apply
  explains by-time "the container is ready (after=4s)"
  explains by-log "the container is ready (log=\"Warm after\")"
  explains by-file "the container is ready (file)"
  explains by-port "the container is ready (port=8080)"

  local pod start
  for pod in by-log by-file; do
    start=$(start_of "$pod")
    crash "$pod"
    comes_from "$pod" "$start"
    # It goes on behind its start, and does not warm up again.
    wait_for 10 counts "$pod"
    [[ $(log_of "$pod") != *arm* ]]
    # It can tell that it was restored, with a read-only root too.
    note_of "$pod" | jq -e --arg pod "$pod" --arg id "$start" '.pod == $pod and .checkpoint == $id and .restore == 1'
  done
  # What was restored is not checkpointed as ready again.
  [[ $(starts) == 4 ]]
}

@test "the replicas that a Deployment is scaled up by start warm, each with its own name, address and seed" {
  apply <<YAML
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  replicas: 1
  selector: { matchLabels: { app: web } }
  template:
    metadata:
      labels: { app: web }
      annotations: { rekindle.dev/on: ready, rekindle.dev/ready: "log=Warm after", rekindle.dev/restore: clone }
    spec:
      runtimeClassName: rekindle
      terminationGracePeriodSeconds: 1
      containers:
        - name: app
          image: "rekindle.test/busybox:lab"
          imagePullPolicy: Never
          command: $warming
          env: [{ name: MY_IP, valueFrom: { fieldRef: { fieldPath: status.podIP } } }]
          volumeMounts: [{ name: info, mountPath: /info }]
      volumes:
        - { name: info, downwardAPI: { items: [{ path: name, fieldRef: { fieldPath: metadata.name } }] } }
YAML
  kubectl rollout status deployment/web --timeout=60s >/dev/null
  local source start before clones pod
  source=$(kubectl get pod -l app=web -o name | cut -d/ -f2)
  explains "$source" 'the container is ready'
  start=$(start_of "$source")
  before=$(everything_of "$start")

  kubectl scale deployment/web --replicas=3 >/dev/null
  kubectl rollout status deployment/web --timeout=60s >/dev/null
  clones=$(kubectl get pod -l app=web -o name | cut -d/ -f2 | grep -vx "$source")
  [[ $(wc -l <<<"$clones") == 2 ]]
  for pod in $clones; do
    comes_from "$pod" "$start"
    wait_for 10 counts "$pod"
    [[ $(log_of "$pod") != *arm* ]]
    # Its own name and address, wherever a program looks for them.
    [[ $(names_in "$pod") == "$pod $pod $pod 1 1" ]]
    note_of "$pod" >"$BATS_TEST_TMPDIR/$pod.json"
    jq -e --arg pod "$pod" --arg id "$start" --arg uid "$(pod_uid "$pod")" \
      '.pod == $pod and .podUid == $uid and .namespace == "default" and .checkpoint == $id and (.random | test("^[0-9a-f]{64}$"))' \
      "$BATS_TEST_TMPDIR/$pod.json"
  done
  [[ $(jq -rs 'map(.random) | unique | length' "$BATS_TEST_TMPDIR"/web-*.json) == 2 ]]
  [[ $(jq -rs 'map(.restore) | sort | @csv' "$BATS_TEST_TMPDIR"/web-*.json) == 1,2 ]]

  # The source went on as if nothing had been, and the checkpoint is as it was (I4).
  [[ $(restarts "$source") == 0 ]]
  counts "$source"
  run -1 note_of "$source"
  [[ $output == *"No such file"* ]]
  [[ $(everything_of "$start") == "$before" ]]
  [[ $(starts) == 1 ]]

  # One that cannot be restored starts cold.
  criu_is <<'SH'
[[ $doing != restore ]] || exit 1
exec "$real" "$@"
SH
  kubectl scale deployment/web --replicas=4 >/dev/null
  kubectl rollout status deployment/web --timeout=60s >/dev/null
  pod=$(kubectl get pod -l app=web -o name | cut -d/ -f2 | grep -vxF "$source"$'\n'"$clones")
  explains "$pod" "started cold instead"
  wait_for 10 counts "$pod"
  [[ $(log_of "$pod") == *warming* ]]
  run -1 note_of "$pod"
  [[ $output == *"No such file"* ]]
}

@test "a changed spec and another namespace start cold, and leave the checkpoint alone" {
  starter solo rekindle.dev/ready=file rekindle.dev/restore=clone
  explains solo 'the container is ready'
  local start
  start=$(start_of solo)
  gone solo
  with='env: [{ name: CHANGED, value: "yes" }]' starter solo rekindle.dev/ready=after=1h rekindle.dev/restore=clone
  explains solo "the container's spec has changed"
  new_namespace elsewhere
  namespace=elsewhere starter solo rekindle.dev/ready=after=1h rekindle.dev/restore=clone
  wait_for 30 has "there is no checkpoint yet" rekindle explain elsewhere/solo -o json
  kubectl -n elsewhere delete pod solo --now --wait=false >/dev/null

  # The one it was made for has it still.
  gone solo
  starter solo rekindle.dev/ready=file rekindle.dev/restore=clone
  comes_from solo "$start"
}

@test "when the dump at ready fails, the container goes on, and explain says why" {
  criu_is <<'SH'
[[ $doing != dump ]] || exit 1
exec "$real" "$@"
SH
  starter failing rekindle.dev/ready=file rekindle.dev/restore=clone
  explains failing "checkpoint failed"
  wait_for 10 counts failing
  [[ $(restarts failing) == 0 ]]
  [[ $(starts) == 0 ]]
  wait_for 5 nothing_staged
}

@test "a condition that makes no sense never fires, and explain names it" {
  starter typo rekindle.dev/ready=prot=8080 rekindle.dev/restore=clone
  starter path rekindle.dev/ready=file=/etc/passwd
  ready typo
  wait_for 10 has "is not one of after=DURATION" rekindle explain default/typo
  wait_for 10 has "is not one of after=DURATION" rekindle explain default/path
  rekindle explain default/typo -o json | jq -e '.containers[0].settings[] | select(.key == "ready") | .value == "never"'
  [[ $(starts) == 0 ]]
}
