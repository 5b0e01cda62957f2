#!/usr/bin/env bats
# What is used: only what is exactly as it was dumped. A checkpoint that was
# damaged, or never completed, is refused before CRIU sees any of it.
#
# Scripts are for the node to expand, and bats sets status and output.
# shellcheck disable=SC2016,SC2030,SC2031
bats_require_minimum_version 1.5.0

setup_file() {
  load lab
  load faults
  anew keeper
  counter keeper -- -ballast 8
}

teardown_file() {
  load lab
  load faults
  criu_again
  gone keeper
  gone few
}

setup() {
  load lab
  load faults
}

teardown() { criu_again; }

# refused COMMAND... makes two checkpoints, runs the command in the folder of the
# newer one, and crashes the container: CRIU must never be shown that folder, the
# older checkpoint serves, and it is told why.
refused() {
  local older newer number began=$SECONDS
  number=$(count keeper)
  older=$(checkpoint keeper)
  newer=$(checkpoint keeper)
  (cd "$(dir_of "$newer")" && "$@")
  criu_is <<<'exec "$real" "$@"'
  crash keeper
  ((SECONDS - began < 20))
  called restore "$older"
  run ! called restore "$newer"
  has "restore taken $older" decisions keeper
  (($(count keeper) >= number))
  quarantined "$newer"
  run ! listed "$newer"
  [[ $(decisions keeper | grep -c "^quarantine taken $newer") == 1 ]]
  decisions keeper | grep "^quarantine taken $newer" | grep -F "${why:?}"
}

@test "a checkpoint with memory pages cut short is refused" {
  why='criu/pages-1.img' refused truncate -s 4096 criu/pages-1.img
}

@test "a checkpoint with an empty file of pages is refused" {
  why='criu/pages-1.img' refused truncate -s 0 criu/pages-1.img
}

@test "a checkpoint without one of its images is refused" {
  why='criu/core-1.img' refused rm criu/core-1.img
}

@test "a checkpoint with one bit changed in an image is refused" {
  why='criu/core-1.img' refused flip criu/core-1.img 100
}

@test "a checkpoint with one bit changed in the container's recorded spec is refused" {
  why='config.json' refused flip config.json 100
}

@test "one bit changed in the memory pages is found while CRIU reads them: nothing runs from it" {
  local newer
  checkpoint keeper
  newer=$(checkpoint keeper)
  (cd "$(dir_of "$newer")" && flip criu/pages-1.img 2000000)
  crash keeper
  has "restore failed $newer" decisions keeper
  has "criu/pages-1.img: corrupt checkpoint: digest does not match" decisions keeper
  cold keeper 20
  quarantined "$newer"
  run ! listed "$newer"
  # The older one serves at the next crash.
  crash keeper
  has "restore taken" decisions keeper
}

@test "one bit changed in a large file of /dev/shm, or in any changed file of the container, is found as well" {
  local sound file
  for file in shm/large rootfs/root/kept; do
    anew few
    counter few
    in-node nsenter --target "$(init_pid few)" --mount --root -- /bin/sh -c \
      'head -c 3000000 /dev/zero >/dev/shm/large; mkdir -p /root; echo kept >/root/kept'
    sound=$(checkpoint few)
    (cd "$(dir_of "$sound")" && flip "$file" 2)
    crash few
    has "restore failed $sound" decisions few
    has "$file: corrupt checkpoint: digest does not match" decisions few
    cold few 20
    quarantined "$sound"
    [[ $(decisions few | grep -c "^quarantine taken $sound") == 1 ]]
  done
}

@test "one bit changed in any file of a checkpoint, or its end cut off, is found, and what is put back as it was is sound" {
  local sound dir file harm bad=0 tried=0
  sound=$(checkpoint keeper)
  dir=$(dir_of "$sound")
  while read -r file; do
    for harm in flipped cropped; do
      cp "$dir/$file" "$BATS_TEST_TMPDIR/good"
      "$harm" "$dir/$file"
      tried=$((tried + 1))
      rekindle verify "$sound" >/dev/null && {
        echo "$file, $harm: it verifies"
        bad=$((bad + 1))
      }
      if quarantined "$sound"; then
        cat "$BATS_TEST_TMPDIR/good" >"$LAB_DIR/store/quarantine/$sound/$file"
        rekindle quarantine release "$sound" >/dev/null
      else
        # Without a manifest it is nobody's, and never listed.
        [[ $file == manifest.json ]]
        run ! listed "$sound"
        cat "$BATS_TEST_TMPDIR/good" >"$dir/$file"
      fi
      listed "$sound"
    done
  done < <(cd "$dir" && find . -type f -size +0 -printf '%P\n')
  ((bad == 0))
  at_least 40 "$tried"
  rekindle verify "$sound"
  crash keeper
  comes_from keeper "$sound"
}

