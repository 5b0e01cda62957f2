#!/usr/bin/env bats
# Workloads that are more than one process with some memory: several processes,
# many threads, open connections, probes and sessions during checkpoints.
# shellcheck disable=SC2016 # what is quoted is for the pods' shells

setup() {
  load lab
  clean
}

teardown() {
  disconnect
  clean
}

# failed_probes POD prints the kubelet's words about every probe that failed.
failed_probes() {
  local uid
  uid=$(pod_uid "$1")
  kubectl get events --field-selector "involvedObject.uid=$uid,reason=Unhealthy" -o jsonpath='{.items[*].message}'
}

# connect POD NUMBER opens connections to a tcpserver, which stay open.
connect() {
  coproc client {
    exec in-node bash -c '
      trap "" PIPE
      for ((i = 0; i < $2; i++)); do
        exec {connection}<>"/dev/tcp/$1/9000" && connections+=("$connection")
      done
      while read -r line; do
        answered=0
        for connection in "${connections[@]}"; do
          echo "$line" >&"$connection" && read -r -t 5 -u "$connection" answer &&
            [[ $answer == *" $line" ]] && answered=$((answered + 1))
        done 2>/dev/null
        echo "$answered"
      done' client "$(pod_ip "$1")" "$2" 3>&-
  }
}

# answered LINE prints on how many of the connections the line comes back.
answered() {
  local number
  echo "$1" >&"${client[1]}"
  read -r -t 30 -u "${client[0]}" number
  echo "$number"
}

disconnect() {
  [[ -z ${client_PID:-} ]] || kill "$client_PID" 2>/dev/null || true
}

@test "a server of several processes: all children are back, with their counts" {
  pod prefork workloads '[prefork]' rekindle.dev/on=request
  wait_for 10 counted prefork 30
  local before after id
  before=$(http prefork / | jq -c '[.children[] | [.pid, .count]]')
  id=$(checkpoint prefork)

  crash prefork

  comes_from prefork "$id"
  after=$(http prefork / | jq -c '[.children[] | [.pid, .count]]')
  echo "before: $before, after: $after"
  # The same processes, none begun anew.
  jq -en --argjson before "$before" --argjson after "$after" '
    ($before | length) == 4 and ($after | length) == 4
    and all(range(4); $after[.][0] == $before[.][0] and $after[.][1] >= $before[.][1])'
}

# counted POD NUMBER: every child of a prefork server has counted so far.
counted() { http "$1" / | jq -e --argjson n "$2" 'all(.children[]; .count >= $n)'; }

@test "fifty threads: all are back, and each goes on" {
  pod threads workloads '[threads]' rekindle.dev/on=request
  wait_for 10 least_counted threads 30
  local before after id
  before=$(http threads / | jq -c .)
  id=$(checkpoint threads)

  crash threads

  comes_from threads "$id"
  after=$(http threads / | jq -c .)
  jq -en --argjson before "$before" --argjson after "$after" '
    $after.threads == $before.threads and $after.least >= $before.least'
  wait_for 10 least_counted threads "$(($(jq .most <<<"$after") + 5))"
}

# least_counted POD NUMBER: no thread has counted less.
least_counted() { http "$1" / | jq -e --argjson n "$2" '.least >= $n'; }

# tcpserver NAME starts a server whose TCP liveness probe may not fail once.
tcpserver() {
  apply <<EOF
apiVersion: v1
kind: Pod
metadata: { name: $1, annotations: $(annotated rekindle.dev/on=request) }
spec:
  runtimeClassName: rekindle
  terminationGracePeriodSeconds: 1
  containers:
    - name: app
      image: rekindle.test/workloads:lab
      imagePullPolicy: Never
      command: [tcpserver]
      livenessProbe: { tcpSocket: { port: 9000 }, periodSeconds: 1, timeoutSeconds: 1, failureThreshold: 1 }
EOF
  ready "$1"
}

@test "open connections and a TCP probe live through ten checkpoints" {
  tcpserver server
  connect server 5
  [ "$(answered hello)" = 5 ]

  local i
  for i in {1..10}; do
    checkpoint server
    [ "$(answered "after checkpoint $i")" = 5 ]
  done

  [ -z "$(failed_probes server)" ]
  [ "$(restarts server)" = 0 ]
}

@test "after a restore old connections are closed, and new ones are served" {
  tcpserver server
  connect server 5
  [ "$(answered hello)" = 5 ]
  checkpoint server

  crash server

  [ "$(answered "anybody there?")" = 0 ]
  # The restored process has noticed too, and its own count goes on.
  wait_for 10 has '"open":0' http server /
  disconnect
  connect server 3
  [ "$(answered "a new one")" = 3 ]
  [ "$(http server / | jq .lines)" = 8 ]
}

@test "an exec probe every second: no checkpoint fails for it, and no probe for a checkpoint" {
  apply <<EOF
apiVersion: v1
kind: Pod
metadata: { name: probed, annotations: $(annotated rekindle.dev/on=request) }
spec:
  runtimeClassName: rekindle
  terminationGracePeriodSeconds: 1
  containers:
    - name: app
      image: rekindle.test/workloads:lab
      imagePullPolicy: Never
      command: [counter]
      livenessProbe:
        exec: { command: [sh, -c, echo >>/tmp/probes] }
        periodSeconds: 1
        timeoutSeconds: 2
        failureThreshold: 1
EOF
  ready probed
  wait_for 10 probes probed 1

  # Without a pause in between, so that checkpoints and probes must meet.
  local begun
  begun=$(kubectl exec probed -- sh -c 'wc -l </tmp/probes')
  until probes probed "$((begun + 6))"; do
    checkpoint probed
  done

  [ -z "$(failed_probes probed)" ]
  [ "$(restarts probed)" = 0 ]
}

# probes POD NUMBER: so many probes have run.
probes() { at_least "$2" "$(kubectl exec "$1" -- sh -c 'wc -l </tmp/probes')" 2>/dev/null; }

@test "kubectl exec in a session: a checkpoint is refused with the reason, and made when it is closed" {
  pod busy workloads '[counter]' rekindle.dev/on=request
  kubectl exec busy -- sh -c 'touch /tmp/session; while [ -e /tmp/session ]; do sleep 0.1; done' 3>&- &
  local session=$!
  wait_for 10 kubectl exec busy -- test -e /tmp/session

  run rekindle checkpoint default/busy
  echo "$output"
  [ "$status" -ne 0 ]
  [[ $output == *"an exec session is open"* ]]
  explains busy "an exec session is open"
  # The workload runs on, and the session as well.
  http busy /healthz
  kill -0 "$session"

  kubectl exec busy -- rm /tmp/session
  wait "$session"
  checkpoint busy
}
