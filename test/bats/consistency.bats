#!/usr/bin/env bats
# rekindle.dev/consistency: pod. The containers of a pod are frozen, dumped and
# let go on together, and restored together or not at all: here two programs that
# would notice if one came from another moment than the other.
#
# Scripts are for the node to expand, and bats sets status and output.
# shellcheck disable=SC2016,SC2030,SC2031
bats_require_minimum_version 1.5.0

memory=/dev/shm

# A stop is held back no longer than a pod's grace period.
grace=30

setup_file() {
  load lab
  load faults
  settings <<TOML
[bounds]
interval_min = "1s"
[limits]
settle = "1s"
TOML
}

teardown_file() {
  load lab
  load faults
  criu_again
  clean
  settings_again
}

setup() {
  load lab
  load faults
  # What was decided about a pod is remembered under its name.
  pod=pair-$BATS_TEST_NUMBER
}

teardown() {
  criu_again
  clean
}

# pair [KEY=VALUE...] makes $pod, of two containers: "lead" counts, and "follow"
# takes each number over. Unless said otherwise rekindle.dev/consistency is pod.
# $memory is where they keep their numbers besides.
pair() {
  local settings=(rekindle.dev/consistency=pod rekindle.dev/on=request "$@")
  apply <<YAML
apiVersion: v1
kind: Pod
metadata: { name: $pod, annotations: $(annotated "${settings[@]}") }
spec:
  runtimeClassName: rekindle
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: $grace
  containers:
    - { name: lead, image: "rekindle.test/workloads:lab", imagePullPolicy: Never, command: [pair, lead, $memory] }
    - { name: follow, image: "rekindle.test/workloads:lab", imagePullPolicy: Never, command: [pair, follow, $memory] }
YAML
  ready "$pod"
  wait_for 20 in_step
}

# knows CONTAINER prints what a program knows.
knows() {
  case $1 in
    lead) http "$pod" / 8080 ;;
    follow) http "$pod" / 8081 ;;
  esac
}
number() { knows "$1" | jq -e .number; }
torn() { knows follow | jq -r .torn; }
shared() { knows "$1" | jq -r .shared; }

# in_step: the two are at it, and agree.
in_step() {
  local before
  before=$(number follow)
  sleep 0.1
  (($(number lead) > before && $(number follow) > before))
}

# of_one_moment: they go on, and never met a number of another time.
of_one_moment() {
  wait_for 20 in_step
  [[ $(torn) == '' ]] || {
    echo "torn: $(torn)"
    return 1
  }
  [[ $(shared lead) == true && $(shared follow) == true ]]
}

# sets prints the sets that there are, the newest first, with their containers.
sets() {
  rekindle list -o json |
    jq -r '[.checkpoints[] | select(.set)] | group_by(.set) | sort_by(.[0].set) | reverse[] | "\(.[0].set) \([.[].container] | sort | join(","))"'
}
whole_set() { [[ $(sets | head -n 1) == *" follow,lead" ]]; }

# why CONTAINER prints the decisions about one of them, the newest first.
why() {
  rekindle explain "default/$pod" -o json |
    jq -r --arg c "$1" '.containers[] | select(.name == $c).decisions[]? | "\(.action) \(.outcome) \(.reason)"'
}

# both run on in their containers, neither frozen nor traced.
both_unharmed() {
  local c
  for c in lead follow; do
    wait_for 10 thawed "$pod" "$c"
    [[ $(restarts "$pod" "$c") == 0 ]]
  done
  of_one_moment
  wait_for 5 nothing_staged
}

@test "both are of one moment: a successor goes on with both, /dev/shm included, and neither met another time" {
  local made before
  pair
  made=$(rekindle checkpoint "default/$pod" -o json)
  before=$(number lead)
  # One pause, two checkpoints, each of which knows the other.
  [[ $(jq -r '[.checkpoints[].set] | unique | length' <<<"$made") == 1 ]]
  [[ $(jq -r '[.checkpoints[].container] | sort | join(",")' <<<"$made") == follow,lead ]]
  has "follow $(jq -r '.checkpoints[] | select(.container == "follow").id' <<<"$made")" \
    rekindle inspect "$(jq -r '.checkpoints[] | select(.container == "lead").id' <<<"$made")"
  both_unharmed

  gone "$pod"
  pair
  has "restore taken" why lead
  has "restore taken" why follow
  of_one_moment
  # It is not from zero that they went on.
  at_least $((before / 2)) "$(number lead)"
}