# flipped FILE changes a random bit of it, cropped FILE takes some of its end.
flipped() {
  local at=$(((RANDOM << 15 | RANDOM) % $(stat -c %s "$1"))) byte
  byte=$(od -An -tu1 -j "$at" -N 1 "$1")
  printf '%b' "\\x$(printf %x $((byte ^ 1 << RANDOM % 8)))" | dd of="$1" bs=1 seek="$at" conv=notrunc status=none
}
cropped() { truncate -s "$((RANDOM % $(stat -c %s "$1")))" "$1"; }

@test "a checkpoint with a file too many is refused" {
  why='criu/extra.img' refused cp criu/core-1.img criu/extra.img
}

@test "a checkpoint with a link in the place of an image is refused" {
  link() {
    mv criu/core-1.img "$BATS_TEST_TMPDIR/core-1.img"
    ln -s "$BATS_TEST_TMPDIR/core-1.img" criu/core-1.img
  }
  why='criu/core-1.img' refused link
}

@test "a checkpoint whose images others may write is refused" {
  why='criu/core-1.img' refused chmod 666 criu/core-1.img
}

@test "a checkpoint with a manifest cut short is refused" {
  why='manifest' refused truncate -s 200 manifest.json
}

@test "a checkpoint with an altered manifest is refused" {
  why='manifest' refused sed -i 's/"podName":"keeper"/"podName":"keepes"/; s/"podName": "keeper"/"podName": "keepes"/' manifest.json
}

@test "when the only checkpoint is damaged the container starts cold, and it is looked at once" {
  anew few
  counter few
  local only
  only=$(checkpoint few)
  truncate -s 1 "$(dir_of "$only")/criu/pages-1.img"
  criu_is <<<'exec "$real" "$@"'
  crash few
  cold few 15
  crash few
  cold few 15
  run ! called restore
  [[ $(decisions few | grep -c "^quarantine taken $only") == 1 ]]
  quarantined "$only"
}

@test "a checkpoint that was never completed is invisible, and swept" {
  local sound store=$LAB_DIR/store half=01ARZ3NDEKTSV4RRFFQ69G5FAV copy
  sound=$(checkpoint keeper)
  # The id of one made a moment later.
  copy=$(dir_of "$sound")
  copy=${copy%????}ZZZZ
  cp -a "$(dir_of "$sound")" "$store/staging/$half"
  cp -a "$(dir_of "$sound")" "$copy"
  rm "$copy/manifest.json"
  run ! listed "$half"
  run ! listed "${copy##*/}"
  criu_is <<<'exec "$real" "$@"'
  crash keeper
  has "restore taken $sound" decisions keeper
  run ! called restore "$half"
  run ! called restore "${copy##*/}"
  restart_daemon
  nothing_staged
  listed "$sound"
}

@test "a sound checkpoint under the id of another is refused" {
  local sound newer
  sound=$(checkpoint keeper)
  newer=$(checkpoint keeper)
  rm -rf "$(dir_of "$newer")"
  cp -a "$(dir_of "$sound")" "$(dirname "$(dir_of "$sound")")/$newer"
  crash keeper
  has "restore taken $sound" decisions keeper
  quarantined "$newer"
}

@test "restoring changes nothing in a checkpoint, so that it can be restored again" {
  local sound before
  sound=$(checkpoint keeper)
  before=$(everything_of "$sound")
  crash keeper
  crash keeper
  [[ $(decisions keeper | grep -c "^restore taken $sound") == 2 ]]
  diff <(echo "$before") <(everything_of "$sound")
}

@test "the newest checkpoints are kept, as many as rekindle.dev/keep says, and the others are removed" {
  anew few
  counter few rekindle.dev/keep=2
  local made=()
  for _ in 1 2 3 4; do made+=("$(checkpoint few)"); done
  [[ $(rekindle list -o json | jq -r '[.checkpoints[] | select(.pod == "few").id] | join(" ")') == "${made[3]} ${made[2]}" ]]
  run -0 ls "$(dirname "$(dir_of "${made[3]}")")"
  [[ $output == "${made[2]}"$'\n'"${made[3]}" ]]
  [[ -z $(ls -A "$LAB_DIR/store/trash") ]]
}
