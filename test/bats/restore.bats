#!/usr/bin/env bats
# What comes back, and when: in the same pod after a fault, and in a pod that
# takes the place of another.
# shellcheck disable=SC2016 # what is quoted is for the pods' shells

setup() {
  load lab
  clean
}

teardown() { clean; }

# A shell that counts in memory, and prints each number.
shell_counter='[sh, -c, "n=0; while :; do n=$((n+1)); echo $n; sleep 0.1; done"]'

# The first number that the present container has printed.
first() { kubectl logs "$1" | head -n 1; }

# counting POD waits until a shell counter has begun.
counting() { wait_for 10 has_logged "$1"; }
has_logged() { [[ -n $(last "$1") ]]; }

# counter NAME [ANNOTATION=VALUE...] starts a pod that counts in memory and
# tells the number on port 8080.
counter() { pod "$1" workloads '[counter]' "${@:2}"; }

# jump POD NUMBER lets a counter run ahead, further than a cold start could come.
jump() { http "$1" "/add/$2" >/dev/null; }

# warm POD NUMBER, cold POD: is this the memory that had jumped, or a new one?
warm() { at_least "$2" "$(http "$1" /)"; }
cold() { less_than 1000 "$(http "$1" /)"; }

@test "a shell's counter goes on in the same pod after kill -9" {
  pod shell busybox "$shell_counter" rekindle.dev/on=request
  counting shell
  local before after id
  before=$(last shell)
  id=$(checkpoint shell)
  after=$(last shell)

  crash shell

  [ "$(restarts shell)" = 1 ]
  counting shell
  at_least "$((before + 1))" "$(first shell)"
  at_least "$(first shell)" "$((after + 2))"
  comes_from shell "$id"
}

@test "Redis has its 100,000 keys back after kill -9, and kubectl exec works in it" {
  pod redis redis '[redis-server, --protected-mode, "no", --save, ""]' rekindle.dev/on=request
  wait_for 10 kubectl exec redis -- redis-cli ping
  kubectl exec redis -- redis-cli eval \
    "for i = 1, 100000 do redis.call('set', 'key:' .. i, 'value ' .. i) end" 0
  checkpoint redis

  crash redis

  [ "$(restarts redis)" = 1 ]
  [ "$(kubectl exec redis -- redis-cli dbsize)" = 100000 ]
  [ "$(kubectl exec redis -- redis-cli get key:77777)" = "value 77777" ]
  [ "$(kubectl exec redis -- redis-cli set new written)" = OK ]
}

@test "a bare pod that is deleted and created again has its memory" {
  counter bare rekindle.dev/on=request
  jump bare 1000000
  local id
  id=$(checkpoint bare)

  gone bare
  counter bare rekindle.dev/on=request

  warm bare 1000000
  [ "$(restarts bare)" = 0 ]
  comes_from bare "$id"
}

@test "a StatefulSet's pod comes back with its memory under a new address" {
  apply <<EOF
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: set }
spec:
  serviceName: set
  selector: { matchLabels: { app: set } }
  template:
    metadata: { labels: { app: set }, annotations: $(annotated rekindle.dev/on=request) }
    spec:
      runtimeClassName: rekindle
      terminationGracePeriodSeconds: 1
      containers: [{ name: app, image: "rekindle.test/workloads:lab", imagePullPolicy: Never, command: [counter] }]
EOF
  wait_for 30 ready set-0
  jump set-0 1000000
  checkpoint set-0
  local address uid
  address=$(pod_ip set-0)
  uid=$(pod_uid set-0)

  kubectl delete pod set-0
  wait_for 30 other_uid set-0 "$uid"
  ready set-0

  [ "$(pod_ip set-0)" != "$address" ]
  warm set-0 1000000
}

other_uid() { [ "$(pod_uid "$1")" != "$2" ]; }

