#!/usr/bin/env bats
# How much the store holds: quotas by number and by bytes, of a container, a
# namespace and the node; what makes way for a new checkpoint, in which order; and
# that the newest good one of a container never does.
#
# bats sets status and output.
# shellcheck disable=SC2030,SC2031
bats_require_minimum_version 1.5.0

setup_file() {
  load lab
  load faults
  new_namespace apart
  settings </dev/null
  counter one rekindle.dev/keep=9 -- -ballast 16 &
  counter two rekindle.dev/keep=9 -- -ballast 16 &
  namespace=apart workload three rekindle.dev/keep=9 -- -ballast 16 | apply
  wait
  kubectl -n apart wait --for=condition=Ready pod/three --timeout=60s >/dev/null
}

teardown_file() {
  load lab
  load faults
  kubectl delete namespace apart --wait=false >/dev/null
  gone one
  gone two
  gone past
  settings_again
}

setup() {
  load lab
  load faults
}

teardown() {
  local id
  for id in $(rekindle list -o json | jq -r '.checkpoints[].id'); do
    rekindle unpin "$id"
    rekindle remove "$id"
  done >/dev/null 2>&1
}

# quota puts the lines on standard input in force.
quota() {
  local before
  before=$(reloads)
  {
    printf '[store]\npath = "%s"\n[quota]\n' "$LAB_DIR/store"
    cat
  } >"$LAB_DIR/etc/rekindle.toml"
  lab-service kill rekindled HUP
  wait_for 10 reloaded_since "$before"
}
reloads() { grep -c 'configuration reloaded' "$LAB_DIR/log/rekindled.log" || true; }
reloaded_since() { (($(reloads) > $1)); }

# made POD[@NAMESPACE] makes a checkpoint and prints its id.
made() {
  local at=${1#*@} out
  [[ $1 == *@* ]] || at=default
  out=$(rekindle checkpoint "$at/${1%@*}" -o json) || return
  jq -er '.checkpoints[0].id' <<<"$out"
}

# holds ID... makes sure that these and no others are there.
holds() {
  local want have
  want=$(printf '%s\n' "$@" | sort)
  have=$(rekindle list -o json | jq -r '.checkpoints[].id' | sort)
  [[ $want == "$have" ]] || {
    diff <(echo "$want") <(echo "$have")
    return 1
  }
}

# refused KEY POD: there is no checkpoint to be had for that quota.
refused() {
  run ! made "$2"
  [[ $output == *"$1"* ]] || {
    echo "$output"
    return 1
  }
}

@test "the oldest that a newer one of its container has superseded makes way for another container of the namespace" {
  quota <<<'namespace_count = 3'
  local a b c d
  a=$(made one) b=$(made one) c=$(made one)
  holds "$a" "$b" "$c"
  d=$(made two)
  holds "$b" "$c" "$d"
  has "quota.namespace_count" decisions one
  # Another namespace has its own.
  holds "$b" "$c" "$d" "$(made three@apart)"
}

@test "what is superseded of a pod that is gone goes before what is of one that lives, though it is younger" {
  quota <<<'namespace_count = 4'
  local a b c d e
  counter past rekindle.dev/keep=9
  a=$(made one) b=$(made one) c=$(made past) d=$(made past)
  gone past
  e=$(made two)
  holds "$a" "$b" "$d" "$e"
  # The newest of the pod that is gone stays for its successor.
  holds "$b" "$d" "$e" "$(made two)"
  counter past rekindle.dev/keep=9
  comes_from past "$d"
  gone past
}

@test "when nothing but the newest of each is left, no more is made, and it is told which quota says so; the newest is still restored" {
  quota <<<'namespace_count = 2'
  local a b
  a=$(made one) b=$(made two)
  refused quota.namespace_count one
  holds "$a" "$b"
  crash one
  comes_from one "$a"
}

@test "a quota of the node counts all namespaces" {
  quota <<<'node_count = 3'
  local a b c
  a=$(made one) b=$(made one) c=$(made three@apart)
  holds "$b" "$c" "$(made two)"
  refused quota.node_count three@apart
}

@test "a quota of bytes has older ones of the container make way, never the newest for one that is not there yet" {
  quota <<<'container_bytes = "50MiB"'
  local a b c
  a=$(made one) b=$(made one) c=$(made one)
  holds "$b" "$c"
  quota <<<'container_bytes = "30MiB"'
  # What is over it goes without a new one, too, but for the newest.
  rekindle gc >/dev/null
  holds "$c"
  refused quota.container_bytes one
  holds "$c"
  # Another container has its own.
  holds "$c" "$(made two)"
}

@test "quotas of bytes of a namespace and of the node count what is there of all their containers" {
  quota <<<'namespace_bytes = "50MiB"'
  local a b c
  a=$(made one) b=$(made one) c=$(made two)
  holds "$b" "$c"
  quota <<<'node_bytes = "50MiB"'
  holds "$b" "$c"
  refused quota.node_bytes three@apart
}

@test "what is pinned stays, whatever the quota, and counts" {
  quota <<<'namespace_count = 3'
  local a b c
  a=$(made one)
  rekindle pin "$a"
  b=$(made one) c=$(made one)
  holds "$a" "$b" "$c"
  holds "$a" "$c" "$(made one)"
}

@test "a lower quota than what is there leaves the newest good one of each container, also when the very newest is damaged" {
  local a b c d
  quota </dev/null
  a=$(made one) b=$(made one) c=$(made two) d=$(made two)
  truncate -s 10 "$(dir_of "$d")/criu/core-1.img"
  quota <<<'node_count = 1'
  rekindle gc >/dev/null
  listed "$b"
  listed "$c"
  run ! listed "$a"
}
