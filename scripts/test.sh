#!/usr/bin/env bash
# Runs the tests, each kind a phase:
#   test.sh [lint] [vet] [unit] [e2e] [vm]
# All phases run, whatever the others say. The last line is "N passed, N
# failed", over Go tests and bats tests; a phase that fails without a failed
# test counts as one. A skipped test counts as failed: who runs this wants to
# know that everything was tried. Settings, by environment:
#   LAB_DIR, LAB_PORT, REKINDLE_CACHE  as for test/lab/up.sh
#   SUITES    the bats files to run instead of all of them
#   LABS      how many labs the suites are shared out to (3); most of a suite is
#             waiting, so three of them keep two processors busy
#   KEEP_LAB  when set, the labs stay up for another run
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

(($# > 0)) || set -- lint vet unit e2e vm
for name in "$@"; do
  case $name in
    lint | vet | unit | e2e | vm) ;;
    *)
      echo "test.sh: there is no phase '$name': lint, vet, unit, e2e, vm" >&2
      exit 2
      ;;
  esac
done

: "${LAB_DIR:=/var/tmp/rekindle-lab}" "${LAB_PORT:=16443}"
export LAB_DIR LAB_PORT
passed=0
failed=0
phase_failed=0
times=()
labs=() shared=() alone=()
preparing=''
work=$(mktemp -d)

say() { printf '\n=== %s\n' "$*"; }

# count WHAT PASSED FAILED: adds up, and tells a phase's own result.
count() {
  passed=$((passed + $2))
  failed=$((failed + $3))
  if (($2 + $3 == 0)); then
    printf '%s: passed\n' "$1"
  else
    printf '%s: %d passed, %d failed\n' "$1" "$2" "$3"
  fi
}

# phase NAME COMMAND: runs it in a subshell that stops at the first error; so it
# must not stand in a condition, where bash would not stop. What the command
# leaves in $work/NAME.count is "passed failed"; phase_failed is for the caller.
phase() {
  local name=$1 began=$SECONDS status=0 good=0 bad=0
  shift
  say "$name"
  set +e
  (
    set -e
    "$@"
  )
  status=$?
  set -e
  if [[ -r $work/$name.count ]]; then
    read -r good bad <"$work/$name.count"
  fi
  if ((status != 0 && bad == 0)); then
    printf '%s: did not pass (see above)\n' "$name" >&2
    bad=1
  fi
  count "$name" "$good" "$bad"
  times+=("$(printf '%-12s %4d s' "$name" $((SECONDS - began)))")
  phase_failed=$bad
}

