#!/usr/bin/env bats
# The pressure trigger: a container whose memory comes close to its limit is
# checkpointed while that is still possible, so that the kill for want of memory
# costs little. What fills the memory may be in the checkpoint, though, and so it
# is not restored for ever.
bats_require_minimum_version 1.5.0

setup_file() {
  load lab
  load faults
  settings <<TOML
[limits]
settle = "1s"
max_restores = 2
pressure = 75
TOML
}

teardown_file() {
  load lab
  load faults
  clean
  settings_again
}

setup() {
  load lab
  load faults
  clean
}

# store NAME [KEY=VALUE...] starts a Redis that may use 128 MiB.
store() {
  local name=$1
  shift
  apply <<YAML
apiVersion: v1
kind: Pod
metadata: { name: $name, annotations: $(annotated "$@") }
spec:
  runtimeClassName: rekindle
  terminationGracePeriodSeconds: 1
  containers:
    - name: app
      image: rekindle.test/redis:lab
      imagePullPolicy: Never
      command: [redis-server, --protected-mode, "no", --save, ""]
      readinessProbe: { tcpSocket: { port: 6379 }, periodSeconds: 1 }
      resources: { limits: { memory: 128Mi } }
YAML
  ready "$name"
}

# fill POD FROM TO stores a value of 1 MiB for each number.
fill() {
  kubectl exec "$1" -- redis-cli eval \
    "for i = $2, $3 do redis.call('setrange', 'value:' .. i, 1048575, 'x') end" 0 >/dev/null
}

values() { kubectl exec "$1" -- redis-cli dbsize; }

by_pressure() { rekindle list -o json | jq -r --arg pod "$1" '.checkpoints[] | select(.pod == $pod and .trigger == "pressure").id'; }
under_pressure() { [[ -n $(by_pressure "$1") ]]; }

# overfill POD RESTARTS takes more memory than there is, and waits until the
# container is ready again after having been killed for it.
overfill() {
  fill "$1" 200 300 || true
  wait_for 60 restarted "$2" "$1"
  [[ $(ended "$1") == *OOMKilled ]]
  ready "$1"
}

@test "a container is checkpointed once when its memory nears its limit, and the kill for want of memory costs what came after" {
  local made
  store leaky rekindle.dev/on=pressure rekindle.dev/interval=1h
  fill leaky 1 50
  # Half full is no reason; that it was looked at shows with the next step.
  run -0 by_pressure leaky
  [[ -z $output ]]
  fill leaky 51 100
  wait_for 30 under_pressure leaky
  made=$(by_pressure leaky)
  explains leaky "its memory is at"
  # It goes on rising, but the interval has not passed.
  fill leaky 101 103
  overfill leaky 0
  comes_from leaky "$made"
  explains leaky "after an out-of-memory kill"
  [[ $(values leaky) == 100 ]]
  [[ $(by_pressure leaky) == "$made" ]]
}

restored_times() { at_least "$2" "$(decisions leaky | grep -c "^restore taken $1")"; }

# older_than POD SECONDS: its container was started so long ago.
older_than() {
  local started
  started=$(status_of "$1" '' .state.running.startedAt)
  at_least "$2" $(($(date +%s) - $(date -d "$started" +%s)))
}

@test "a checkpoint is given up when containers restored from it run out of memory again, however long that takes" {
  local made
  store leaky rekindle.dev/on=pressure rekindle.dev/interval=1h
  fill leaky 1 100
  wait_for 30 under_pressure leaky
  made=$(by_pressure leaky)
  for round in 0 1; do
    overfill leaky "$round"
    wait_for 30 restored_times "$made" $((round + 1))
    [[ $(values leaky) == 100 ]]
    # It outlives what else clears a checkpoint of suspicion.
    wait_for 15 older_than leaky 2
  done
  overfill leaky 2
  explains leaky "cold-start taken"
  has "it was restored 2 times" decisions leaky
  [[ $(values leaky) == 0 ]]
}
