#!/usr/bin/env bats
# What a tenant can write (annotations, names, labels) chooses from closed lists
# and bounded numbers. It never leads to a file, an option, another pod's
# checkpoint or another namespace.
#
# Scripts are for the node to expand, and bats sets status and output.
# shellcheck disable=SC2016,SC2030,SC2031
bats_require_minimum_version 1.5.0

setup_file() {
  load lab
  load faults
  # The worst case: a runtime that hands every annotation of a pod on to runc.
  cp "$LAB_DIR/etc/containerd.toml" "$LAB_DIR/etc/containerd.toml.before"
  sed -i -e '/container_annotations/d' \
    -e '/containerd-shim-rekindle-v2"/a pod_annotations = ["*", "*/*"]\ncontainer_annotations = ["*", "*/*"]' "$LAB_DIR/etc/containerd.toml"
  restart_containerd
  printf 'this is no option of CRIU\n' >"$LAB_DIR/evil.conf"
  new_namespace other
}

teardown_file() {
  load lab
  load faults
  mv "$LAB_DIR/etc/containerd.toml.before" "$LAB_DIR/etc/containerd.toml"
  restart_containerd
  kubectl delete deployment web --ignore-not-found >/dev/null
  kubectl delete pod tenant intruder hostile --ignore-not-found >/dev/null
  kubectl delete namespace other >/dev/null
}

restart_containerd() {
  local before
  before=$(registrations)
  lab-service restart containerd
  wait_for 30 registered_since "$before"
}

setup() {
  load lab
  load faults
  for pod in tenant intruder hostile; do anew "$pod"; done
}

teardown() { lab-service pid rekindled >/dev/null || start_daemon; }

# bundle_annotation ID KEY prints what runc is given.
bundle_annotation() {
  jq -r --arg key "$2" '.annotations[$key] // "none"' \
    "$LAB_DIR/run/containerd/io.containerd.runtime.v2.task/k8s.io/$1/config.json"
}

@test "annotations of a pod do reach runc here, so that what follows means something" {
  opt_in='' counter tenant example.com/anything=reaches
  [[ $(bundle_annotation "$(container_id tenant)" example.com/anything) == reaches ]]
}

@test "a tenant's org.criu.config and internal marks are taken from a pod without rekindle.dev/on" {
  local id
  opt_in='' counter tenant org.criu.config="$LAB_DIR/evil.conf" internal.rekindle.dev/managed=1
  id=$(container_id tenant)
  [[ $(bundle_annotation "$id" org.criu.config) == none ]]
  [[ $(bundle_annotation "$id" internal.rekindle.dev/managed) == none ]]
  [[ $(bundle_annotation "$(sandbox_id tenant)" org.criu.config) == none ]]
  [[ ! -e $LAB_DIR/run/rekindle/containers/$id ]]
}

@test "a tenant's org.criu.config is replaced by the daemon's own file, for dumps and restores" {
  local id sound
  counter tenant org.criu.config="$LAB_DIR/evil.conf" internal.rekindle.dev/managed=../../evil
  id=$(container_id tenant)
  [[ $(bundle_annotation "$id" org.criu.config) == "/run/rekindle/containers/$id/criu.conf" ]]
  [[ $(bundle_annotation "$id" internal.rekindle.dev/managed) == 1 ]]
  # With the tenant's file CRIU would refuse to work.
  sound=$(checkpoint tenant)
  crash tenant
  has "restore taken $sound" decisions tenant
  id=$(container_id tenant)
  [[ $(bundle_annotation "$id" org.criu.config) == "/run/rekindle/containers/$id/criu.conf" ]]
}

@test "while the daemon is down, the shim itself takes org.criu.config away" {
  local id
  lab-service stop rekindled
  counter tenant org.criu.config="$LAB_DIR/evil.conf" internal.rekindle.dev/managed=1
  id=$(container_id tenant)
  [[ $(bundle_annotation "$id" org.criu.config) == none ]]
  [[ $(bundle_annotation "$(sandbox_id tenant)" org.criu.config) == none ]]
  [[ ! -e $LAB_DIR/run/rekindle/containers/$id ]]
  start_daemon
  counts_on tenant
  run rekindle checkpoint default/tenant
  ((status != 0))
}