@test "each by itself, as without the annotation, they are of two moments, which they notice" {
  # What they share would keep the second from being restored at all.
  local memory=/tmp
  pair rekindle.dev/consistency=container
  rekindle checkpoint "default/$pod"
  [[ -z $(sets) ]]
  gone "$pod"
  pair rekindle.dev/consistency=container
  has "restore taken" why lead
  has "restore taken" why follow
  [[ $(torn) =~ [0-9]+\ after\ [0-9]+ ]]
}

@test "naming one container makes the whole set, and so does the interval, once for both" {
  pair rekindle.dev/on=interval rekindle.dev/interval=2s
  rekindle checkpoint "default/$pod/follow"
  whole_set
  wait_for 20 has "checkpoint taken the interval has passed" why lead
  has "checkpoint taken the interval has passed" why follow
  run -0 sets
  run ! grep -v ' follow,lead$' <<<"$output"
  of_one_moment
}

@test "a pod that is stopped leaves one set, and its successor goes on from that moment" {
  pair rekindle.dev/on=stop
  gone "$pod"
  whole_set
  [[ $(rekindle list -o json | jq -r '[.checkpoints[].trigger] | unique | join(",")') == stop ]]
  pair rekindle.dev/on=stop
  has "restore taken" why lead
  has "restore taken" why follow
  of_one_moment
}

# to ID is what a script for criu_is asks to know whom it is about: a dump by the
# container's id, a restore by that of the checkpoint.
to() { printf '[[ $(tr "\\\\0" " " </proc/$PPID/cmdline) == *%s* ]]' "$1"; }

# replicas prints the pods of the Deployment that are not on their way out.
replicas() {
  kubectl get pods -l app=pairs -o json | jq -r '.items[] | select(.metadata.deletionTimestamp == null).metadata.name'
}

# new_replica OLD... waits for a replica that is none of those, and makes it $pod.
new_replica() {
  wait_for 30 another "$@"
  pod=$(another "$@")
  ready "$pod"
}
another() { replicas | grep -vxF "$(printf '%s\n' "$@")"; }

by_trigger() {
  rekindle list -o json | jq -r --arg t "$1" '[.checkpoints[] | select(.trigger == $t).container] | sort | join(",")'
}
made_by() { [[ $(by_trigger "$1") == follow,lead ]]; }

@test "replicas of a Deployment: one set when the last container is ready, clones of it, and a set for the one in the place of a deleted one" {
  local first second
  apply <<YAML
apiVersion: apps/v1
kind: Deployment
metadata: { name: pairs }
spec:
  selector: { matchLabels: { app: pairs } }
  template:
    metadata:
      labels: { app: pairs }
      annotations: $(annotated rekindle.dev/consistency=pod 'rekindle.dev/on=ready, stop' rekindle.dev/restore=clone \
    lead.rekindle.dev/ready=port=8080 follow.rekindle.dev/ready=after=3s)
    spec:
      runtimeClassName: rekindle
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: $grace
      containers:
        - { name: lead, image: "rekindle.test/workloads:lab", imagePullPolicy: Never, command: [pair, lead] }
        - { name: follow, image: "rekindle.test/workloads:lab", imagePullPolicy: Never, command: [pair, follow] }
YAML
  new_replica none
  first=$pod
  wait_for 30 made_by ready
  [[ $(sets | wc -l) == 1 ]]
  explains "$first" "checkpoint skipped - it is ready; they are checkpointed together when container follow is, too"

  kubectl scale deployment/pairs --replicas=2 >/dev/null
  new_replica "$first"
  second=$pod
  for c in lead follow; do [[ $(why $c) == *"restore taken"*"as a clone"* ]]; done
  of_one_moment

  kubectl delete pod "$first" --wait=false >/dev/null
  new_replica "$first" "$second"
  for c in lead follow; do [[ $(why $c) == *"restore taken"* && $(why $c) != *clone* ]]; done
  made_by stop
  of_one_moment
}

