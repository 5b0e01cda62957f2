# How long and how much, on a lab that is up: what the wake suite checks and what
# "make bench" records. Loaded after lab.bash, faults.bash and visitor.bash. A
# figure is one line of JSON, in $figures; README.md says what is in it.
# shellcheck shell=bash

# The middle of some numbers, and what all but one of a hundred stay below.
quantiles='def at(q): sort | .[((length - 1) * q) | round];
  def median: at(0.5); def p99: at(0.99);
  def tenths: . * 10 | round / 10;'

# figure JQ-PROGRAM [JQ-ARGUMENT...] adds a figure, and prints it for who watches.
figure() {
  local program=$1 line
  shift
  line=$(jq -cn "$@" "$quantiles $program") || return
  printf '%s\n' "$line" >>"$figures"
  jq -r '"\(.figure), \(.of): " + (del(.figure, .of) | to_entries | map("\(.key) \(.value)") | join(", "))' <<<"$line" >&3
}

# put_to_sleep POD: one that is just waking counts as asleep for a moment.
put_to_sleep() {
  local before try
  before=$(naps "$1")
  for ((try = 0; try < 50; try++)); do
    rekindle suspend "default/$1" >/dev/null || return
    (($(naps "$1") == before)) || return 0
    sleep 0.1
  done
  return 1
}

naps() { rekindle explain "default/$1" -o json | jq '.containers[0].suspension.times // 0'; }

# bare POD ROUNDS prints, as a JSON list of milliseconds, how long criu by itself
# takes to restore the checkpoint that a pod sleeps in, with the same options and
# sockets.
bare() {
  # shellcheck disable=SC2016 # the node expands it
  in-node bash -ec '
    root=/run/bare/$1
    mkdir -p "$root"
    eval "$(ctr -n k8s.io snapshots mounts "$root" "$1")"
    trap "umount $root; rmdir $root" EXIT
    "$2" -bundle "/run/containerd/io.containerd.runtime.v2.task/k8s.io/$1" -checkpoint "$5" \
      -handover "/run/rekindle/containers/$1/handover" -holder "$3" -root "$root" -rounds "$4"
  ' bare "$(container_id "$1")" "$test_programs/bare" "$(shim_pid "$1")" "$2" "$(bed "$1")/criu"
}

# bed POD prints the directory of the checkpoint that a pod sleeps in. It is looked
# for, since who is asked for it reads all of it.
bed() {
  find "$LAB_DIR/store/checkpoints" -maxdepth 4 -type d \
    -name "$(rekindle explain "default/$1" -o json | jq -r '.containers[0].suspension.checkpoint')"
}

# wakes POD WHAT TARGET GOAL ROUNDS puts a pod to sleep, over and over, and lets one
# client from another pod ask each time: what it waited, from before it connected
# to its answer. Before and after, criu restores the same by itself. The target is
# GOAL milliseconds at the median or, on a slower machine, 25 more than 1.2 times
# what criu takes.
wakes() {
  local before after
  put_to_sleep "$1" || return
  before=$(bare "$1" 10) || return
  rekindle resume "default/$1" >/dev/null
  # The first round warms up.
  visit "$1" clients $(($5 + 1)) "$3"
  visited "$1" $(($5 + 1)) || return
  put_to_sleep "$1" || return
  after=$(bare "$1" 10) || return
  rekindle resume "default/$1" >/dev/null
  figure '($before + $after) as $bare | $visit[0].first[1:] as $waits | ($bare | median) as $criu | {
      figure: "wake", of: $of, n: ($waits | length),
      median_ms: ($waits | median | tenths), p99_ms: ($waits | p99 | tenths),
      bare_criu_n: ($bare | length), bare_criu_median_ms: ($criu | tenths),
      target_ms: ([$goal, 1.2 * $criu + 25] | max | tenths)
    } | .met = (.median_ms <= .target_ms)' \
    --arg of "$2" --argjson before "$before" --argjson after "$after" --argjson goal "$4" \
    --slurpfile visit "$BATS_TEST_TMPDIR/$1.visit"
}

