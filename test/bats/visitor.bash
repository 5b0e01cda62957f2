# Clients that put a pod to sleep and ask for it; see test/lab/workloads/visitor.
# Loaded after lab.bash and faults.bash.
# shellcheck shell=bash

# clients starts the pod from which visitors come. They are no part of the node.
clients() { pod clients busybox '[sleep, "3600"]'; }

# sandbox_pid POD prints the id of a process that lives as long as the pod.
sandbox_pid() { in-node ctr -n k8s.io task ls | awk -v id="$(sandbox_id "$1")" '$1 == id { print $2 }'; }

# come POD FROM ROUNDS COMMAND TARGET... has a visitor, who lives in the network of
# the pod FROM, ask for a pod each time that the command has returned, which sees to
# it that the pod sleeps. What the visitor tells is left in POD.visit.
come() {
  in-node nsenter --net="/proc/$(sandbox_pid "$2")/ns/net" -- "$test_programs/visitor" -rounds "$3" -suspend "$4" "${@:5}" \
    >"$BATS_TEST_TMPDIR/$1.visit" 2>&1
}

# visit POD FROM ROUNDS TARGET... has a visitor put a pod to sleep and ask for it,
# over and over. A pod that is just waking may count as asleep; it is put to sleep
# until it was once more.
visit() {
  local times
  times="rekindle explain default/$1 -o json | jq '.containers[0].suspension.times // 0'"
  come "${@:1:3}" "
    n=\$($times) tries=0
    until [ \$($times) -gt \$n ]; do
      [ \$((tries += 1)) -lt 100 ] && rekindle suspend default/$1 || exit
    done" "${@:4}"
}

# visited POD ANSWERS: the visitor was answered every time.
visited() {
  jq -c '{answered, failed: .failed[:5], first, last}' "$BATS_TEST_TMPDIR/$1.visit" || cat "$BATS_TEST_TMPDIR/$1.visit"
  jq -e --argjson n "$2" '.answered == $n and .failed == []' "$BATS_TEST_TMPDIR/$1.visit" >/dev/null
}
