#!/usr/bin/env bash
# Brings up a private one-node Kubernetes:
#   up.sh [cluster|node]
# cluster (the default) has a control plane; node is containerd and a kubelet
# that runs static pods. Everything is under LAB_DIR, in namespaces of its own;
# down.sh takes it away. Run again, it checks the lab, puts newly built
# programs of ours in place and returns. Settings, by environment:
#   LAB_DIR         where it lives (/var/tmp/rekindle-lab)
#   LAB_PORT        port of its API server on 127.0.0.1 (16443)
#   LAB_CONTAINERD  2.4 or 2.2 (2.4)
#   LAB_BIN         folder with the product's programs (bin/ of this tree)
#   LAB_NODE        namespaces: the node is in namespaces of its own (the default);
#                   machine: this machine is the node, under its own systemd
#   LAB_IMAGES      the archives to import, instead of all of them
#   LAB_PATIENCE    how many times longer than usual things may take (1)
#   LAB_PARTS       a list that parts.sh has printed; nothing is built then
#   REKINDLE_CACHE  what is built is kept here (~/.cache/rekindle)
set -euo pipefail
# shellcheck source=test/lab/base.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/base.sh"
# shellcheck source=test/lab/settings.sh
source "$lab_source/settings.sh"
# shellcheck source=test/lab/configure.sh
source "$lab_source/configure.sh"
# shellcheck source=test/lab/machine.sh
source "$lab_source/machine.sh"

profile=${1:-cluster}
ours=(rekindled containerd-shim-rekindle-v2 rekindle-runc rekindle)

main() {
  case $profile in
    cluster | node) ;;
    *) die "there is no profile '$profile': cluster or node" ;;
  esac
  need_root
  # kubectl keeps what it discovers in the home folder otherwise.
  export KUBECACHEDIR=$LAB_DIR/kubectl
  if [[ -n ${LAB_PARTS:-} ]]; then
    parts=$(cat "$LAB_PARTS")
  else
    parts=$("$lab_source/parts.sh" "$profile")
  fi
  tools=$(part tool) criu=$(part criu) redis=$(part redis) images=$(part images)
  with_lock "$lab_name" bring_up
}

# part NAME prints where the parts of that name are.
part() { sed -n "s/^$1 //p" <<<"$parts"; }

# made_from: everything that the running lab was made from, except the
# product's own programs, which can be changed under it.
made_from() {
  printf '%s\n' "$profile" "$LAB_NODE" "$LAB_PORT" "$tools" "$criu" "$redis" "$images"
  cat "$lab_source"/{configure,machine,up,settings}.sh "$lab_source"/node/* "$lab_source"/*.yaml \
    "$repository"/conf/kubernetes/rbac/*
}

bring_up() {
  local made started=$SECONDS
  made=$(made_from | sha256sum | cut -c 1-32)
  if [[ -e $LAB_DIR ]]; then
    if [[ ! -f $lab_mark ]]; then
      [[ -z $(ls -A "$LAB_DIR") ]] ||
        die "$LAB_DIR is there, and no lab made it: choose another LAB_DIR, or remove it"
    elif [[ $(cat "$lab_mark") != "$made" ]]; then
      step "the lab in $LAB_DIR is of another profile or make: taking it down first"
      "$lab_source/down.sh" --locked
    elif healthy; then
      refresh
      step "the lab in $LAB_DIR is up (profile $profile): source $LAB_DIR/env"
      return
    else
      step "the lab in $LAB_DIR is not healthy: taking it down first"
      "$lab_source/down.sh" --locked
    fi
  fi
  step "bringing up a lab in $LAB_DIR (profile $profile, containerd $LAB_CONTAINERD)"
  port_is_free
  furnish
  printf '%s\n' "$made" >"$lab_mark"
  if [[ $LAB_NODE == machine ]]; then
    machine_start
  else
    start_holder
  fi
  start_services
  step "the lab is up after $((SECONDS - started)) s: source $LAB_DIR/env"
}

port_is_free() {
  [[ $profile == cluster ]] || return 0
  ! (: <"/dev/tcp/127.0.0.1/$LAB_PORT") 2>/dev/null ||
    die "port $LAB_PORT on 127.0.0.1 is taken: choose another with LAB_PORT=..."
}

healthy() {
  [[ $LAB_NODE == machine ]] || alive "$LAB_DIR/pid/holder" >/dev/null || return
  "$LAB_DIR/outside/lab-service" healthy || return
  [[ $LAB_NODE == machine || $profile != cluster ]] || alive "$LAB_DIR/pid/forward" >/dev/null
}

# furnish makes the folders, links the programs and writes the configuration.
furnish() {
  mkdir -p "$LAB_DIR"/{bin,outside,log,pid,store,cni,var} \
    "$LAB_DIR"/etc/{cni,manifests,services,nri/plugins,nri/conf.d}
  if [[ $LAB_NODE == machine ]]; then
    machine_folders
  else
    mkdir -p "$LAB_DIR"/{run,var/lib,var/log}
  fi
  # It holds keys, and memory of workloads.
  chmod 700 "$LAB_DIR" "$LAB_DIR/store"
  rm -f "$LAB_DIR"/log/*

  local tool name
  while read -r tool; do
    ln -sfn "$tool" "$LAB_DIR/bin/${tool##*/}"
  done <<<"$tools"
  ln -sfn "$criu/criu" "$LAB_DIR/bin/criu"
  ln -sfn "$redis" "$LAB_DIR/redis"
  for name in lab-service redis-cli; do
    install -m 755 "$lab_source/node/$name" "$LAB_DIR/bin/$name"
  done
  install -m 755 "$lab_source/node/inside" "$LAB_DIR/bin/in-node"
  install -m 755 "$lab_source/node/in-node" "$lab_source/node/through" "$LAB_DIR/outside/"
  for name in lab-service redis-cli ctr; do
    ln -sfn through "$LAB_DIR/outside/$name"
  done
  # These speak to a socket or a port that is reachable from outside.
  ln -sfn ../bin/rekindle "$LAB_DIR/outside/rekindle"
  [[ $profile != cluster ]] || install -m 755 "$lab_source/node/kubectl" "$LAB_DIR/outside/"
  put_ours >/dev/null

  configure_node
  configure_containerd
  configure_kubelet
  configure_env
  [[ $profile != cluster ]] || configure_control_plane
  [[ ! -x $LAB_DIR/bin/rekindled ]] || configure_rekindled
}

