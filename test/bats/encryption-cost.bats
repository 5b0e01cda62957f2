#!/usr/bin/env bats
# bats file_tags=alone
# What encryption costs, from one run on one node: docs/operator-guide.md has such
# numbers.
bats_require_minimum_version 1.5.0

rounds=${COST_ROUNDS:-3}
ballast=192

setup_file() {
  load lab
  load faults
  clean
}

teardown_file() {
  load lab
  load faults
  clean
  settings_again
}

setup() {
  load lab
  load faults
}

# metric NAME prints its value, in seconds.
metric() { in-node curl -sS --max-time 5 http://127.0.0.1:19465/metrics | awk -v name="$1" '$1 == name { print $2 }'; }

# costs LINE prints the means of what a container of $ballast MiB took, in
# milliseconds: the pause, from the end of the dump to the durable checkpoint, the
# restore, and a wake.
costs() {
  local round pauses=0 made
  settings <<TOML
[metrics]
address = "127.0.0.1:19465"
[limits]
settle = "1s"
max_restores = 100
$1
TOML
  counter weight -- -ballast "$ballast"
  for ((round = 0; round < rounds; round++)); do
    made=$(rekindle checkpoint default/weight -o json)
    pauses=$((pauses + $(jq .checkpoints[0].pauseNs <<<"$made")))
    crash weight
    explains weight "restore taken $(jq -r .checkpoints[0].id <<<"$made")"
    # It is refused until the container has settled.
    wait_for 10 rekindle suspend default/weight
    rekindle resume default/weight >/dev/null
    counts_on weight
  done
  jq -n "[$pauses / 1e6 / $rounds, $(mean commit), $(mean restore), $(mean resume)] | map(round) | @tsv" -r
  clean
}

mean() { jq -n "1000 * $(metric "rekindle_$1_seconds_sum") / $(metric "rekindle_$1_seconds_count")"; }

# figures LINE: it has all four, each of a millisecond at least.
figures() { [[ $1 =~ ^([1-9][0-9]*$'\t'){3}[1-9][0-9]*$ ]]; }

@test "pause, commit, restore and wake of an encrypted checkpoint cost no more than a few times as much" {
  local plain encrypted keys=$LAB_DIR/etc/encryption.keys ratios
  (umask 077 && openssl rand -hex 32 >"$keys")
  # Not within $(...), where bash goes on after an error.
  costs '' >"$BATS_TEST_TMPDIR/plain"
  costs $'[encryption]\nkey_file = "'"$keys"'"' >"$BATS_TEST_TMPDIR/encrypted"
  plain=$(<"$BATS_TEST_TMPDIR/plain") encrypted=$(<"$BATS_TEST_TMPDIR/encrypted")
  figures "$plain"
  figures "$encrypted"
  ratios=$(paste <(tr '\t' '\n' <<<"$plain") <(tr '\t' '\n' <<<"$encrypted") | awk '{ printf "%.1fx\t", $2 / $1 }')
  {
    printf '# means of %d rounds, %d MiB of memory, in ms\n' "$rounds" "$ballast"
    printf '#             pause\tcommit\trestore\twake\n'
    printf '# plain       %s\n# encrypted   %s\n# ratio       %s\n' "$plain" "$encrypted" "$ratios"
  } >&3
  [[ $(tr -d x <<<"$ratios" | awk '{ print ($1 < 3 && $2 < 8 && $3 < 6 && $4 < 12) }') == 1 ]]
}
