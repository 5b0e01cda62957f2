# Shared by the end-to-end suites: pods of the lab, and waiting for conditions.
# The lab's env file has been sourced; every suite talks to real parts only.
# shellcheck shell=bash

: "${LAB_DIR:?source the env file of a running lab first (make -s lab-env)}"

# How many times longer than on an ordinary machine things may take, where the
# processor is emulated. There it is asked less often, too, or asking would take what
# others need.
: "${LAB_PATIENCE:=1}"
poll=$((LAB_PATIENCE / 10)).$((LAB_PATIENCE % 10))

# wait_for SECONDS COMMAND... returns when the command succeeds, and fails with
# what it printed last when it did not in time.
wait_for() {
  local deadline=$((SECONDS + $1 * LAB_PATIENCE)) out
  shift
  until out=$("$@" 2>&1); do
    if ((SECONDS >= deadline)); then
      printf 'waited in vain for: %s\n%s\n' "$*" "$out" >&2
      return 1
    fi
    sleep "$poll"
  done
}

# test_programs has the programs that suites run beside the lab's own.
test_programs=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)/bin/test

# build_test_programs is for setup_file. A machine without Go has got them with the
# tree.
build_test_programs() {
  ! command -v go >/dev/null || make --no-print-directory -C "${test_programs%/bin/test}" test-programs >/dev/null
}

# has TEXT COMMAND... succeeds when the command's output contains the text.
has() {
  local text=$1 out
  shift
  out=$("$@" 2>&1)
  [[ $out == *"$text"* ]] || {
    printf '%s\n' "$out"
    return 1
  }
}

# apply creates objects from the YAML on standard input.
apply() { kubectl apply -f - >/dev/null; }

# new_namespace NAME makes a namespace, and waits for the service account without
# which no pod is let in.
new_namespace() {
  kubectl create namespace "$1" >/dev/null
  wait_for 30 kubectl -n "$1" get serviceaccount default
}

# ready POD waits until the pod is Ready.
ready() { kubectl wait --for=condition=Ready "pod/$1" "--timeout=$((60 * LAB_PATIENCE))s" >/dev/null; }

# gone POD deletes a pod and waits until it is gone.
gone() { kubectl delete pod "$1" --ignore-not-found "--timeout=$((60 * LAB_PATIENCE))s" >/dev/null; }

# api PATH asks the API server, at a tenth of what it takes to start kubectl. What
# is asked again and again goes this way.
api() {
  curl -fsS --max-time $((10 * LAB_PATIENCE)) --cacert "$LAB_DIR/etc/apiserver.crt" \
    --header "@$LAB_DIR/etc/admin.header" "https://127.0.0.1:$LAB_PORT$1"
}

# pod_object POD prints it as JSON.
pod_object() { api "/api/v1/namespaces/default/pods/$1"; }

pod_ip() { pod_object "$1" | jq -r '.status.podIP // ""'; }
pod_uid() { pod_object "$1" | jq -r .metadata.uid; }

# status_of POD CONTAINER FILTER prints what the filter finds in a container's
# status; without a name it is the pod's first.
status_of() {
  pod_object "$1" |
    jq -r --arg c "$2" "[.status.containerStatuses[] | select(\$c == \"\" or .name == \$c)][0] | $3"
}

# restarts POD [CONTAINER]
restarts() { status_of "$1" "${2:-}" .restartCount; }

# container_id POD [CONTAINER] prints the id of the container that runs now.
container_id() { status_of "$1" "${2:-}" '.containerID | sub("containerd://"; "")'; }

# last POD [CONTAINER] prints the last line that the present container has logged.
last() { api "/api/v1/namespaces/default/pods/$1/log?tailLines=1${2:+&container=$2}"; }

# counted_to NUMBER POD: the last line is a number, and no less than this one.
counted_to() {
  local line
  line=$(last "$2")
  [[ $line =~ ^[0-9]+$ ]] && ((line >= $1))
}

