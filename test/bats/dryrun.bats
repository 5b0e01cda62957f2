#!/usr/bin/env bats
# rekindle explain --dry-run says of a manifest, before it is applied, what
# rekindle explain says of its pods afterwards.
#
# Scripts are for the node to expand, and bats sets status and output.
# shellcheck disable=SC2016,SC2030,SC2031
bats_require_minimum_version 1.5.0

setup_file() {
  load lab
  load faults
  clean
}

teardown_file() {
  load lab
  clean
}

setup() {
  load lab
  load faults
}

# dry_run FILE [OPTION...] explains a manifest with the lab's configuration.
# There is no daemon and no cluster that it could ask.
dry_run() {
  env -i "$LAB_DIR/bin/rekindle" explain --dry-run --socket /nowhere --config "$LAB_DIR/etc/rekindle.toml" -f "$@"
}

# same FILTER A B compares two answers as far as the filter shows them.
same() { diff <(jq -S "$1" <<<"$2") <(jq -S "$1" <<<"$3"); }

# manifest NAME [KEY=VALUE...] writes the manifest of a pod, and prints where.
manifest() {
  workload "$@" >"$BATS_TEST_TMPDIR/$1.yaml"
  echo "$BATS_TEST_TMPDIR/$1.yaml"
}

@test "settings, their sources and the problems are those that explain shows of the pod" {
  local file before after
  file=$(manifest words rekindle.dev/on=interval,idel rekindle.dev/interval=1ms rekindle.dev/keep=many \
    app.rekindle.dev/restore=fault rekindle.dev/kep=3)
  before=$(dry_run "$file" -o json)
  apply <"$file"
  ready words
  after=$(rekindle explain default/words -o json)
  same '.containers[] | {name, managed, why, settings, problems}' "$before" "$after"
  # And it is not that both say nothing.
  [[ $(jq -r '.containers[0].managed' <<<"$before") == true ]]
  [[ $(jq '.containers[0].problems | length' <<<"$before") == 4 ]]
  has 'bound of the config file' jq -r '.containers[0].settings[] | select(.key == "interval").origin' <<<"$before"
}

# refused POD SPEC: a pod with that in its spec would be left alone; it is, for
# the same reason.
refused() {
  local file before why
  file=$(pod_more=$2 manifest "$1")
  run -6 --separate-stderr dry_run "$file" -o json
  before=$output
  [[ $stderr == *'asks to be managed would not be'* ]]
  why=$(jq -er '.containers[0] | select(.managed | not).why' <<<"$before")
  apply <"$file"
  explains "$1" "admit refused - $why"
  gone "$1"
}

@test "a pod in the node's network is told that it would be left alone, and is" {
  refused network 'hostNetwork: true'
}

@test "a pod in the node's process or IPC namespace is told so, and is left alone" {
  refused pids 'hostPID: true'
  refused ipc 'hostIPC: true'
}

@test "a pod whose containers share their processes is told so, and is left alone" {
  refused sharing 'shareProcessNamespace: true'
}

@test "a pod without the runtime class is told so, and its checkpoints fail for that reason" {
  local file why
  file=$(manifest classless)
  sed -i '/runtimeClassName/d' "$file"
  run -6 --separate-stderr dry_run "$file" -o json
  why=$(jq -er '.containers[0] | select(.managed | not).why' <<<"$output")
  apply <"$file"
  ready classless
  run ! rekindle checkpoint default/classless
  explains classless "checkpoint failed - $why"
}

@test "a terminal prevents nothing: there are no words about one, and the pod comes back with its memory" {
  local file sound number
  file=$(more=$'tty: true\n      stdin: true' manifest terminal)
  [[ $(dry_run "$file" -o json | jq '.containers[0] | .managed and (.notes | not)') == true ]]
  apply <"$file"
  ready terminal
  sound=$(checkpoint terminal)
  number=$(count terminal)
  crash terminal
  comes_from terminal "$sound"
  at_least "$number" "$(count terminal)"
}

@test "of a workload it says what holds for the pods that it makes; standard input will do" {
  local before
  cat >"$BATS_TEST_TMPDIR/set.yaml" <<YAML
apiVersion: v1
kind: Service
metadata: { name: set }
spec: { clusterIP: None, selector: { app: set } }
---
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: set }
spec:
  serviceName: set
  selector: { matchLabels: { app: set } }
  template:
$(workload x rekindle.dev/interval=10s | sed -n '/^metadata:/,$p' | sed '/^  name/d; /^  namespace/d; s/^  labels:.*/  labels: { app: set }/; s/^/    /')
      volumes: [{ name: scratch, emptyDir: {} }]
YAML
  before=$(dry_run - -o json <"$BATS_TEST_TMPDIR/set.yaml")
  [[ $(jq -r '.containers[0].object' <<<"$before") == 'StatefulSet default/set' ]]
  apply <"$BATS_TEST_TMPDIR/set.yaml"
  wait_for 30 kubectl get pod set-0
  ready set-0
  same '.containers[] | {name, managed, why, settings, problems}' "$before" "$(rekindle explain default/set-0 -o json)"
  kubectl delete service set >/dev/null
}

@test "what is written for people has the same form, and says where the configuration is from" {
  local file
  file=$(manifest people rekindle.dev/keep=99)
  run -0 dry_run "$file"
  [[ ${lines[0]} == "configuration: $LAB_DIR/etc/rekindle.toml" ]]
  [[ $output == *'Pod default/people'*'app: managed: the pod opted in by annotation'*'SETTING'*'PROBLEM'*'bounds.keep_max'* ]]
  run -0 env -i "$LAB_DIR/bin/rekindle" explain --dry-run -f "$file"
  [[ ${lines[0]} == 'configuration: '* ]]
  run -1 dry_run "$file.none"
  run -2 env -i "$LAB_DIR/bin/rekindle" explain --dry-run
}
