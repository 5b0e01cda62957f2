#!/usr/bin/env bats
# A checkpoint may hold the very fault that ends its container. It is tried a
# bounded number of times, then an older one, then a cold start: a container is
# never worse off than without checkpoints.
#
# Scripts are for the node to expand, and bats sets status and output.
# shellcheck disable=SC2016,SC2030,SC2031
bats_require_minimum_version 1.5.0

setup_file() {
  load lab
  load faults
  settings <<TOML
[limits]
max_restores = 2
settle = "4s"
fault_margin = "8s"
TOML
}

teardown_file() {
  load lab
  load faults
  gone doomed
  gone hanging
  settings_again
}

setup() {
  load lab
  load faults
  anew doomed
}

# doomed GRACE: a pod that, once there is /flag/die, exits with code 1 after GRACE
# seconds, restored or not; only a cold start takes the flag away. That file is
# on a volume, which no checkpoint holds.
doomed() {
  apply <<YAML
apiVersion: v1
kind: Pod
metadata:
  name: doomed
  annotations: $(annotated rekindle.dev/on=request)
spec:
  runtimeClassName: rekindle
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 1
  volumes: [{ name: flag, emptyDir: {} }]
  containers:
    - name: app
      image: rekindle.test/busybox:lab
      imagePullPolicy: Never
      volumeMounts: [{ name: flag, mountPath: /flag }]
      command: [sh, -c, "rm -f /flag/die; while [ ! -e /flag/die ]; do sleep 0.5; done; sleep $1; exit 1"]
YAML
  ready doomed
}

lives_at() { [[ $(restarts doomed) == "$1" && $(status_of doomed '' .ready) == true ]]; }

restores_of() { decisions doomed | grep -c "^restore taken $1" || true; }

@test "a container that dies after every restore is given each checkpoint max_restores times, and then a cold start; the checkpoints stay out" {
  local older newer
  doomed 0.5
  older=$(checkpoint doomed)
  newer=$(checkpoint doomed)
  kubectl exec doomed -- touch /flag/die
  # One exit of its own, and one after each of four restores.
  wait_for 90 lives_at 5
  [[ $(restores_of "$newer") == 2 ]]
  [[ $(restores_of "$older") == 2 ]]
  # In that order, the newest decision first.
  run -0 bash -c "grep -E '^(restore|cold-start)' | cut -d' ' -f1-3" < <(decisions doomed)
  [[ ${lines[*]} == "cold-start taken - restore taken $older restore taken $older restore taken $newer restore taken $newer cold-start taken -" ]]
  has 'restored 2 times and the container did not settle' decisions doomed
  # It stays as it is, and does not bring them back by living.
  sleep_until_settled
  lives_at 5
  apart "$newer" "$older"
  crash doomed
  has 'cold-start taken - there is no checkpoint yet' decisions doomed
  # What CRIU and runc wrote is still there to look at.
  [[ $(rekindle logs "$newer" --list | grep -c ' restore ') == 2 ]]
}

# apart ID...: each is in quarantine, with the reason beside it.
apart() {
  local id
  for id in "$@"; do
    has 'did not settle' cat "$LAB_DIR/store/quarantine/$id.reason" || return
    [[ -d $LAB_DIR/store/quarantine/$id ]] || return
  done
}

# The cold container has outlived what counts as settled.
sleep_until_settled() {
  wait_for 15 older_than 5
}
older_than() {
  local started
  started=$(status_of doomed '' .state.running.startedAt)
  (($(date +%s) - $(date -d "$started" +%s) >= $1))
}

@test "a container that ends within the restore itself is counted, and told of, like any other" {
  local only
  doomed 0
  only=$(checkpoint doomed)
  # The last look before the checkpoint is the only one: its next step is the end.
  kubectl exec doomed -- touch /flag/die
  wait_for 90 lives_at 3
  wait_for 30 restored_times "$only" 2
}

restored_times() { (($(restores_of "$1") == $2)); }

@test "a restart of the daemon does not forget how often a checkpoint was tried" {
  local only
  doomed 0.5
  only=$(checkpoint doomed)
  kubectl exec doomed -- touch /flag/die
  wait_for 30 tried "$only" 1
  restart_daemon
  wait_for 90 lives_at 3
  run -0 grep -c "msg=\"restored in .*checkpoint=$only" "$LAB_DIR/log/rekindled.log"
  [[ $output == 2 ]]
}

tried() { grep -q "restored in .*checkpoint=$1" "$LAB_DIR/log/rekindled.log"; }

@test "a container that has settled after a restore may be restored from the same checkpoint again and again" {
  local sound
  counter doomed
  sound=$(checkpoint doomed)
  for _ in 1 2 3; do
    crash doomed
    wait_for 20 unsuspected "$sound"
  done
  [[ $(restores_of "$sound") == 3 ]]
}

# unsuspected ID: no restore of it is held against it.
unsuspected() { [[ $(rekindle inspect "$1" -o json | jq -r '.marks.attempts // 0') == 0 ]]; }

# hang POD: no answer comes any more.
hang() { http "$1" /hang >/dev/null; }

counted_from() { at_least "$(($2 + 90))" "$(count "$1")"; }

@test "after a failed liveness probe a checkpoint is preferred that is older than the hang may be" {
  local older newer began
  more='livenessProbe: { httpGet: { port: 8080, path: /healthz }, periodSeconds: 1, timeoutSeconds: 1, failureThreshold: 2 }' \
    counter hanging
  older=$(checkpoint hanging)
  began=$(count hanging)
  # Eight seconds and more, as the program itself counts them.
  wait_for 20 counted_from hanging "$began"
  hang hanging
  newer=$(checkpoint hanging)
  wait_for 30 restarted 0 hanging
  comes_from hanging "$older"
  explains hanging "as by a failed liveness probe"
  wait_for 20 counts_on hanging
  listed "$newer"
}
