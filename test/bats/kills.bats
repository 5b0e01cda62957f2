#!/usr/bin/env bats
# What the interval trigger promises: whenever a worker is killed, it goes on from
# its last checkpoint, and it is never us who bring it down again. Workers are
# killed side by side, because the kubelet waits longer with each restart of one.
#
# A worker that is killed again before it has settled counts against its
# checkpoint, which loopguard.bats is about; so each is left alone until then.
bats_require_minimum_version 1.5.0

workers=10
kills=5 # of each worker

setup_file() {
  load lab
  load faults
  settings <<TOML
[limits]
settle = "1s"
TOML
}

teardown_file() {
  load lab
  load faults
  clean
  settings_again
  rm -rf "$LAB_DIR/log/lives"
}

setup() {
  load lab
  load faults
}

# of_pod POD prints the id, the time and the pause in seconds of its checkpoints,
# the newest first.
of_pod() {
  rekindle list -o json | jq -r --arg pod "$1" '.checkpoints[] | select(.pod == $pod) | "\(.id) \(.created) \(.pauseNs / 1e9 | ceil)"'
}

has_checkpoint() { [[ -n $(of_pod "$1") ]]; }

# restores POD prints from which checkpoints it was restored, the last one last.
restores() {
  grep -F 'msg="restored in ' "$LAB_DIR/log/rekindled.log" | grep -E " pod=$1( |$)" | grep -o ' checkpoint=[0-9A-Z]*' | cut -d= -f2
}
restored_times() { at_least "$2" "$(restores "$1" | wc -l)"; }

# settled ID: nothing is held against the checkpoint, or it has been replaced
# already, which happens to no other.
settled() { ! listed "$1" >/dev/null || [[ $(rekindle inspect "$1" -o json | jq -r '.marks.attempts // 0') == 0 ]]; }

# printed LOG prints the second of each line of a container's log, and the number
# on it.
printed() { paste -d' ' <(cut -d' ' -f1 "$1" | date -f - +%s) <(cut -d' ' -f4 "$1"); }

# log_of POD RESTARTS names the log of the container that was started then.
log_of() { printf '%s/log/lives/%s-%s\n' "$LAB_DIR" "$1" "$2"; }

# watched POD RESTARTS keeps that log, which the kubelet removes with the container,
# and returns when there is something in it.
watched() {
  local log
  log=$LAB_DIR/var/log/pods/default_$1_$(pod_uid "$1")/app/$2.log
  wait_for 30 test -s "$log"
  mkdir -p "$LAB_DIR/log/lives"
  ln -f "$log" "$(log_of "$1" "$2")"
}

# kill_often POD SEED kills a worker at random moments. Each time it must go on
# from its newest checkpoint, and lose nothing that it had printed before that.
kill_often() {
  local pod=$1 life=$BATS_TEST_TMPDIR/$1.life killed earlier newest used before after created pause
  RANDOM=$2
  earlier=$(restores "$pod" | wc -l)
  counter "$pod" rekindle.dev/on=interval rekindle.dev/interval=5s
  watched "$pod" 0
  wait_for 60 has_checkpoint "$pod"
  for ((killed = 1; killed <= kills; killed++)); do
    sleep "$((RANDOM % 7)).$((RANDOM % 10))"
    read -r newest _ < <(of_pod "$pod")
    in-node kill -9 "$(init_pid "$pod")"
    kubectl wait "pod/$pod" --for=jsonpath='{.status.containerStatuses[0].restartCount}'="$killed" --timeout=90s
    ready "$pod"
    [[ $(ended "$pod") == '137 '* ]]
    wait_for 30 restored_times "$pod" $((earlier + killed))

    # One may have been completed after the look and before the kill.
    used=$(restores "$pod" | tail -n 1)
    [[ $used == "$newest" || $used > $newest ]] || {
      echo "$pod was restored from $used, although there was $newest"
      return 1
    }
    echo "$used" >>"$BATS_TEST_TMPDIR/used"
    read -r _ created pause < <(of_pod "$pod" | grep "^$used")
    # The pause ended before the checkpoint was written down, and by the clock of
    # whole seconds that may be two.
    before=$(($(date -d "$created" +%s) - pause - 2))
    printed "$(log_of "$pod" $((killed - 1)))" >>"$life"
    before=$(awk -v limit="$before" '$1 <= limit {number = $2} END {print number + 0}' "$life")
    watched "$pod" "$killed"
    after=$(printed "$(log_of "$pod" "$killed")" | awk 'NR == 1 {print $2}')
    echo "$pod, kill $killed: had printed $(tail -n 1 "$life" | cut -d' ' -f2), $before before $used, and went on at $after"
    at_least "$before" "$after"
    wait_for 60 settled "$used"
  done
}

@test "workers that are killed 50 times at random lose no more than the work since their last checkpoint, and do not fall into a crash loop" {
  local seed=${KILLS_SEED:-$SRANDOM} number jobs=() failed=0
  echo "# KILLS_SEED=$seed makes the same choices again" >&3
  for ((number = 1; number <= workers; number++)); do
    kill_often "worker-$number" $(((seed + number) % 32768)) >"$BATS_TEST_TMPDIR/log-$number" 2>&1 3>&- &
    jobs+=($!)
  done
  for number in "${!jobs[@]}"; do wait "${jobs[number]}" || failed=1; done
  cat "$BATS_TEST_TMPDIR"/log-*
  ((failed == 0))

  # As many restarts as kills, and a restore at each: no container ended by itself,
  # so that the kubelet has waited no longer than it would have for any pod.
  for ((number = 1; number <= workers; number++)); do
    [[ $(restarts "worker-$number") == "$kills" ]]
  done
  at_least $((workers * kills)) "$(wc -l <"$BATS_TEST_TMPDIR/used")"
  # It was not the first checkpoint that served all the time.
  at_least $((workers * 2)) "$(sort -u "$BATS_TEST_TMPDIR/used" | wc -l)"
}