# dump_fails ID, restore_fails ID [before]: CRIU fails for that one, at a restore
# after it has made the processes, or before it has opened anything.
dump_fails() {
  criu_is <<SH
[[ \$doing != dump ]] || ! $(to "$1") || exit 1
exec "\$real" "\$@"
SH
}
restore_fails() {
  criu_is <<SH
if [[ \$doing == restore ]] && $(to "$1"); then
  [[ "${2-}" != before ]] || exit 1
  export CRIU_FAULT=6
fi
exec "\$real" "\$@"
SH
}

@test "when one cannot be dumped, there is no checkpoint of either, and both run on" {
  pair
  dump_fails "$(container_id "$pod" follow)"
  run ! rekindle checkpoint "default/$pod"
  called dump
  [[ -z $(rekindle list -o json | jq -r '.checkpoints[]?.id') ]]
  has "checkpoint failed" why lead
  has "container follow of the set" why lead
  has "checkpoint failed" why follow
  both_unharmed
  criu_again
  rekindle checkpoint "default/$pod"
  whole_set
}

@test "when one cannot be dumped at the stop, both get their signals" {
  local log=$BATS_TEST_TMPDIR/log began=$SECONDS
  pair rekindle.dev/on=stop
  dump_fails "$(container_id "$pod" lead)"
  gone "$pod"
  ((SECONDS - began < 25))
  called dump
  [[ -z $(rekindle list -o json | jq -r '.checkpoints[]?.id') ]]
  has "checkpoint failed" why lead
  has "checkpoint failed" why follow
}

# hanging_dump stands in for CRIU, and never comes to an end with one of them.
hanging_dump() {
  criu_is <<SH
if [[ \$doing == dump ]] && $(to "$1"); then
  echo hangs >>"\$calls"
  sleep 60
fi
exec "\$real" "\$@"
SH
}
hangs() { grep -q hangs "$criu_calls"; }

@test "when the daemon is killed in the middle, both go on at once, and there is no checkpoint of either" {
  pair
  hanging_dump "$(container_id "$pod" follow)"
  rekindle checkpoint "default/$pod" >/dev/null 2>&1 3>&- &
  wait_for 20 hangs
  [[ $(freezer_of "$(init_pid "$pod" lead)") == FROZEN && $(freezer_of "$(init_pid "$pod" follow)") == FROZEN ]]
  lab-service kill rekindled
  wait || true
  both_unharmed_but_staged
  criu_again
  start_daemon
  wait_for 10 nothing_staged
  [[ -z $(rekindle list -o json | jq -r '.checkpoints[]?.id') ]]
  rekindle checkpoint "default/$pod"
  whole_set
}

both_unharmed_but_staged() {
  wait_for 10 thawed "$pod" lead
  wait_for 10 thawed "$pod" follow
  of_one_moment
}

@test "a pod that is force-deleted in the middle ends, and nothing is left" {
  local pids=() pid grace=5
  pair
  pids=("$(init_pid "$pod" lead)" "$(init_pid "$pod" follow)")
  hanging_dump "$(container_id "$pod" follow)"
  rekindle checkpoint "default/$pod" >/dev/null 2>&1 3>&- &
  wait_for 20 hangs
  kubectl delete pod "$pod" --grace-period=0 --force >/dev/null 2>&1
  for pid in "${pids[@]}"; do wait_for 30 ended_in_node "$pid"; done
  wait_for 20 nothing_staged
  wait_for 10 no_remains
  wait || true
  [[ -z $(rekindle list -o json | jq -r '.checkpoints[]?.id') ]]
}
ended_in_node() { ! in-node kill -0 "$1" 2>/dev/null; }

