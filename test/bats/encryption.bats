#!/usr/bin/env bats
# Encryption at rest: whoever has the store's disk, and not the key, learns nothing
# of a workload from it. All that Rekindle does works as without.
# shellcheck disable=SC2016 # what is quoted is for the pods' shells

bats_require_minimum_version 1.5.0

keys=$LAB_DIR/etc/encryption.keys

setup_file() {
  load lab
  load faults
  clean
  encrypted_with "$(new_key)"
}

teardown_file() {
  load lab
  load faults
  load crash
  disarm
  settings_again
  clean
}

setup() {
  load lab
  load faults
  load crash
  disarm
  secret=top-secret-$RANDOM-$RANDOM-$RANDOM
}

teardown() {
  disarm
  lab-service pid rekindled >/dev/null || start_daemon
  clean
  wait_for 10 no_plain_text
}

new_key() { openssl rand -hex 32; }

# encrypted_with KEY... has the node encrypt with the first, and decrypt with all.
# $encryption_more and $more_sections are further TOML.
encrypted_with() {
  (umask 077 && printf '%s\n' "$@" >"$keys")
  settings <<TOML
[limits]
settle = "1s"
max_restores = 100
[import]
max_size = "1GiB"
[encryption]
key_file = "$keys"
${encryption_more-}
TOML
}

# vault NAME [ANNOTATION=VALUE...] creates a pod that counts, with the secret in its
# memory, its environment, its root file system and its /dev/shm.
vault() {
  apply <<YAML
apiVersion: v1
kind: Pod
metadata: { name: $1, annotations: $(annotated rekindle.dev/on="${on-request, stop}" "${@:2}") }
spec:
  runtimeClassName: rekindle
  terminationGracePeriodSeconds: 1
  containers:
    - name: app
      image: rekindle.test/busybox:lab
      imagePullPolicy: Never
      env: [{ name: SECRET, value: "$secret" }]
      command: [sh, -c, 'echo "\$SECRET" >/secret; echo "\$SECRET" >/dev/shm/secret; n=0; while :; do n=\$((n+1)); echo \$n; sleep 0.1; done']
YAML
  ready "$1"
}

# intact POD: the secret is where it was.
intact() {
  [[ $(kubectl exec "$1" -- cat /secret /dev/shm/secret) == "$secret"$'\n'"$secret" ]]
}

# readable, readable_in_memory: can the secret be read in the store, or where plain
# text is? It is looked for within the node, and not with the secret among the
# arguments of a process of it.
unreadable() {
  ! readable || {
    echo "the secret can be read in the store"
    return 1
  }
}
readable() { in-node grep -rqaF -f - "$LAB_DIR/store" <<<"$secret"; }
readable_in_memory() { in-node grep -rqaF -f - /run/rekindle/plain <<<"$secret"; }

no_plain_text() { [[ -z $(in-node find /run/rekindle/plain -mindepth 1) ]]; }

# content ID prints the file that has all of an encrypted checkpoint.
content() { printf '%s/content.enc\n' "$(dir_of "$1")"; }

@test "what a container has in memory and files can be read in a store that is not encrypted, and nowhere in one that is" {
  local id
  settings_again
  vault open
  checkpoint open
  readable
  clean
  encrypted_with "$(new_key)"
  vault closed
  id=$(checkpoint closed)
  unreadable
  [[ -s $(content "$id") ]]
  no_plain_text
}

@test "in the middle of a dump and of a restore plain text lies in memory and nowhere in the store, and afterwards nowhere" {
  local before
  vault closed
  stop_at encrypt.begin checkpoint closed
  readable_in_memory
  unreadable
  go_on
  no_plain_text
  before=$(last closed)
  arm 'decrypt.done wait'
  in-node kill -9 "$(init_pid closed)"
  wait_for 30 reached decrypt.done
  readable_in_memory
  unreadable
  disarm
  wait_for 30 restarted 0 closed
  ready closed
  explains closed "restore taken"
  intact closed
  counted_to "$before" closed
  wait_for 10 no_plain_text
  unreadable
}

@test "a successor pod goes on where its predecessor was stopped, with its files" {
  local before
  vault heir
  before=$(last heir)
  gone heir
  unreadable
  vault heir
  explains heir "restore taken"
  intact heir
  counted_to "$before" heir
  wait_for 10 no_plain_text
}

