#!/usr/bin/env bats
# Files are state as memory is: what a container changed in its root file
# system and in /dev/shm is there again, as it was at the checkpoint.
# shellcheck disable=SC2016 # what is quoted is for the pods' shells

setup() {
  load lab
  load faults
  clean
}

teardown() { clean; }

# files NAME starts the program that has changed, made and deleted files, and
# has others open and mapped.
files() { pod "$1" workloads '[files]' rekindle.dev/on=request; }

# in_pod POD SCRIPT runs a shell script in the container.
in_pod() { kubectl exec "$1" -- sh -ec "$2"; }

# found POD FILTER asks the program what it finds, and prints a part of it.
found() { http "$1" / | jq -r "$2"; }

# again POD restarts the container after a fault; or the pod, by a successor.
same_pod() { crash "$1"; }
successor() {
  gone "$1"
  files "$1"
}

# furnish POD makes files of every kind.
furnish() {
  in_pod "$1" '
    mkdir -p /data/kinds/folder
    cd /data/kinds
    echo owned >owned; chown 1234:5678 owned; chmod 4751 owned
    chown 77:88 folder; chmod 1770 folder
    echo two names >one; ln one folder/two
    ln -s ../changed link
    ln -s /nowhere dangling
    mkfifo -m 622 fifo
    truncate -s 64M sparse; echo end >>sparse
    echo old >dated; touch -d "2001-02-03 04:05:06" dated
    rm -r /var/tmp; mkdir /var/tmp; echo new >/var/tmp/in-new-folder
    mv /etc/nsswitch.conf /etc/moved'
}

# kinds POD prints everything that can be seen of these files.
kinds() {
  in_pod "$1" '
    cd /data/kinds
    stat -c "%n %F %u:%g %a %h %s" owned folder one folder/two link dangling fifo sparse dated
    stat -c "%n %y" dated
    readlink link; readlink dangling
    cat one folder/two owned dated
    tail -c 4 sparse
    [ one -ef folder/two ] && echo one file, two names
    du -k sparse | awk "{ print (\$1 < 1024 ? \"sparse\" : \"full\") }"
    ls /var/tmp /etc/moved
    ls /etc/nsswitch.conf 2>&1 || true'
}

# spoil POD changes all of them again, after the checkpoint.
spoil() {
  in_pod "$1" '
    cd /data/kinds
    echo spoilt >owned; chown 0:0 owned; chmod 600 owned
    rm one fifo link; echo late >late
    mkfifo dangling2; truncate -s 0 sparse
    echo late >/data/deleted
    echo late >>/data/changed
    mv /etc/moved /etc/nsswitch.conf'
}

@test "in the same pod: changed, made and deleted files are as they were at the checkpoint" {
  rootfs_comes_back same_pod
}

@test "in a successor: changed, made and deleted files are as they were at the checkpoint" {
  rootfs_comes_back successor
}

# rootfs_comes_back HOW
rootfs_comes_back() {
  files app
  furnish app
  local before after id program
  before=$(kinds app)
  # What the program itself did: it appends to one file all the time, so only
  # its first two lines are the same for ever.
  program='.files | [(."/data/changed".text | split("\n")[:2]), ."/data/made/created", ."/data/deleted"]'
  local started
  started=$(found app "$program")
  jq -e '.[1].attribute == "kept" and .[2].exists == false' <<<"$started" >/dev/null
  id=$(checkpoint app)
  spoil app
  [ "$(kinds app 2>&1)" != "$before" ]

  "$1" app
  comes_from app "$id"

  after=$(kinds app)
  diff <(echo "$before") <(echo "$after")
  diff <(echo "$started") <(found app "$program")
  in_pod app '[ ! -e /data/kinds/late ] && [ ! -e /data/kinds/dangling2 ]'
  # The file that was open at the checkpoint is the one that has that name.
  found app '.open.sha256 == .files."/data/changed".sha256' | grep -x true
}

@test "a file that was deleted but is still open keeps its content" {
  pod ghost busybox '[sh, -c, "echo kept in the dark >/tmp/ghost; exec 4</tmp/ghost; rm /tmp/ghost;
    while :; do cat /proc/self/fd/4; sleep 0.1; done"]' rekindle.dev/on=request
  wait_for 10 has "kept in the dark" kubectl logs ghost
  local id
  id=$(checkpoint ghost)

  crash ghost

  comes_from ghost "$id"
  wait_for 10 has "kept in the dark" kubectl logs ghost --since=1s
  in_pod ghost '[ ! -e /tmp/ghost ]'
  # And nothing is left of what carried it over.
  [ "$(in_pod ghost 'ls -A /tmp')" = "" ]
}

@test "in the same pod: /dev/shm is as it was at the checkpoint, mapped files are still shared" {
  shm_comes_back same_pod
}

@test "in a successor: /dev/shm is as it was at the checkpoint, mapped files are still shared" {
  shm_comes_back successor
}

# shm_comes_back HOW
shm_comes_back() {
  files app
  in_pod app 'mkdir /dev/shm/folder; echo shared >/dev/shm/folder/file; chown 12:34 /dev/shm/folder/file; chmod 640 /dev/shm/folder/file'
  wait_for 10 mapped_beyond app 20
  local plain before id
  plain=$(found app '.files."/dev/shm/plain"')
  before=$(found app .mapped)
  id=$(checkpoint app)
  in_pod app 'echo spoilt >/dev/shm/plain; rm -r /dev/shm/folder; echo late >/dev/shm/late'

  "$1" app
  comes_from app "$id"

  [ "$(found app '.files."/dev/shm/plain"')" = "$plain" ]
  [ "$(in_pod app 'stat -c "%u:%g %a" /dev/shm/folder/file; cat /dev/shm/folder/file')" = $'12:34 640\nshared' ]
  # Only what was there at the checkpoint, and nothing of ours.
  [ "$(in_pod app 'ls -A /dev/shm' | paste -sd' ')" = "folder mapped plain" ]
  # The memory, the mapping and the file behind it are one.
  at_least "$before" "$(found app .counter)"
  found app '[.counter, .mapped, .mapped_file] | unique | length' | grep -x 1
  wait_for 10 mapped_beyond app "$((before + 10))"
}

mapped_beyond() { at_least "$2" "$(found "$1" .mapped_file)"; }

@test "a checkpoint is not changed by restoring from it, twice (I4)" {
  files app
  furnish app
  local id before
  id=$(checkpoint app)
  before=$(everything_of "$id")

  crash app
  comes_from app "$id"
  spoil app
  diff <(echo "$before") <(everything_of "$id")

  successor app
  wait_for 30 restores app "$id" 2
  in_pod app 'rm -r /data/kinds /dev/shm/plain'
  diff <(echo "$before") <(everything_of "$id")
}

# restores POD ID NUMBER: so often has the checkpoint been restored in this pod.
restores() { at_least "$3" "$(decisions "$1" | grep -c "restore taken $2")"; }