# put_ours copies the product's programs that differ and prints their names.
# Each is replaced by a rename: a running one keeps its own file.
put_ours() {
  local name
  for name in "${ours[@]}"; do
    if [[ ! -x $LAB_BIN/$name ]]; then
      warn "$LAB_BIN/$name is not built: run 'make build' and then this again; until then the lab runs without it"
      continue
    fi
    ! cmp -s "$LAB_BIN/$name" "$LAB_DIR/bin/$name" || continue
    install -m 755 "$LAB_BIN/$name" "$LAB_DIR/bin/.$name"
    mv "$LAB_DIR/bin/.$name" "$LAB_DIR/bin/$name"
    printf '%s\n' "$name"
  done
}

refresh() {
  local changed
  changed=$(put_ours | paste -sd' ')
  [[ -n $changed ]] || return 0
  note "new in the lab: $changed"
  if [[ " $changed " == *" rekindled "* ]]; then
    configure_rekindled
    "$LAB_DIR/outside/lab-service" restart rekindled
  fi
}

start_holder() {
  local group tenth flags=(--mount --net --pid --uts --ipc --cgroup --fork)
  mount -t tmpfs -o mode=755,nosuid,nodev rekindle-lab "$LAB_DIR/run"
  mkdir -p "$LAB_DIR/run/lab"

  : >"$LAB_DIR/pid/cgroups"
  while read -r group; do
    mkdir -p "$group/$lab_name"
    # A cpuset of version 1 takes no process before it has both.
    if [[ -e $group/cpuset.cpus && -e $group/$lab_name/tasks ]]; then
      cat "$group/cpuset.cpus" >"$group/$lab_name/cpuset.cpus"
      cat "$group/cpuset.mems" >"$group/$lab_name/cpuset.mems"
    fi
    printf '%s\n' "$group/$lab_name" >>"$LAB_DIR/pid/cgroups"
  done < <(hierarchies)

  # The process that makes the cgroup namespace must be in its root already.
  (
    while read -r group; do
      echo "$BASHPID" >"$group/cgroup.procs"
    done <"$LAB_DIR/pid/cgroups"
    close_descriptors
    cd /
    exec setsid unshare "${flags[@]}" bash "$lab_source/node/holder" \
      "$LAB_DIR" "$node_address/32" "$node_name" </dev/null >"$LAB_DIR/log/holder.log" 2>&1
  ) &
  local unshared=$!
  for ((tenth = 0; tenth < 100; tenth++)); do
    if alive "$LAB_DIR/pid/holder" >/dev/null; then
      local holder
      holder=$(alive "$LAB_DIR/pid/holder")
      readlink "/proc/$holder"/ns/{mnt,net,pid,uts,ipc,cgroup} >"$LAB_DIR/pid/namespaces"
      return
    fi
    [[ -d /proc/$unshared ]] || break
    sleep 0.1
  done
  cat "$LAB_DIR/log/holder.log" >&2
  die "the node's namespaces could not be made (see above): this needs root with CAP_SYS_ADMIN, and no seccomp profile that forbids unshare and mount"
}

