#!/usr/bin/env bats
# The idle trigger: a container that does nothing for a while is found out, with
# what it did last; one that does anything is not, and it is said what. The
# kubelet's probes are nothing.
#
# Scripts are for the node to expand, and bats sets status and output.
# shellcheck disable=SC2016,SC2030,SC2031
bats_require_minimum_version 1.5.0

setup_file() {
  load lab
  load faults
  clean
  settings <<TOML
[bounds]
idle_min = "1s"
stay_awake_min = "0s"
wake_min = "1s"
[limits]
settle = "1s"
TOML
  everybody | kubectl apply -f - >/dev/null
  kubectl wait --for=condition=Ready pods --all --timeout=120s >/dev/null
  clients | kubectl apply -f - >/dev/null
  kubectl wait --for=condition=Ready pods --all --timeout=120s >/dev/null
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
}

# idler NAME COMMAND [KEY=VALUE...] prints a pod that is idle after 4 s without
# anything, and is checkpointed then, or with $alone one that is left alone. $image is its image, and $more has more of
# its container.
idler() {
  local name=$1 command=$2 keys=(rekindle.dev/on=idle rekindle.dev/idle-after=4s rekindle.dev/idle-action=checkpoint)
  [[ -z ${alone-} ]] || keys=()
  shift 2
  cat <<YAML
---
apiVersion: v1
kind: Pod
metadata: { name: $name, annotations: $(annotated "${keys[@]}" "$@") }
spec:
  runtimeClassName: rekindle
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 1
  containers:
    - { name: app, image: "rekindle.test/${image-busybox}:lab", imagePullPolicy: Never, command: $command${more:+, $more} }
YAML
}

# pair NAME prints such a pod with a second container, whose server listens elsewhere.
pair() {
  idler "$1" "$web"
  cat <<'YAML'
    - { name: beside, image: "rekindle.test/busybox:lab", imagePullPolicy: Never, command: [httpd, -f, -p, "8081", -h, /bin] }
YAML
}

web='[httpd, -f, -p, "8080", -h, /bin]'
probe() { printf '%s: { %s, periodSeconds: 1, timeoutSeconds: 5, failureThreshold: 20 }' "$@"; }

# everybody prints the pods that are looked at, and clients those that talk to them.
everybody() {
  local image=busybox more=
  idler quiet "$web"
  pair served
  idler busy '[sh, -c, "while :; do n=0; while [ $n -lt 4000 ]; do n=$((n+1)); done; sleep 0.1; done"]'
  idler writer '[sh, -c, "while :; do dd if=/dev/zero of=/tmp/file bs=1M count=2 conv=fsync 2>/dev/null; sleep 0.5; done"]' rekindle.dev/idle-cpu=500m
  # The probe itself works harder than a quiet container may.
  more=$(probe livenessProbe 'exec: { command: [sh, -c, "n=0; while [ $n -lt 20000 ]; do n=$((n+1)); done"] }')
  idler probed-hard '[sleep, infinity]'
  image=workloads
  more=$(probe readinessProbe 'httpGet: { path: /, port: 8080 }')
  idler probed-http '[counter]'
  more=$(probe readinessProbe 'tcpSocket: { port: 9000 }')
  idler probed-tcp '[tcpserver]'
  more=$(probe readinessProbe 'grpc: { port: 8080 }')
  idler probed-grpc '[counter]'
  more="$(probe livenessProbe 'exec: { command: [redis-cli, ping] }'), $(probe readinessProbe 'tcpSocket: { port: 6379 }')"
  image=redis
  idler probed-exec '[redis-server, --protected-mode, "no", --save, ""]'
  image=workloads more=
  idler lines '[tcpserver]'
  alone=yes idler server '[tcpserver]'
}