# deployment REPLICAS [LIFECYCLE GRACE] makes a Deployment of counters, and waits for
# its pods.
deployment() {
  apply <<EOF
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  replicas: $1
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web }, annotations: $(annotated rekindle.dev/on=request) }
    spec:
      runtimeClassName: rekindle
      terminationGracePeriodSeconds: ${3:-1}
      containers: [{ name: app, image: "rekindle.test/workloads:lab", imagePullPolicy: Never, command: [counter], lifecycle: ${2:-{\}} }]
EOF
  wait_for 30 ready_replicas "$1"
}

# replicas prints the names of the pods that are not being deleted.
replicas() {
  kubectl get pods -l app=web -o json | jq -r '.items[] | select(.metadata.deletionTimestamp == null).metadata.name'
}

# ready_replicas NUMBER: so many there are, and all are Ready.
ready_replicas() {
  kubectl get pods -l app=web -o json | jq -e --argjson n "$1" '
    [.items[] | select(.metadata.deletionTimestamp == null)] | length == $n
      and all(.[]; any(.status.conditions[]?; .type == "Ready" and .status == "True"))'
}

# replaced POD: it is not among the replicas any more.
replaced() { ! has "$1" replicas; }

# memories prints the millions that the replicas had jumped ahead.
memories() {
  local pod
  for pod in $(replicas); do echo "$(($(http "$pod" /) / 1000000))"; done | sort -n | paste -sd' '
}

@test "a Deployment's new replica takes over the memory of the deleted one, no other's" {
  deployment 2
  local a b
  read -r a b < <(replicas | paste -sd' ')
  jump "$a" 1000000
  jump "$b" 2000000
  checkpoint "$a"
  checkpoint "$b"

  kubectl delete pod "$a" --wait=false
  wait_for 30 replaced "$a"
  wait_for 30 ready_replicas 2

  [ "$(memories)" = "1 2" ]
}

@test "a replacement that is created before the old replica is told to stop waits for its memory" {
  deployment 1 '{ preStop: { sleep: { seconds: 1 } } }' 5
  local old
  old=$(replicas)
  jump "$old" 1000000
  checkpoint "$old"

  kubectl delete pod "$old" --wait=false
  wait_for 30 replaced "$old"
  wait_for 30 ready_replicas 1

  warm "$(replicas)" 1000000
}

@test "replicas that are deleted together: each checkpoint goes to one successor" {
  deployment 2
  local a b
  read -r a b < <(replicas | paste -sd' ')
  jump "$a" 1000000
  jump "$b" 2000000
  checkpoint "$a"
  checkpoint "$b"

  kubectl delete pod "$a" "$b" --wait=false
  wait_for 30 replaced "$a"
  wait_for 30 replaced "$b"
  wait_for 30 ready_replicas 2
  [ "$(memories)" = "1 2" ]

  # Both are taken now: a third replica begins anew.
  kubectl scale deployment web --replicas=3
  wait_for 30 ready_replicas 3
  [ "$(memories)" = "0 1 2" ]
}

@test "a replica that is added while all live starts cold, and explain says why" {
  deployment 1
  local old new
  old=$(replicas)
  jump "$old" 1000000
  checkpoint "$old"

  kubectl scale deployment web --replicas=2
  wait_for 30 ready_replicas 2

  new=$(replicas | grep -v "$old")
  cold "$new"
  warm "$old" 1000000
  explains "$new" "pod $old, from which it was taken, still runs; waited"
}

@test "three generations: each is checkpointed and restored in its turn" {
  counter line rekindle.dev/on=request
  local generation id
  for generation in 1 2 3; do
    jump line 1000000
    id=$(checkpoint line)
    crash line
    warm line "${generation}000000"
    comes_from line "$id"
  done
  [ "$(restarts line)" = 3 ]
}

@test "restore=never: checkpoints are made, and every start is cold" {
  counter never rekindle.dev/on=request rekindle.dev/restore=never
  jump never 1000000
  checkpoint never

  crash never
  cold never
  explains never "cold-start taken - restoring is switched off"

  gone never
  counter never rekindle.dev/on=request rekindle.dev/restore=never
  cold never
}