finish() {
  local status=$?
  trap - EXIT INT TERM
  set +e
  [[ -z $preparing ]] || kill -- "-$preparing" 2>/dev/null
  if ((${#labs[@]} > 0)) && [[ -z ${KEEP_LAB:-} ]]; then
    phase lab-down each_lab test/lab/down.sh
  fi
  rm -rf "$work"
  say 'time'
  printf '%s\n' "${times[@]}"
  if ((status != 0)); then
    printf 'ended early\n' >&2
    failed=$((failed + 1))
  fi
  printf '\n%d passed, %d failed\n' "$passed" "$failed"
  ((failed == 0)) || exit 1
  exit 0
}

# What bats does to a script: tests are subshells, helpers come by "load", and
# programs for the inside of the node are quoted.
bats_ways=SC2016,SC2030,SC2031,SC2034,SC2119,SC2120,SC2154

lint() {
  local tools linter formatter scripts suites
  test/lab/host-packages.sh lint
  tools=$(test/lab/tools.sh lint)
  linter=$(grep '/golangci-lint$' <<<"$tools")
  formatter=$(grep '/shfmt$' <<<"$tools")
  "$linter" run ./...
  # bin/ is the only folder with files that are not ours.
  mapfile -t scripts < <("$formatter" -f . | grep -vE '^(bin|bench|test/bats|test/soak)/|^test/vm/.*\.bats$')
  mapfile -t suites < <("$formatter" -f bench test/bats test/soak && printf '%s\n' test/vm/*.bats)
  "$formatter" -d "${scripts[@]}" "${suites[@]}"
  shellcheck --external-sources "${scripts[@]}"
  shellcheck --external-sources --exclude "$bats_ways" "${suites[@]}"
  ruby -c Vagrantfile >/dev/null
}

vet() {
  local module
  for module in . test/lab/images test/lab/workloads; do
    (cd "$module" && go vet ./...)
  done
}

unit() {
  local status=0
  test/lab/host-packages.sh build test
  CGO_ENABLED=1 go test -race -json ./... >"$work/unit.json" || status=$?
  jq -r 'select(.Action == "build-output").Output,
    select(.Test == null and .Action == "output" and .Output != "PASS\n").Output' "$work/unit.json" | sed '/^$/d'
  # What the tests that failed have said.
  jq -sj '(map(select(.Test and .Action == "fail") | .Package + " " + .Test) | unique) as $bad
    | .[] | select(.Test and .Action == "output" and (.Package + " " + .Test | IN($bad[]))).Output' "$work/unit.json"
  jq -r 'select(.Test and .Action == "skip") | "skipped, which counts as failed: \(.Package) \(.Test)"' "$work/unit.json"
  # A package that does not build, or dies, has no failed test to show for it.
  jq -sr '(map(select(.Test and .Action == "fail").Package) | unique) as $told
    | [(map(select(.Test and .Action == "pass")) | length),
       (map(select(.Test and (.Action == "fail" or .Action == "skip"))
          , select(.Test == null and .Action == "fail" and (.Package | IN($told[]) | not))) | length)]
    | join(" ")' "$work/unit.json" >"$work/unit.count"
  return "$status"
}

# lab_up also fetches what the suites need from the distribution.
lab_up() {
  if [[ -z ${LAB_PARTS:-} ]]; then
    test/lab/host-packages.sh lab test
    make --no-print-directory build test-programs
  fi
  each_lab test/lab/up.sh cluster
}

# each_lab COMMAND...: for every lab that is used here, one after the other.
each_lab() {
  local lab
  for lab in "${labs[@]}"; do
    LAB_DIR=${lab%:*} LAB_PORT=${lab#*:} "$@"
  done
}

# choose decides which suites run, and in which labs. A suite that measures times
# is tagged "alone": it comes at the end, when nothing else runs.
choose() {
  local suites suite lab
  read -r -a suites <<<"${SUITES:-$(echo test/bats/*.bats)}"
  # The longest first, so that no lab is left with one at the end.
  mapfile -t suites < <(for suite in "${suites[@]}"; do
    printf '%d %s\n' "$(grep -c '^@test' "$suite")" "$suite"
  done | sort -rn | cut -d' ' -f2-)
  for suite in "${suites[@]}"; do
    if grep -q '^# bats file_tags=alone$' "$suite"; then
      alone+=("$suite")
    else
      shared+=("$suite")
    fi
  done
  labs=("$LAB_DIR:$LAB_PORT")
  for ((lab = 2; lab <= ${LABS:-3} && lab <= ${#shared[@]}; lab++)); do
    labs+=("$LAB_DIR-$lab:$((LAB_PORT + lab - 1))")
  done
}

# in_lab LAB SUITE...: runs each suite that no other lab has taken. What a suite
# prints appears when it is through, in one piece.
in_lab() {
  local lab=${1%:*} suite name began status
  shift
  # shellcheck source=/dev/null
  source "$lab/env"
  for suite in "$@"; do
    name=${suite##*/}
    mkdir "$work/taken-$name" 2>/dev/null || continue
    began=$SECONDS status=0
    forget >"$work/$name.forget" 2>&1 || status=$?
    if ((status != 0)); then
      printf '\n# %s: the lab could not be cleared for it\n' "$suite" | cat - "$work/$name.forget"
    fi
    bats --formatter tap --timing --print-output-on-failure "$suite" >"$work/$name.tap" 2>"$work/$name.err" || status=$?
    printf '%s\n' "$status" >"$work/$name.status"
    printf '\n# %s (%d s)\n' "$suite" $((SECONDS - began)) | cat - "$work/$name.tap" "$work/$name.err"
  done
}

# forget takes away what an earlier suite has left in the lab that is sourced. The
# daemon knows pods by their names, and so does whoever counts its decisions.
forget() {
  kubectl delete deployments,statefulsets,jobs,pods --all --now --timeout=60s || true
  lab-service stop rekindled
  rm -rf "${LAB_DIR:?}/store"
  mkdir -m 700 "$LAB_DIR/store"
  lab-service start rekindled
}

e2e() {
  local lab
  for lab in "${labs[@]}"; do
    in_lab "$lab" "${shared[@]}" &
  done
  wait
  if ((${#alone[@]} > 0)); then
    # What measures times has the machine to itself.
    for lab in "${labs[@]:1}"; do
      [[ -n ${KEEP_LAB:-} ]] || LAB_DIR=${lab%:*} LAB_PORT=${lab#*:} test/lab/down.sh
    done
    in_lab "${labs[0]}" "${alone[@]}"
  fi
  tally e2e "${shared[@]}" "${alone[@]}"
}

# vm is a few tests on a machine with systemd and cgroup version 2.
vm() {
  local status=0
  make --no-print-directory build
  # A few minutes under emulation. Should the machine hang, the run goes on.
  timeout 900 test/vm/test.sh smoke >"$work/smoke.bats.tap" || status=$?
  cat "$work/smoke.bats.tap"
  printf '%s\n' "$status" >"$work/smoke.bats.status"
  tally vm smoke.bats
}

# tally PHASE SUITE...: counts the tests of all suites. Those that were planned and have
# not run are among the failed, and so is a suite that could not be read.
tally() {
  local phase=$1 suite name planned fine skipped good=0 bad=0
  shift
  for suite in "$@"; do
    name=$work/${suite##*/}
    planned=$(sed -n 's/^1\.\.//p' "$name.tap" | head -n 1)
    skipped=$(grep -cE '^ok .*# skip' "$name.tap") || true
    fine=$(($(grep -c '^ok ' "$name.tap" || true) - skipped))
    grep -E '^ok .*# skip' "$name.tap" | sed 's/^/skipped, which counts as failed: /' || true
    good=$((good + fine))
    bad=$((bad + ${planned:-0} - fine))
    if [[ $(cat "$name.status") != 0 ]] && ((${planned:-0} == fine)); then
      printf 'failed, though none of its tests did: %s\n' "$suite"
      bad=$((bad + 1))
    fi
  done
  printf '%d %d\n' "$good" "$bad" >"$work/$phase.count"
  ((bad == 0 && good > 0))
}

trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
if [[ " $* " == *' e2e '* ]]; then
  # All at once, for two package clients would be in each other's way.
  needs=(build lab test lint)
  [[ " $* " != *' vm '* ]] || needs+=(vm)
  test/lab/host-packages.sh "${needs[@]}" || true
  # Who needs a part before it is there waits for it, and who needs one that could
  # not be made tries it again, and tells.
  setsid nice -n 10 scripts/prepare.sh "$@" >"$work/prepared" 2>&1 &
  preparing=$!
fi
for name in "$@"; do
  if [[ $name != e2e ]]; then
    phase "$name" "$name"
    continue
  fi
  choose
  phase lab-up lab_up
  ((phase_failed > 0)) || phase e2e e2e
done
