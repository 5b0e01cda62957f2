#!/usr/bin/env bats
# Space on the disk: checkpoints of one container share what has not changed from
# one to the next, where the filesystem can do that. The store is on an XFS here.
#
# bats sets status and output.
# shellcheck disable=SC2030,SC2031
bats_require_minimum_version 1.5.0

setup_file() {
  load lab
  load faults
  lab-service stop rekindled
  truncate -s 600M "$LAB_DIR/xfs"
  mkfs.xfs -q -f "$LAB_DIR/xfs"
  in-node mount -o loop "$LAB_DIR/xfs" "$LAB_DIR/store"
  store_more='min_free = "16MiB"' settings <<TOML
[limits]
settle = "1s"
max_restores = 100
[metrics]
address = "127.0.0.1:9464"
TOML
  counter roomy rekindle.dev/keep=3 -- -ballast 48
}

teardown_file() {
  load lab
  load faults
  gone roomy
  lab-service stop rekindled
  wait_for 30 in-node umount "$LAB_DIR/store"
  rm -f "$LAB_DIR/xfs"
  settings_again
}

setup() {
  load lab
  load faults
}

# of ID FIELD prints what the list says of a checkpoint.
of() { rekindle list -o json | jq -er --arg id "$1" ".checkpoints[] | select(.id == \$id).$2"; }

# takes ID PERCENT: it takes less of the disk than so much of its size.
takes() {
  local real size
  real=$(of "$1" realBytes) size=$(of "$1" bytes)
  ((real > 0 && real * 100 < size * $2)) || {
    echo "$1 takes $real of $size bytes"
    return 1
  }
}

# used prints how many bytes are in use on the store's disk.
used() { in-node df --output=used -B1 "$LAB_DIR/store" | tail -n 1; }

freed() { (($(used) < $1)); }

saved_by() {
  in-node curl -sS http://127.0.0.1:9464/metrics |
    awk -v name="rekindle_saved_bytes_total{by=\"$1\"}" '$1 == name { found = $2 > 1000000 } END { exit !found }'
}

@test "the checkpoints before the newest take a small part of their size, and the newest is restored, and then the one before it" {
  local first second before
  first=$(checkpoint roomy)
  counts_on roomy
  before=$(used)
  second=$(checkpoint roomy)
  wait_for 60 takes "$first" 20
  echo "# of $(of "$first" bytes) bytes the first takes $(of "$first" realBytes) now, the second $(of "$second" realBytes)" >&3
  run -0 rekindle list
  [[ $output == *SIZE*REAL* ]]
  # The second one's 48 MiB have come, and those of the first have gone.
  wait_for 10 freed $((before + 16 * 1048576))
  wait_for 10 saved_by sharing
  run -0 rekindle verify --all

  crash roomy
  comes_from roomy "$second"
  counts_on roomy
  rekindle remove "$second"
  takes "$first" 101
  run ! takes "$first" 80
  gone roomy
  counter roomy rekindle.dev/keep=3 -- -ballast 48
  comes_from roomy "$first"
  counts_on roomy
  run -0 rekindle verify --all
}

@test "of three checkpoints the unchanged memory is there once, and a damaged one is found all the same" {
  local first second third
  anew roomy
  counter roomy rekindle.dev/keep=3 -- -ballast 48
  first=$(checkpoint roomy)
  second=$(checkpoint roomy)
  third=$(checkpoint roomy)
  wait_for 60 takes "$first" 20
  wait_for 60 takes "$second" 20
  # Written anew, the place is its own again, and the other one's is untouched.
  in-node dd if=/dev/zero of="$(dir_of "$third")/criu/pages-1.img" bs=4096 seek=3000 count=1 conv=notrunc status=none
  run -1 rekindle verify --all
  quarantined_there "$third"
  crash roomy
  comes_from roomy "$second"
}

# quarantined_there is quarantined for a store that is mounted in the node alone.
quarantined_there() { in-node test -d "$LAB_DIR/store/quarantine/$1"; }

@test "with store.pack_rate = \"0B\" no space is saved, and with another it is, of what was there before, too" {
  local first second
  anew roomy
  store_more=$'min_free = "16MiB"\npack_rate = "0B"' settings </dev/null
  counter roomy rekindle.dev/keep=3 -- -ballast 48
  first=$(checkpoint roomy)
  second=$(checkpoint roomy)
  run ! takes "$first" 95
  store_more=$'min_free = "16MiB"\npack_rate = "64MiB"' settings </dev/null
  wait_for 60 takes "$first" 20
  run ! takes "$second" 80
}