# crowd POD WHAT TARGET ROUNDS: as wakes, with all clients of TARGET at once, of
# whom the first and the last that is answered count.
crowd() {
  local count=${3##*\*}
  visit "$1" clients "$4" "$3"
  visited "$1" $(($4 * count)) || return
  figure '$visit[0] | {figure: "crowd", of: $of, n: (.first | length), clients: $clients,
      answered: .answered, failed: (.failed | length),
      first_median_ms: (.first | median | tenths), last_median_ms: (.last | median | tenths)}' \
    --arg of "$2" --argjson clients "$count" --slurpfile visit "$BATS_TEST_TMPDIR/$1.visit"
}

# available prints what the node has available, in KiB, when it has stopped changing:
# what was freed gets into the kernel's count only after a while.
available() {
  local try before now=0
  for ((try = 0; try < 20; try++)); do
    before=$now
    now=$(awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo)
    ((now - before >= 1024 || before - now >= 1024)) || break
    sleep 0.5
  done
  printf '%s\n' "$now"
}

# cached POD prints how much of the images that a pod sleeps in is in the page cache,
# in KiB.
cached() { fincore --bytes --noheadings --output RES "$(bed "$1")"/criu/pages-*.img | awk '{ n += $1 } END { print int(n / 1024) }'; }

# memory POD WHAT ROUNDS: what the node has available while the pod is awake, asleep
# and awake again, and how much of its images stays in the page cache as it sleeps.
memory() {
  local round rows=
  for ((round = 0; round < $3; round++)); do
    rows+="[$(available),"
    put_to_sleep "$1" || return
    rows+="$(available),$(cached "$1"),"
    rekindle resume "default/$1" >/dev/null
    rows+="$(available)]"
  done
  figure '[$rows[] | map(. / 1024)] as $r | {
      figure: "memory", of: $of, n: ($r | length),
      available_before_mib: ($r | map(.[0]) | median | round), available_asleep_mib: ($r | map(.[1]) | median | round),
      available_after_mib: ($r | map(.[3]) | median | round),
      given_back_mib: ($r | map(.[1] - .[0]) | median | round),
      images_cached_mib: ($r | map(.[2]) | median | round)}' \
    --arg of "$2" --slurpfile rows <(printf '%s\n' "$rows")
}

# anonymous PID prints a process's anonymous memory, in KiB.
anonymous() { in-node awk '$1 == "RssAnon:" { print $2 }' "/proc/$1/status"; }

# shim_of POD prints the id of a pod's shim, ours or containerd's own.
shim_of() { in-node pgrep -f "containerd-shim-r.*-v2 .*-id $(sandbox_id "$1")"; }

# shims_of POD... prints the anonymous memory of the pods' shims, as a JSON list.
shims_of() {
  local pod
  for pod in "$@"; do anonymous "$(shim_of "$pod")"; done | jq -cs .
}

# used PID... prints the processor time of processes until now, in nanoseconds.
used() { in-node "$test_programs/clock" "$@"; }

# processor WHAT SECONDS PID... : the processor time that processes use, each second
# and each of them.
processor() {
  local what=$1 seconds=$2 before after
  shift 2
  before=$(used "$@")
  sleep "$seconds"
  after=$(used "$@")
  figure '{figure: "processor", of: $of, n: $n, seconds: $seconds, each_us_per_s: ($ns / 1000 / $seconds / $n | tenths)}' \
    --arg of "$what" --argjson n $# --argjson seconds "$seconds" --argjson ns $((after - before))
}

# pauses POD WHAT ROUNDS: how long a pod stands still for a checkpoint.
pauses() {
  local round
  for ((round = 0; round < $3; round++)); do
    rekindle checkpoint "default/$1" -o json | jq '.checkpoints[0].pauseNs'
  done >"$BATS_TEST_TMPDIR/$1.pauses" || return
  figure '$pauses | map(. / 1e6) | {figure: "pause", of: $of, n: length, median_ms: (median | tenths), longest_ms: (max | tenths)}' \
    --arg of "$2" --slurpfile pauses "$BATS_TEST_TMPDIR/$1.pauses"
}

# shim_memory WHAT OURS STOCK: the memory of shims beside that of containerd's own,
# as lists.
shim_memory() {
  figure '($ours | median / 1024) as $o | ($stock | median / 1024) as $s | {
      figure: "shim memory", of: $of, n: ($ours | length),
      ours_mib: ($o | tenths), stock_mib: ($s | tenths), more_mib: ($o - $s | tenths)}' \
    --arg of "$1" --argjson ours "$2" --argjson stock "$3"
}