@test "a container sleeps in an encrypted checkpoint: meanwhile only its data key is in memory, and it wakes without the daemon" {
  local before
  counter sleeper
  before=$(count sleeper)
  rekindle suspend default/sleeper
  [[ $(in-node find /run/rekindle/plain -type f | xargs -n 1 basename) == key ]]
  restart_daemon
  lab-service stop rekindled
  (($(count sleeper) >= before))
  no_plain_text
  start_daemon
  [[ $(restarts sleeper) == 0 ]]
  [[ $(rekindle explain default/sleeper -o json | jq .containers[0].suspension.asleep) == false ]]
  rekindle suspend default/sleeper
  counts_on sleeper
}

@test "with another key a container starts cold and nothing else happens to its checkpoint; with the former one listed too it comes back" {
  local first second id
  first=$(new_key) second=$(new_key)
  encrypted_with "$first"
  vault closed
  id=$(checkpoint closed)
  encrypted_with "$second"
  crash closed
  explains closed "which the node does not have"
  listed "$id"
  rekindle verify "$id"
  encrypted_with "$second" "$first"
  crash closed
  comes_from closed "$id"
  [[ $(encrypted_by "$(checkpoint closed)") != "$(encrypted_by "$id")" ]]
}

# encrypted_by ID prints the id of the key.
encrypted_by() { rekindle inspect "$1" -o json | jq -r .manifest.encryption.key; }

@test "without a key no checkpoint is made and the workload goes on; a command can give it" {
  local command=$LAB_DIR/etc/give-key
  encrypted_with 'not a key'
  vault closed
  run rekindle checkpoint default/closed
  ((status != 0))
  [[ $output == *"there is no key"* ]]
  explains closed "line 1 has not the 64 hexadecimal digits of a key"
  unreadable
  printf '#!/bin/sh\necho %s\n' "$(new_key)" >"$command"
  chmod 700 "$command"
  settings <<TOML
[limits]
settle = "1s"
max_restores = 100
[encryption]
key_command = ["$command"]
TOML
  checkpoint closed
  unreadable
  crash closed
  explains closed "restore taken"
  intact closed
}

@test "a bit that is inverted in encrypted content is found: the container starts cold, and the checkpoint goes into quarantine once" {
  local id file
  counter victim -- -ballast 8
  id=$(checkpoint victim)
  file=$(content "$id")
  flip "$file" 5000000
  crash victim
  explains victim "the encrypted content is damaged"
  cold victim 20
  wait_for 10 quarantined "$id"
  [[ $(rekindle quarantine -o json | jq --arg id "$id" '[.checkpoints[] | select(.id == $id)] | length') == 1 ]]
}

@test "the daemon dies or its disk gives up while it encrypts: the workload has not noticed, and no plain text is left" {
  local born sound point fault
  counter victim -- -ballast 8
  born=$(restarts victim)
  sound=$(checkpoint victim)
  for point in encrypt.begin encrypt.done; do
    for fault in eio enospc kill; do
      arm "$point $fault"
      run rekindle checkpoint default/victim
      ((status != 0))
      disarm
      if [[ $fault == kill ]]; then
        wait_for 10 died rekindled
        start_daemon
      fi
      no_plain_text
      well victim "$born"
      listed "$sound"
    done
  done
  restores victim
}

@test "CRIU is killed in the middle of a dump that would be encrypted: the workload has not noticed, and no plain text is left" {
  local born sound
  counter victim -- -ballast 96
  born=$(restarts victim)
  sound=$(checkpoint victim)
  in_the_middle_of_a_dump <<<'kill -KILL $criu'
  run rekindle checkpoint default/victim
  ((status != 0))
  reached_the_middle
  criu_again
  wait_for 10 no_plain_text
  well victim "$born"
  listed "$sound"
  restores victim
}

@test "what decrypts dies or its disk gives up: the container starts cold, no plain text is left, and the checkpoint serves the next time" {
  local sound point fault
  counter victim -- -ballast 8
  sound=$(checkpoint victim)
  for point in decrypt.begin decrypt.done; do
    for fault in kill eio enospc; do
      arm "$point $fault"
      crash victim
      disarm
      cold victim 20
      wait_for 10 no_plain_text
      well victim "$(restarts victim)"
      listed "$sound"
    done
  done
  restores victim
}