@test "restore=fault: restored after a crash, cold in a new pod" {
  counter fault rekindle.dev/on=request rekindle.dev/restore=fault
  jump fault 1000000
  checkpoint fault

  crash fault
  warm fault 1000000

  gone fault
  counter fault rekindle.dev/on=request rekindle.dev/restore=fault
  cold fault
  explains fault "this is a new pod, and rekindle.dev/restore is fault"
}

@test "restore=successor: cold after a crash, restored in a new pod" {
  counter heir rekindle.dev/on=request rekindle.dev/restore=successor
  jump heir 1000000
  checkpoint heir

  crash heir
  cold heir
  explains heir "this is the same pod, and rekindle.dev/restore is successor"

  gone heir
  counter heir rekindle.dev/on=request rekindle.dev/restore=successor
  warm heir 1000000
}

# two [ANNOTATION=VALUE...] starts a pod with the counters app and side.
two() {
  apply <<EOF
apiVersion: v1
kind: Pod
metadata: { name: two, annotations: $(annotated "$@") }
spec:
  runtimeClassName: rekindle
  terminationGracePeriodSeconds: 1
  containers:
    - { name: app, image: "rekindle.test/workloads:lab", imagePullPolicy: Never, command: [counter] }
    - { name: side, image: "rekindle.test/workloads:lab", imagePullPolicy: Never, command: [counter, -listen, ":8081"] }
EOF
  ready two
  http two /add/1000000
  http two /add/1000000 8081
}

@test "CONTAINER.rekindle.dev/... overrides an annotation for one container" {
  two rekindle.dev/on=request side.rekindle.dev/restore=never
  rekindle checkpoint default/two

  crash two app
  crash two side

  at_least 1000000 "$(http two /)"
  less_than 1000 "$(http two / 8081)"
}

@test "rekindle.dev/containers names those that are checkpointed; others are left alone" {
  two rekindle.dev/on=request rekindle.dev/containers=app
  rekindle checkpoint default/two
  [ "$(rekindle list -o json | jq -r '.checkpoints[].container')" = app ]

  crash two app
  crash two side

  at_least 1000000 "$(http two /)"
  less_than 1000 "$(http two / 8081)"
}

@test "a malformed annotation never fails the pod: explain shows it, the rest works" {
  counter odd rekindle.dev/on=request rekindle.dev/interval=often rekindle.dev/keep=-3 \
    rekindle.dev/restore=maybe rekindle.dev/intervall=30s
  local problems key
  problems=$(rekindle explain default/odd -o json | jq -r '.containers[].problems[] | "\(.key) \(.reason)"')
  for key in interval keep restore intervall; do
    has "rekindle.dev/$key " echo "$problems"
  done
  jump odd 1000000
  checkpoint odd

  crash odd

  warm odd 1000000
}

@test "an annotation without any sense leaves the pod as it would have been" {
  counter senseless rekindle.dev/on=whenever
  has "names no trigger" rekindle explain default/senseless -o json
  run rekindle checkpoint default/senseless
  [ "$status" -ne 0 ]

  crash senseless

  cold senseless
}

@test "exit 0 is no fault: a container that ends by itself starts cold, for good" {
  pod job busybox '[sh, -c, "n=0; while [ ! -e /tmp/end ]; do n=$((n+1)); echo $n; sleep 0.1; done"]' rekindle.dev/on=request
  wait_for 10 counted_to 10 job
  checkpoint job

  kubectl exec job -- touch /tmp/end
  wait_for 20 restarted 0 job
  ready job
  counting job
  [ "$(ended job)" = "0 Completed" ]
  [ "$(first job)" = 1 ]
  explains job "the container before this one ended by itself with exit code 0"

  # Nor does a fault later on bring the completed work back, nor a successor.
  crash job
  counting job
  [ "$(first job)" = 1 ]
  gone job
  pod job busybox '[sh, -c, "n=0; while [ ! -e /tmp/end ]; do n=$((n+1)); echo $n; sleep 0.1; done"]' rekindle.dev/on=request
  counting job
  [ "$(first job)" = 1 ]
  explains job "its container ended by itself with exit code 0"
}
