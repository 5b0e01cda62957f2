# Breaking things on purpose, and looking at what is left afterwards.
# shellcheck shell=bash

real_criu=$(readlink -f "$LAB_DIR/bin/criu")
[[ $real_criu != "$LAB_DIR"/* ]] || real_criu=$(<"$LAB_DIR/real-criu")
criu_calls=$LAB_DIR/criu-calls

# counter NAME [KEY=VALUE...] [-- ARGUMENT...] creates a pod that counts, with
# those annotations beside rekindle.dev/on: request, and waits until it serves.
counter() {
  workload "$@" | apply
  ready "$1"
}

# anew POD deletes a pod and its checkpoints: those of an earlier run of a suite
# would serve the next pod of that name.
anew() {
  local id
  gone "$1"
  for id in $(rekindle list -o json | jq -r --arg pod "$1" '.checkpoints[] | select(.namespace == "default" and .pod == $pod).id'); do
    rekindle remove "$id" >/dev/null
  done
}

# workload NAME [KEY=VALUE...] [-- ARGUMENT...] prints the YAML of such a pod.
# Variables change it: program, image, handler, namespace, labels (flow style),
# pod_more and more (further YAML of the pod and of the container); with an
# empty opt_in it has none of our annotations.
workload() {
  local name=$1 argument arguments pairs=()
  [[ -z ${opt_in-yes} ]] || pairs+=(rekindle.dev/on=request)
  shift
  while (($# > 0)) && [[ $1 != -- ]]; do
    pairs+=("$1")
    shift
  done
  shift || true
  arguments="\"${program-counter}\""
  for argument in "$@"; do arguments+=", \"$argument\""; done
  cat <<YAML
apiVersion: v1
kind: Pod
metadata:
  name: $name
  namespace: ${namespace-default}
  labels: ${labels-{\}}
  annotations: $(annotated "${pairs[@]}")
spec:
  runtimeClassName: ${handler-rekindle}
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: ${grace:-2}
  ${pod_more-}
  containers:
    - name: app
      image: ${image-rekindle.test/workloads:lab}
      imagePullPolicy: Never
      args: [$arguments]
      readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 }
      ${more-}
YAML
}

count() { http "$1" /; }

# counts_on POD proves that the workload runs: its number grows.
counts_on() {
  local before
  before=$(count "$1")
  wait_for 5 grown "$1" "$before"
}

grown() { (($(count "$1") > $2)); }

# cold POD SECONDS: its number began at zero, no more than SECONDS ago.
cold() { (($(count "$1") <= $2 * 10)); }

# criu_is replaces the node's criu by the bash script on standard input. In it,
# $doing is dump, restore or version (each dump and restore begins with that
# question, and others ask it too), and "$real" "$@" is what the stock program
# would do. Every call is noted.
criu_is() {
  printf '%s\n' "$real_criu" >"$LAB_DIR/real-criu"
  rm -f "$criu_calls".*
  : >"$criu_calls"
  {
    cat <<SH
#!/bin/bash
real=$real_criu calls=$criu_calls lab=$LAB_DIR
case " \$(tr '\\0' ' ' </proc/\$PPID/cmdline) " in
  *' checkpoint '*) doing=dump ;;
  *' restore '*) doing=restore ;;
  *) doing=version ;;
esac
# runc asks for the version before each.
asked=\$calls.asked.\$PPID
if [[ \$doing != version && ! -e \$asked ]]; then
  doing=version
  : >"\$asked"
fi
echo "\$doing \$(tr '\\0' '\\n' </proc/\$PPID/cmdline | grep -A 1 -x -e --image-path | tail -n 1)" >>\$calls
SH
    cat
  } >"$LAB_DIR/bin/.criu"
  chmod 755 "$LAB_DIR/bin/.criu"
  mv "$LAB_DIR/bin/.criu" "$LAB_DIR/bin/criu"
}

# criu_again puts the node's own criu back.
criu_again() {
  ln -sfn "$real_criu" "$LAB_DIR/bin/.criu"
  mv -T "$LAB_DIR/bin/.criu" "$LAB_DIR/bin/criu"
}

# in_the_middle_of_a_dump runs the bash script on standard input, within the
# node, as soon as CRIU has written some of the memory, in plain text or what will be
# encrypted. $criu is CRIU's pid.
in_the_middle_of_a_dump() {
  local script
  script=$(cat)
  criu_is <<SH
if [[ \$doing == dump ]]; then
  criu=\$\$
  # A process group of its own: CRIU's is killed as a whole.
  set -m
  (
    eval "exec \$2>&-"
    until [[ -n \$(find "\$lab/store/staging" /run/rekindle/plain -name 'pages-*.img' -size +4096k) ]]; do
      [[ -d /proc/\$criu ]] || exit
    done
    $script
    echo "reached the middle" >>"\$calls"
  ) >/dev/null 2>&1 &
fi
exec "\$real" "\$@"
SH
}

# reached_the_middle: did that script run to its end?
reached_the_middle() { grep -q 'reached the middle' "$criu_calls"; }

# called dump|restore [ID]: was CRIU started to do that since criu_is, or to do
# that with the files of a checkpoint?
called() { grep -q "^$1 .*${2-}" "$criu_calls"; }

# settings puts the TOML on standard input in force, with the lab's own store;
# settings_again brings back what was there before.
settings() {
  [[ -e $LAB_DIR/etc/rekindle.toml.before ]] || cp "$LAB_DIR/etc/rekindle.toml" "$LAB_DIR/etc/rekindle.toml.before"
  {
    printf '[store]\npath = "%s"\n%s\n' "$LAB_DIR/store" "${store_more-}"
    cat
  } >"$LAB_DIR/etc/rekindle.toml"
  restart_daemon
}

settings_again() {
  [[ -e $LAB_DIR/etc/rekindle.toml.before ]] || return 0
  mv "$LAB_DIR/etc/rekindle.toml.before" "$LAB_DIR/etc/rekindle.toml"
  restart_daemon
}

# everything_of ID prints the names, attributes and digests of all the files of a
# checkpoint.
everything_of() {
  local dir
  dir=$(dir_of "$1")
  (
    cd "$dir" || exit
    find . -printf '%p %y %m %U:%G %n %s %T@ %l\n' | sort
    find . -type f -exec sha256sum {} + | sort -k 2
  )
}

# flip FILE OFFSET inverts the lowest bit of one byte.
flip() {
  local byte
  byte=$(od -An -tu1 -j "$2" -N 1 "$1")
  printf '%b' "\\x$(printf %02x $((byte ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

registrations() { grep -c 'registered with NRI' "$LAB_DIR/log/rekindled.log" || true; }
registered_since() { (($(registrations) > $1)); }

# start_daemon, restart_daemon return when the daemon hears of new containers.
restart_daemon() {
  lab-service stop rekindled
  start_daemon
}
start_daemon() {
  local before
  before=$(registrations)
  lab-service start rekindled
  wait_for 15 registered_since "$before"
}

# sandbox_id POD prints the id of the pod's present sandbox.
sandbox_id() {
  in-node ctr -n k8s.io containers info "$(container_id "$1")" |
    jq -r '.Spec.annotations["io.kubernetes.cri.sandbox-id"]'
}

# shim_pid POD prints the id, within the node, of the pod's shim.
shim_pid() { in-node pgrep -f "containerd-shim-rekindle-v2 .*-id $(sandbox_id "$1")"; }

# freezer_of PID prints the state of the control group of a process of the node.
freezer_of() {
  # shellcheck disable=SC2016 # the node expands it
  in-node bash -c '
    path=$(awk -F: "\$2 == \"freezer\" {print \$3}" "/proc/$1/cgroup")
    if [[ -n $path && $path != / ]]; then
      cat "/sys/fs/cgroup/freezer$path/freezer.state"
    else
      path=$(awk -F: "\$1 == 0 {print \$3}" "/proc/$1/cgroup")
      grep -q "frozen 1" "/sys/fs/cgroup$path/cgroup.events" && echo FROZEN || echo THAWED
    fi' freezer "$1"
}

# thawed POD [CONTAINER]: its control group is not frozen, and no process of it is
# traced.
thawed() {
  local pid
  pid=$(init_pid "$@")
  [[ $(freezer_of "$pid") == THAWED ]] || {
    echo "the control group of $1 is $(freezer_of "$pid")"
    return 1
  }
  # shellcheck disable=SC2016
  in-node bash -c '
    for status in $(pgrep --ns "$1" --nslist pid | sed "s|.*|/proc/&/status|"); do
      grep -qE "^TracerPid:\s+0$" "$status" || { echo "traced: $status"; exit 1; }
    done' traced "$pid"
}

# staged: is anything left where checkpoints are made?
nothing_staged() { [[ -z $(ls -A "$LAB_DIR/store/staging") ]]; }

# unharmed POD RESTARTS: it runs, neither frozen nor traced nor cut off from the
# network, in the same container, and no half checkpoint is left.
unharmed() {
  wait_for 10 thawed "$1"
  counts_on "$1"
  [[ $(restarts "$1") == "$2" ]] || {
    echo "$1 was restarted"
    return 1
  }
  wait_for 5 nothing_staged
}

# no_remains: no CRIU, no runc and no mount of one is left on the node.
no_remains() {
  local left
  left=$(
    in-node pgrep -fa '[c]riu swrk|[/]runc |[r]ekindle-runc' || true
    in-node grep -F /run/containerd/runc/ /proc/self/mountinfo || true
  )
  [[ -z $left ]] || {
    echo "$left"
    return 1
  }
}

# quarantined ID, listed ID
quarantined() { [[ -d $LAB_DIR/store/quarantine/$1 ]]; }
listed() { has "$1" rekindle list -o json; }