clients() {
  alone=yes idler visitor "[sh, -c, 'while :; do wget -q -O /dev/null http://$(pod_ip served):8080/sh; sleep 0.3; done']"
  idler talker "[sh, -c, '(while :; do echo hello; sleep 0.5; done) | nc $(pod_ip server) 9000 >/dev/null']"
  idler silent "[sh, -c, 'sleep 1000 | nc $(pod_ip server) 9000']"
}

# idleness POD [CONTAINER-FIELD] prints what explain says of it.
idleness() { rekindle explain "default/$1" -o json | jq -r ".containers[0].idle.${2:-why}"; }
signal() { rekindle explain "default/$1" -o json | jq -r --arg name "$2" '.containers[0].idle.signals[] | select(.name == $name) | "\(if .quiet then "quiet" else "active" end) \(.value)"'; }

# made POD[/CONTAINER] prints the checkpoints of the idle trigger.
made() {
  rekindle list -o json | jq -r --arg pod "${1%/*}" --arg container "${1#*/}" \
    '.checkpoints[] | select(.pod == $pod and .trigger == "idle" and ($pod == $container or .container == $container)).id'
}
was_idle() { [[ -n $(made "$1") ]]; }
made_times() { [[ $(made "$1" | wc -l) == "$2" ]]; }

# active_for POD SIGNAL SECONDS: that signal has been active all the time since.
active_for() {
  rekindle explain "default/$1" -o json | jq -e --arg name "$2" --argjson least "$3" '.containers[0].idle.signals[] |
    select(.name == $name) | (.quiet | not) and now - (.since | sub("\\.[0-9]+"; "") | fromdateiso8601) >= $least'
}

# not_idle POD SIGNAL TEXT: it is active because of that signal for longer than it
# would take to be idle, and was not idle meanwhile.
not_idle() {
  local before
  wait_for 30 has "not idle because of" idleness "$1"
  before=$(made "$1/app")
  wait_for 30 active_for "$1" "$2" 6
  has "$2: " idleness "$1"
  has "$3" signal "$1" "$2"
  [[ $(made "$1/app") == "$before" ]]
}

@test "a container that does nothing is checkpointed once, and again after it did something" {
  wait_for 60 was_idle quiet
  explains quiet "the container was idle for 4s"
  wait_for 10 has "idle, and what is to be done was done" idleness quiet
  has "quiet nothing" signal quiet connections
  http quiet /sh >/dev/null
  wait_for 10 has "not idle because" idleness quiet
  wait_for 30 made_times quiet 2
  rekindle explain default/quiet
}

@test "requests keep a container awake, and it is said who asks" {
  not_idle served connections "the busiest between $(pod_ip visitor):"
  [[ $(idleness served) == *"connections: "*"new"*"(quiet is up to 0 B/s)"* ]]
  [[ $(idleness served state) == active ]]
  # Nobody asks the container beside it.
  wait_for 60 was_idle served/beside
  not_idle served connections "port 8080 here"
  kubectl delete pod visitor --now >/dev/null
  wait_for 60 was_idle served/app
}

@test "work without any request keeps a container awake" {
  not_idle busy cpu m
  has "(quiet is up to 20m)" idleness busy
}

@test "writing to the disk keeps a container awake" {
  not_idle writer disk /s
}

@test "what a container sends over a connection of its own keeps it awake, and a silent connection does not" {
  not_idle talker connections "port"
  wait_for 60 was_idle silent
}

@test "the kubelet's probes, each second, keep nobody awake" {
  local name
  for name in http tcp grpc exec hard; do
    wait_for 90 was_idle "probed-$name"
    wait_for 10 has "done" idleness "probed-$name"
    [[ $(restarts "probed-$name") == 0 ]]
  done
  has "of probes" signal probed-http connections
}

@test "an exec session that stays open keeps a container awake" {
  wait_for 60 was_idle lines
  kubectl exec lines -- sleep 10 &
  wait_for 20 has "active open for" signal lines exec
  wait_for 20 has "exec: open for" idleness lines
  wait
}