# A test harness waits for whoever holds its descriptors.
close_descriptors() {
  local descriptor
  for descriptor in /proc/self/fd/*; do
    descriptor=${descriptor##*/}
    ((descriptor <= 2)) || eval "exec $descriptor>&-" 2>/dev/null || true
  done
}

start_services() {
  local run=$LAB_DIR/outside name
  step 'starting containerd'
  "$run/lab-service" start containerd
  step 'importing the images'
  import_images
  if [[ -x $LAB_DIR/bin/rekindled ]]; then
    step 'starting rekindled'
    "$run/lab-service" start rekindled
  fi
  if [[ $profile == node ]]; then
    step 'starting the kubelet'
    "$run/lab-service" start kubelet
    return
  fi
  step 'starting the control plane'
  "$run/lab-service" start etcd
  "$run/lab-service" start kube-apiserver
  if [[ $LAB_NODE != machine ]]; then
    "$run/lab-service" start forward
    start_forward
  fi
  for name in kube-controller-manager kube-scheduler kubelet; do
    "$run/lab-service" start "$name" &
  done
  wait -n
  wait -n
  wait -n
  step 'waiting for the node to be ready'
  prepare_cluster
}

import_images() {
  local archive pids=() pid
  for archive in "$images"/*.tar; do
    [[ " ${LAB_IMAGES:-${archive##*/}} " == *" ${archive##*/} "* ]] || continue
    "$LAB_DIR/outside/in-node" ctr --namespace k8s.io images import "$archive" >>"$LAB_DIR/log/images.log" 2>&1 &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do
    wait "$pid" || {
      tail -n 5 "$LAB_DIR/log/images.log" >&2
      die "an image could not be imported (see above)"
    }
  done
}

start_forward() {
  local pid stat
  (
    close_descriptors
    cd /
    exec setsid socat "TCP-LISTEN:$LAB_PORT,bind=127.0.0.1,fork,reuseaddr" \
      "UNIX-CONNECT:$LAB_DIR/run/lab/apiserver.sock" </dev/null >"$LAB_DIR/log/forward-outside.log" 2>&1
  ) &
  pid=$!
  read -r -a stat <"/proc/$pid/stat"
  printf '%s %s\n' "$pid" "${stat[21]}" >"$LAB_DIR/pid/forward"
}

prepare_cluster() {
  local kubectl=("$LAB_DIR/bin/kubectl" --kubeconfig "$LAB_DIR/etc/admin.kubeconfig") deadline=$((SECONDS + 90 * ${LAB_PATIENCE:-1}))
  until "${kubectl[@]}" apply -f "$lab_source/runtimeclass.yaml" -f "$lab_source/rekindled-rbac.yaml" \
    -f "$repository/conf/kubernetes/rbac/clusterrole.yaml" >>"$LAB_DIR/log/kubectl.log" 2>&1; do
    ((SECONDS < deadline)) || die "the API server does not take objects: see $LAB_DIR/log/kubectl.log"
    sleep 0.5
  done
  until "${kubectl[@]}" get node "$node_name" >/dev/null 2>&1 &&
    "${kubectl[@]}" get serviceaccount default >/dev/null 2>&1; do
    ((SECONDS < deadline)) ||
      die "the node does not register: see $LAB_DIR/log/kubelet.log and kube-controller-manager.log"
    sleep 0.3
  done
  "${kubectl[@]}" wait --for=condition=Ready "node/$node_name" "--timeout=$((60 * ${LAB_PATIENCE:-1}))s" >>"$LAB_DIR/log/kubectl.log" 2>&1 ||
    die "the node is not ready: $("${kubectl[@]}" get node "$node_name" -o jsonpath='{.status.conditions[?(@.type=="Ready")].message}')"
}

main