# init_pid POD [CONTAINER] prints the id, within the node, of the container's init.
init_pid() {
  local id
  id=$(container_id "$@")
  in-node ctr -n k8s.io task ls | awk -v id="$id" '$1 == id {print $2}'
}

# crash POD [CONTAINER] kills the container's init, and returns when the kubelet
# has noticed and the next one is ready.
crash() {
  local before
  before=$(restarts "$@")
  in-node kill -9 "$(init_pid "$@")"
  wait_for 60 restarted "$before" "$@"
  ready "$1"
}

# restarted BEFORE POD [CONTAINER] tells whether a container has been restarted
# more than BEFORE times.
restarted() { (($(restarts "${@:2}") > $1)); }

# http POD PATH [PORT] asks a pod's HTTP server, from within the node.
http() { in-node curl -sS --max-time 5 "http://$(pod_ip "$1"):${3:-8080}$2"; }

# checkpoint POD[/CONTAINER] makes a checkpoint now and prints its id.
checkpoint() {
  local made
  made=$(rekindle checkpoint "default/$1" -o json) || return
  jq -er '.checkpoints[0].id' <<<"$made"
}

# decisions POD prints what was decided about a pod's containers, newest first.
decisions() {
  rekindle explain "default/$1" -o json |
    jq -r '.containers[].decisions[]? | "\(.action) \(.outcome) \(.checkpoint // "-") \(.reason)"'
}

# dir_of ID prints the directory of a checkpoint.
dir_of() { rekindle inspect "$1" -o json | jq -r .dir; }

# annotated [KEY=VALUE...] prints the annotations of a pod for YAML's flow style.
annotated() {
  local pair out=
  for pair in "$@"; do out+="\"${pair%%=*}\": \"${pair#*=}\", "; done
  printf '{%s}' "${out%, }"
}

# pod NAME IMAGE COMMAND [ANNOTATION=VALUE...] starts a pod on the rekindle
# handler with one container named app, and waits until it is Ready. COMMAND is
# a list in YAML's flow style. Without annotations the pod is left alone. $grace
# is its grace period, in seconds.
pod() {
  local name=$1 image=$2 command=$3
  shift 3
  apply <<EOF
apiVersion: v1
kind: Pod
metadata: { name: $name, annotations: $(annotated "$@") }
spec:
  runtimeClassName: rekindle
  terminationGracePeriodSeconds: ${grace:-1}
  containers:
    - { name: app, image: "rekindle.test/$image:lab", imagePullPolicy: Never, command: $command }
EOF
  ready "$name"
}

# clean takes away all pods, with what would make them again, and all
# checkpoints, so that no test finds what another has left.
clean() {
  local id
  kubectl delete deployments,statefulsets,jobs,pods --all --now "--timeout=$((60 * LAB_PATIENCE))s" >/dev/null 2>&1
  for id in $(rekindle list -o json | jq -r '.checkpoints[]?.id'); do
    rekindle remove "$id" >/dev/null
  done
}

# explains POD TEXT waits until the text stands in a decision about the pod.
explains() { wait_for 30 has "$2" decisions "$1"; }

# comes_from POD ID waits until explain says that the pod was restored from
# that checkpoint.
comes_from() { explains "$1" "restore taken $2"; }

# ended POD [CONTAINER] prints how the container before the present one ended,
# as "exit code, reason".
ended() { status_of "$1" "${2:-}" '.lastState.terminated | "\(.exitCode) \(.reason)"'; }

# at_least MINIMUM NUMBER
at_least() {
  (($2 >= $1)) || {
    printf '%s is less than %s\n' "$2" "$1" >&2
    return 1
  }
}

# less_than MAXIMUM NUMBER
less_than() {
  (($2 < $1)) || {
    printf '%s is not less than %s\n' "$2" "$1" >&2
    return 1
  }
}
