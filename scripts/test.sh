#!/usr/bin/env bash
# Runs the tests, each kind a phase:
#   test.sh [lint] [vet] [unit] [e2e]
# All phases run, whatever the others say. The last line is "N passed, N
# failed", over Go tests and bats tests; a phase that fails without a failed
# test counts as one. A skipped test counts as failed: who runs this wants to
# know that everything was tried. Settings, by environment:
#   LAB_DIR, LAB_PORT, REKINDLE_CACHE  as for test/lab/up.sh
#   SUITES    the bats files to run instead of all of them
#   KEEP_LAB  when set, the lab stays up for another run
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

(($# > 0)) || set -- lint vet unit e2e
for name in "$@"; do
  case $name in
    lint | vet | unit | e2e) ;;
    *)
      echo "test.sh: there is no phase '$name': lint, vet, unit, e2e" >&2
      exit 2
      ;;
  esac
done

: "${LAB_DIR:=/var/tmp/rekindle-lab}"
export LAB_DIR
passed=0
failed=0
phase_failed=0
times=()
lab_is_ours=
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
  if [[ -n $lab_is_ours && -z ${KEEP_LAB:-} ]]; then
    phase lab-down test/lab/down.sh
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
  mapfile -t scripts < <("$formatter" -f . | grep -vE '^(bin|test/bats)/')
  mapfile -t suites < <("$formatter" -f test/bats)
  "$formatter" -d "${scripts[@]}" "${suites[@]}"
  shellcheck --external-sources "${scripts[@]}"
  shellcheck --external-sources --exclude "$bats_ways" "${suites[@]}"
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
  test/lab/host-packages.sh lab test
  make --no-print-directory build
  test/lab/up.sh cluster
}

e2e() {
  local suites status=0 planned good bad skipped
  read -r -a suites <<<"${SUITES:-$(echo test/bats/*.bats)}"
  [[ -e ${suites[0]} ]] || {
    echo "there are no suites: ${suites[*]}" >&2
    return 1
  }
  # shellcheck source=/dev/null
  source "$LAB_DIR/env"
  bats --formatter tap --timing --print-output-on-failure --jobs 1 "${suites[@]}" |
    tee "$work/e2e.tap" || status=$?
  planned=$(sed -n 's/^1\.\.//p' "$work/e2e.tap" | head -n 1)
  skipped=$(grep -cE '^ok .*# skip' "$work/e2e.tap") || true
  good=$(($(grep -c '^ok ' "$work/e2e.tap" || true) - skipped))
  # Tests that were planned and have not run are among the failed.
  bad=$((${planned:-0} - good))
  grep -E '^ok .*# skip' "$work/e2e.tap" | sed 's/^/skipped, which counts as failed: /' || true
  printf '%d %d\n' "$good" "$bad" >"$work/e2e.count"
  ((status == 0 && good > 0))
}

trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
for name in "$@"; do
  if [[ $name != e2e ]]; then
    phase "$name" "$name"
    continue
  fi
  lab_is_ours=yes
  phase lab-up lab_up
  ((phase_failed > 0)) || phase e2e e2e
done