@test "a mark that a tenant set opens no run directory: not even that of another container" {
  local victim id
  counter tenant
  victim=$(container_id tenant)
  lab-service stop rekindled
  opt_in='' counter intruder internal.rekindle.dev/managed="$victim" org.criu.config="/run/rekindle/containers/$victim/criu.conf"
  id=$(container_id intruder)
  [[ $(bundle_annotation "$id" org.criu.config) == none ]]
}

# hostile VALUE makes a pod with that value in every one of our keys but on, and
# in overrides for its container, and proves that it is as safe as any.
hostile() {
  local sound
  workload hostile | kubectl create --dry-run=client -o json -f - |
    jq --rawfile value "$1" '.metadata.annotations += ([
      "idle-after", "idle-action", "idle-cpu", "idle-traffic", "stay-awake", "connections", "probes", "stop-asleep", "wake-at"
      ] | map({"rekindle.dev/\(.)": $value}) | add) | .metadata.annotations += {
      "rekindle.dev/on": ("request,ready,idle," + $value),
      "rekindle.dev/interval": $value, "rekindle.dev/keep": $value, "rekindle.dev/restore": $value,
      "rekindle.dev/ready": $value,
      "app.rekindle.dev/restore": $value, "app.rekindle.dev/containers": $value,
      "../../../etc.rekindle.dev/on": "x"} | del(.metadata.annotations["../../../etc.rekindle.dev/on"])' >"$BATS_TEST_TMPDIR/pod.json"
  kubectl create -f "$BATS_TEST_TMPDIR/pod.json" >/dev/null
  ready hostile
  sound=$(checkpoint hostile)
  # In its own place, nowhere else.
  [[ $(dir_of "$sound") == "$LAB_DIR/store/checkpoints/default/pod.hostile/app/$sound" ]]
  # Each value is named as a problem, short and harmless to a terminal.
  rekindle explain default/hostile >"$BATS_TEST_TMPDIR/explain"
  run ! grep -qP '[\x00-\x08\x0b-\x1f\x7f]' "$BATS_TEST_TMPDIR/explain"
  (($(wc -c <"$BATS_TEST_TMPDIR/explain") < 20000))
  for key in interval keep ready restore idle-after idle-action idle-cpu idle-traffic stay-awake connections probes stop-asleep wake-at; do
    has "rekindle.dev/$key" jq -r '.containers[0].problems[].key' <<<"$(rekindle explain default/hostile -o json)"
  done
  run ! grep -qP '[\x00-\x08\x0b-\x1f\x7f]' "$LAB_DIR/log/rekindled.log"
  crash hostile
  has "restore taken $sound" decisions hostile
}

@test "paths as values are refused, and lead nowhere" {
  printf '../../../../etc/criu/default.conf' >"$BATS_TEST_TMPDIR/value"
  hostile "$BATS_TEST_TMPDIR/value"
}

@test "newlines and control characters as values are refused, and never reach a log or a terminal" {
  printf 'never\nlevel=error msg=forged\r\x1b[2Jgone\x07\x7f' >"$BATS_TEST_TMPDIR/value"
  hostile "$BATS_TEST_TMPDIR/value"
  run ! grep -q '^level=error msg=forged' "$LAB_DIR/log/rekindled.log"
}

@test "values as long as Kubernetes allows are refused, and shown cut" {
  # All annotations of a pod together may have 256 KiB.
  head -c 15000 /dev/zero | tr '\0' 9 >"$BATS_TEST_TMPDIR/value"
  hostile "$BATS_TEST_TMPDIR/value"
}

@test "shell and option syntax as values is refused" {
  # shellcheck disable=SC2016
  printf '$(touch /tmp/rekindle-owned); --action-script=/tmp/x `id` ../*' >"$BATS_TEST_TMPDIR/value"
  hostile "$BATS_TEST_TMPDIR/value"
  run ! in-node test -e /tmp/rekindle-owned
}

