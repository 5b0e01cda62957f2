#!/usr/bin/env bats
# A container that is idle is put to sleep where it is, and whoever needs it wakes
# it. Who must not sleep does not, and who cannot sleep for long is left awake.
# shellcheck disable=SC2016 # what is quoted is for the pods' shells
bats_require_minimum_version 1.5.0

setup_file() {
  load lab
  load faults
  clean
  drowsy_settings
}

# drowsy_settings [TOML] lets containers be idle soon.
drowsy_settings() {
  settings <<TOML
[bounds]
idle_min = "1s"
stay_awake_min = "0s"
wake_min = "1s"
[defaults]
idle_after = "4s"
stay_awake = "0s"
[limits]
settle = "1s"
${1-}
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
  load asleep
  load faults
}

teardown() { clean; }

# drowsy NAME [KEY=VALUE...] starts a counter that is put to sleep when it is idle,
# with the kubelet asking each second whether it is ready.
drowsy() {
  opt_in='' more='livenessProbe: { httpGet: { path: /healthz, port: 8080 }, periodSeconds: 1 }' \
    workload "$1" rekindle.dev/on=idle "${@:2}" | apply
  ready "$1"
}

idleness() { rekindle explain "default/$1" -o json | jq -r '.containers[0].idle.why'; }

@test "an idle container sleeps under its probes, a request wakes it, and it sleeps again" {
  local number
  drowsy web rekindle.dev/stay-awake=15s
  number=$(http web /add/1000000)
  wait_for 60 asleep web
  explains web "suspend taken"
  has "the container was idle for 4s" decisions web
  undisturbed web

  at_least "$number" "$(http web /)"
  awake web
  undisturbed web
  wait_for 20 has "it was woken, and stays awake for" idleness web
  wait_for 60 slept_times web 2
  wait_for 10 asleep web
  undisturbed web
  explains web "resume taken"
}

@test "who is woken again and again is left awake ever longer" {
  drowsy nervous
  apply <<YAML
apiVersion: v1
kind: Pod
metadata: { name: visitor }
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: app
      image: rekindle.test/busybox:lab
      imagePullPolicy: Never
      command: [sh, -c, "while :; do wget -q -O /dev/null http://$(pod_ip nervous):8080/; sleep 7; done"]
YAML
  # It is idle between two visits, and woken 3 s after it fell asleep at the latest.
  wait_for 90 has "(4s, longer for having been woken" idleness nervous
  has "8s are needed" idleness nervous
  [[ $(nap nervous times) == 1 ]]
  undisturbed nervous
}

@test "a container is woken at its time, and at the start of a daemon that is told to" {
  drowsy clock rekindle.dev/wake-at='@every 5s'
  drowsy sleeper
  wait_for 60 asleep clock
  rekindle explain default/clock
  wait_for 30 slept_times clock 2
  [[ $(nap clock wokenBy) == "the time of rekindle.dev/wake-at has come" ]]
  explains clock "resume taken"
  undisturbed clock

  wait_for 60 asleep sleeper
  restart_daemon
  asleep sleeper
  drowsy_settings '[sleep]
at_start = "wake"'
  explains sleeper "resume taken"
  [[ $(nap sleeper wokenBy) == "rekindled has started, and sleep.at_start is wake" ]]
  drowsy_settings
}

@test "who must not sleep does not, and it is said why" {
  local kind opt_in='' program=oddity
  for kind in io_uring packet mptcp traced; do
    workload "${kind//_/-}" rekindle.dev/on=idle -- "$kind" | apply
  done
  pod_more='hostNetwork: true' workload node rekindle.dev/on=idle -- io_uring | sed 's/port: 8080/port: 8089/' | apply
  pod_more='hostPID: true' workload pids rekindle.dev/on=idle | apply
  pod_more='hostIPC: true' workload ipc rekindle.dev/on=idle | apply
  pod_more='shareProcessNamespace: true' workload shared rekindle.dev/on=idle | apply
  pod_more='hostUsers: false' workload users rekindle.dev/on=idle | apply

  refused io-uring "io_uring is in use"
  refused packet "packet socket"
  refused mptcp "an MPTCP socket is open"
  refused traced "traced"
  explains node "hostNetwork"
  explains pids "hostPID"
  explains ipc "hostIPC"
  explains shared "its process namespace is shared"
  explains users "a user namespace (hostUsers: false)"
}

# refused POD REASON: it was idle, and is not put to sleep, for that reason.
refused() {
  wait_for 60 has "suspend " decisions "$1"
  has "$2" decisions "$1"
  wait_for 20 has "what was tried came to nothing; it is tried again in" idleness "$1"
  [[ $(nap "$1" asleep) != true ]]
}