@test "the whole pause is bounded by limits.dump_timeout" {
  settings <<TOML
[limits]
settle = "1s"
dump_timeout = "2s"
TOML
  pair
  hanging_dump "$(container_id "$pod" follow)"
  local began=$SECONDS
  run ! rekindle checkpoint "default/$pod"
  ((SECONDS - began < 15))
  both_unharmed
}

@test "one that ends alone starts cold, since the other has gone on, and explain says so before and after" {
  local before
  pair
  rekindle checkpoint "default/$pod"
  before=$(number lead)
  has "container lead of it lives and is not restored from it" rekindle explain "default/$pod"
  crash "$pod" follow
  wait_for 10 has "cold-start taken" why follow
  has "container lead of it lives" why follow
  [[ $(restarts "$pod" lead) == 0 ]]
  at_least "$before" "$(number lead)"
}

@test "a set with a damaged member is used by none, and the one before by both" {
  local first second
  pair
  rekindle checkpoint "default/$pod"
  first=$(sets | head -n 1)
  second=$(rekindle checkpoint "default/$pod" -o json | jq -r '.checkpoints[] | select(.container == "follow").id')
  truncate -s 100 "$(find "$(dir_of "$second")/criu" -name 'pages-*.img' | head -n 1)"
  gone "$pod"
  pair
  has "restore taken" why lead
  has "restore taken" why follow
  of_one_moment
  quarantined "$second"
  # Its other half went with it.
  [[ $(sets) == "$first" ]]
}

@test "when the first cannot be restored both start cold, and the set is put aside" {
  local id
  pair
  id=$(rekindle checkpoint "default/$pod" -o json | jq -r '.checkpoints[] | select(.container == "lead").id')
  gone "$pod"
  restore_fails "$id"
  pair
  has "restore failed" why lead
  wait_for 10 has "cold-start taken" why follow
  of_one_moment
  [[ -z $(sets) ]]
  quarantined "$id"
}

@test "when it is not the set's fault that one cannot be restored both start cold, and the next pod has the set" {
  local id
  pair
  id=$(rekindle checkpoint "default/$pod" -o json | jq -r '.checkpoints[] | select(.container == "lead").id')
  gone "$pod"
  restore_fails "$id" before
  pair
  has "restore failed" why lead
  wait_for 10 has "cold-start taken" why follow
  of_one_moment
  criu_again
  gone "$pod"
  pair
  has "restore taken" why lead
  has "restore taken" why follow
  of_one_moment
}

@test "when the second cannot be restored it starts cold, and nothing of another set comes in the place" {
  local id
  pair
  rekindle checkpoint "default/$pod"
  id=$(rekindle checkpoint "default/$pod" -o json | jq -r '.checkpoints[] | select(.container == "follow").id')
  gone "$pod"
  restore_fails "$id"
  pair
  has "restore taken" why lead
  has "restore failed" why follow
  quarantined "$id"
  # The older set is whole, and is not mixed with what lives.
  crash "$pod" follow
  wait_for 10 has "cold-start taken the newest checkpoint" why follow
}

@test "a file that one has open blocks both, which preflight says of each" {
  apply <<YAML
apiVersion: v1
kind: Pod
metadata: { name: odd, annotations: $(annotated rekindle.dev/on=request rekindle.dev/consistency=pod) }
spec:
  runtimeClassName: rekindle
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 1
  containers:
    - { name: one, image: "rekindle.test/workloads:lab", imagePullPolicy: Never, args: [counter, -listen, ":8081"] }
    - { name: two, image: "rekindle.test/workloads:lab", imagePullPolicy: Never, args: [oddity, io_uring] }
YAML
  ready odd
  run -1 rekindle preflight default/odd -o json
  [[ $(jq -r '.containers[] | select(.name == "one").findings[] | select(.severity == "blocker").what' <<<"$output") == *"container two, which is blocked"* ]]
  # The same at one named, and in explain.
  run -1 rekindle preflight default/odd/one
  has "container two, which is blocked" rekindle explain default/odd
}