@test "shim or daemon dies while a checkpoint lies decrypted: the pod comes back, and no plain text is left" {
  local sound born program
  counter victim -- -ballast 8
  sound=$(checkpoint victim)
  for program in rekindled shim; do
    born=$(restarts victim)
    arm 'decrypt.done wait'
    in-node kill -9 "$(init_pid victim)"
    wait_for 30 reached decrypt.done
    if [[ $program == rekindled ]]; then
      lab-service kill rekindled
      start_daemon
      disarm
    else
      in-node kill -KILL "$(shim_pid victim)"
      disarm
    fi
    wait_for 90 restarted "$born" victim
    ready victim
    wait_for 20 no_plain_text
    well victim "$(restarts victim)"
    listed "$sound"
  done
  restores victim
}

@test "the containers of a pod are checkpointed and restored together, each with a data key of its own" {
  local id
  team
  rekindle checkpoint default/team -o json >"$BATS_TEST_TMPDIR/made"
  [[ $(jq '.checkpoints | length' "$BATS_TEST_TMPDIR/made") == 2 ]]
  gone team
  team
  for id in $(jq -r '.checkpoints[].id' "$BATS_TEST_TMPDIR/made"); do
    comes_from team "$id"
    rekindle inspect "$id" -o json | jq -r .manifest.encryption.dataKey
  done >"$BATS_TEST_TMPDIR/keys"
  [[ $(sort -u "$BATS_TEST_TMPDIR/keys" | wc -l) == 2 ]]
  wait_for 10 no_plain_text
}

# on_node runs the command line where plain text is, as on any node.
on_node() { in-node "$LAB_DIR/bin/rekindle" "$@"; }

# team creates a pod of two containers that are consistent.
team() {
  local counter='{ name: NAME, image: "rekindle.test/busybox:lab", imagePullPolicy: Never, command: [sh, -c, "n=0; while :; do n=$((n+1)); sleep 0.1; done"] }'
  apply <<YAML
apiVersion: v1
kind: Pod
metadata: { name: team, annotations: $(annotated rekindle.dev/on=request rekindle.dev/consistency=pod) }
spec:
  runtimeClassName: rekindle
  terminationGracePeriodSeconds: 1
  containers:
    - ${counter/NAME/one}
    - ${counter/NAME/two}
YAML
  ready team
}

@test "an export needs the key and is readable, and what is imported is encrypted" {
  local id copy first second
  first=$(new_key) second=$(new_key)
  encrypted_with "$first"
  on=request vault closed
  id=$(checkpoint closed)
  on_node export "$id" --file "$BATS_TEST_TMPDIR/closed.tar"
  no_plain_text
  tar tf "$BATS_TEST_TMPDIR/closed.tar" | grep -q '^checkpoint/pages-1.img$'
  grep -qaF "$secret" "$BATS_TEST_TMPDIR/closed.tar"
  encrypted_with "$second"
  run on_node export "$id" --file "$BATS_TEST_TMPDIR/other.tar"
  ((status != 0))
  [[ $output == *"which the node does not have"* ]]
  rekindle remove "$id"
  copy=$(on_node import "$BATS_TEST_TMPDIR/closed.tar" --as default/closed/app -o json | jq -er .checkpoint.id)
  unreadable
  no_plain_text
  gone closed
  on=request vault closed
  comes_from closed "$copy"
  intact closed
}

@test "when the memory for plain text is too small no checkpoint is made and none is restored, with that reason" {
  local id key
  key=$(new_key)
  encrypted_with "$key"
  counter victim -- -ballast 8
  id=$(checkpoint victim)
  encryption_more='memory = "2MiB"' encrypted_with "$key"
  run rekindle checkpoint default/victim
  ((status != 0))
  [[ $output == *"not enough memory for the plain text"* ]]
  crash victim
  explains victim "not enough memory for the plain text"
  cold victim 20
  encrypted_with "$key"
  listed "$id"
  restores victim
}

@test "a container that could not be woken with its sockets is not put to sleep, encrypted or not" {
  local before
  pod stubborn busybox '[sh, -c, "exec 9>/handover-7; n=0; while :; do n=$((n+1)); echo $n; sleep 0.1; done"]' rekindle.dev/on=request
  run rekindle suspend default/stubborn
  ((status != 0))
  [[ $output == *"whose name is kept for sockets"* ]]
  before=$(last stubborn)
  wait_for 5 counted_to "$((before + 1))" stubborn
  [[ $(restarts stubborn) == 0 ]]
}