@test "a pod of the same name in another namespace starts cold" {
  local sound
  counter tenant
  sound=$(checkpoint tenant)
  gone tenant
  namespace=other workload tenant | apply
  kubectl -n other wait --for=condition=Ready pod/tenant --timeout=60s >/dev/null
  run -0 rekindle explain other/tenant -o json
  [[ $(jq -r '.containers[0].decisions[0].action' <<<"$output") == cold-start ]]
  [[ $output != *"$sound"* ]]
  # It is still there for its own successor.
  counter tenant
  has "restore taken $sound" decisions tenant
}

# web makes a Deployment of one pod and sets pod and hash to its own.
web() {
  workload pod | kubectl create --dry-run=client -o json -f - | jq '{
    apiVersion: "apps/v1", kind: "Deployment", metadata: {name: "web"},
    spec: {replicas: 1, selector: {matchLabels: {app: "web"}}, template: {
      metadata: {annotations: .metadata.annotations, labels: {app: "web"}}, spec: .spec}}}' | kubectl apply -f - >/dev/null
  kubectl rollout status deployment/web --timeout=60s >/dev/null
  pod=$(kubectl get pod -l app=web -o jsonpath='{.items[0].metadata.name}')
  hash=$(kubectl get pod "$pod" -o jsonpath='{.metadata.labels.pod-template-hash}')
}

# started_cold POD: no checkpoint was ever thought of for a pod of that name.
started_cold() {
  run -0 bash -c 'sort -u' < <(decisions "$1")
  [[ $output == "cold-start taken - there is no checkpoint yet" ]]
}

no_pods_of_web() { [[ -z $(kubectl get pod -l app=web -o name) ]]; }

@test "a label with another Deployment's template hash opens none of its checkpoints" {
  local sound
  web
  sound=$(checkpoint "$pod")
  kubectl scale deployment/web --replicas=0 >/dev/null
  wait_for 30 no_pods_of_web
  labels="{ pod-template-hash: \"$hash\" }" counter intruder
  started_cold intruder
  # Nor does the hash in a name without the label.
  counter "other-$hash-abcde"
  started_cold "other-$hash-abcde"
  gone "other-$hash-abcde"
  # Its own successor gets it.
  kubectl scale deployment/web --replicas=1 >/dev/null
  kubectl rollout status deployment/web --timeout=60s >/dev/null
  pod=$(kubectl get pod -l app=web -o jsonpath='{.items[0].metadata.name}')
  has "restore taken $sound" decisions "$pod"
}

@test "labels of a StatefulSet's pod open none of its checkpoints" {
  local sound
  counter tenant
  sound=$(checkpoint tenant)
  gone tenant
  labels='{ statefulset.kubernetes.io/pod-name: tenant, apps.kubernetes.io/pod-index: "0", controller-revision-hash: tenant-1 }' \
    counter intruder
  started_cold intruder
  listed "$sound"
}

@test "the store, the run directory and the sockets are the superuser's alone" {
  local sound
  counter tenant
  sound=$(checkpoint tenant)
  [[ $(stat -c '%a %u' "$LAB_DIR/store") == '700 0' ]]
  [[ $(stat -c '%a %u' "$(dir_of "$sound")") == '700 0' ]]
  # What the container itself wrote keeps its modes, below directories that are closed.
  run -0 find "$(dir_of "$sound")" -not -path '*/rootfs*' -not -path '*/shm*' -perm /077
  [[ -z $output ]]
  [[ $(stat -c '%a %u' "$LAB_DIR/run/rekindle") == '700 0' ]]
  [[ $(stat -c '%a %u' "$LAB_DIR/run/rekindle/rekindled.sock") == '600 0' ]]
  # CRIU writes its logs into work/ as it likes; nobody else gets there.
  run -0 find "$LAB_DIR/run/rekindle" -not -path '*/work/*' -perm /077
  [[ -z $output ]]
  run -0 find "$LAB_DIR/run/containerd/s" -type s -perm /077
  [[ -z $output ]]
  run ! in-node setpriv --reuid=65534 --regid=65534 --clear-groups ls /run/rekindle
  run ! in-node setpriv --reuid=65534 --regid=65534 --clear-groups rekindle list
}
