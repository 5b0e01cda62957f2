#!/usr/bin/env bats
# Servers of every kind fall asleep by themselves, as often as they are left alone,
# and whoever comes next wakes them and is served: nobody outside notices anything.
bats_require_minimum_version 1.5.0

# rounds is how often each server sleeps, and least how long, in seconds: a container
# that is needed again sooner than it took to be found idle, a second, would be left
# alone longer. One second more, for below the start counts in whole ones.
rounds=20 least=2.2

setup_file() {
  load lab
  load faults
  clean
  build_test_programs
  settings <<TOML
[bounds]
idle_min = "1s"
stay_awake_min = "0s"
[defaults]
idle_after = "1s"
stay_awake = "0s"
TOML
}

teardown_file() {
  load lab
  load faults
  clean
  settings_again
}

setup() {
  load lab
  load asleep
  load faults
  load visitor
}

# drowsy NAME IMAGE PROBE COMMAND... starts a server that is put to sleep when it has
# been idle, and asked for the PROBE each second; two failures in a row, of five seconds
# each, make it not ready.
drowsy() {
  apply <<YAML
apiVersion: v1
kind: Pod
metadata: { name: $1, annotations: $(annotated rekindle.dev/on=idle) }
spec:
  runtimeClassName: rekindle
  terminationGracePeriodSeconds: 1
  containers:
    - name: app
      image: rekindle.test/$2:lab
      imagePullPolicy: Never
      command: [$(printf '"%s", ' "${@:4}")]
      readinessProbe: { $3, periodSeconds: 1, failureThreshold: 2, timeoutSeconds: 5 }
YAML
}

# stats POD prints the CPU time of its container, in ns, and its memory, in bytes, as
# the kubelet knows them.
stats() {
  in-node curl -sS http://127.0.0.1:10255/stats/summary |
    jq -er --arg pod "$1" '.pods[] | select(.podRef.name == $pod).containers[]
      | "\(.cpu.usageCoreNanoSeconds // 0) \(.memory.workingSetBytes // 0)"'
}

# fallen_asleep POD prints the script that returns when a pod has fallen asleep by
# itself for the $ROUND-th time, and has slept, without any process, for a while.
fallen_asleep() {
  local bundle
  bundle=/run/containerd/io.containerd.runtime.v2.task/k8s.io/$(container_id "$1")
  cat <<SH
long_asleep() {
  rekindle explain default/$1 -o json | jq -e '.containers[0].suspension |
    .asleep and .times >= (env.ROUND | tonumber) and now - (.since | sub("\\\\.[0-9]+"; "") | fromdateiso8601) > $least'
}
deadline=\$((\$(date +%s) + 120))
until long_asleep && ! test -e "/proc/\$(cat $bundle/init.pid)"; do
  [ "\$(date +%s)" -lt "\$deadline" ] || { rekindle explain default/$1; exit 1; }
  sleep 0.3
done
SH
}

# left_alone POD TARGET... has visitors come to a pod, over and over, whenever it has
# fallen asleep by itself.
left_alone() {
  fallen_asleep "$1" >"$BATS_TEST_TMPDIR/$1.sh"
  come "$1" clients "$rounds" "sh $BATS_TEST_TMPDIR/$1.sh" "${@:2}"
}

@test "Redis, an HTTP server, one with 200 open connections, a UDP server and one of several processes sleep and are woken twenty times" {
  local -A ports=([redis]=6379 [web]=8080 [chat]=9000 [clock]=9000 [fork]=8080) before ip used
  local name pods=("${!ports[@]}") waits=()
  clients
  drowsy web workloads 'httpGet: { path: /, port: 8080 }' sockets tell http=:8080
  drowsy chat workloads 'tcpSocket: { port: 9000 }' sockets tell line=:9000
  drowsy clock workloads 'tcpSocket: { port: 9000 }' sockets tell udp=:9001 line=:9000
  drowsy fork workloads 'tcpSocket: { port: 8080 }' prefork
  drowsy redis redis 'tcpSocket: { port: 6379 }' redis-server --protected-mode no --save ''
  for name in "${pods[@]}"; do
    ready "$name"
    before[$name]=$(readiness "$name")
    ip[$name]=$(pod_ip "$name")
    used[$name]=$(stats "$name" | cut -d' ' -f1)
  done
  local run children
  run=$(run_of_redis)
  children=$(children_of fork)

  left_alone web "http=${ip[web]}:8080*50" &
  left_alone chat "line=${ip[chat]}:9000*200" "new=${ip[chat]}:9000*5" &
  left_alone clock "udp=${ip[clock]}:9001*5" &
  left_alone fork "http=${ip[fork]}:8080*10" &
  left_alone redis "redis=${ip[redis]}:6379*50" &
  wait

  visited web $((rounds * 50))
  visited chat $((rounds * 205))
  visited clock $((rounds * 5))
  visited fork $((rounds * 10))
  visited redis $((rounds * 50))
  for name in "${pods[@]}"; do
    at_least "$rounds" "$(nap "$name" times)"
    [[ $(nap "$name" wokenBy) == connection* || $(nap "$name" wokenBy) == data* ]]
    # Ready all the time, and not once restarted.
    [ "$(readiness "$name")" = "${before[$name]}" ]
  done
  # The same processes as ever.
  [ "$(run_of_redis)" = "$run" ]
  [ "$(children_of fork)" = "$children" ]
  # Each answer is in the log, and none twice.
  for name in web chat clock; do
    kubectl logs "$name" >"$BATS_TEST_TMPDIR/log"
    diff "$BATS_TEST_TMPDIR/log" <(seq 1 "$(tail -n 1 "$BATS_TEST_TMPDIR/log")") | head
    at_least $((rounds * 5)) "$(wc -l <"$BATS_TEST_TMPDIR/log")"
  done
  for name in "${!ports[@]}"; do
    wait_for 60 lives "$name" "${ports[$name]}" "${used[$name]}" &
    waits+=($!)
  done
  for name in "${waits[@]}"; do wait "$name"; done
}

# run_of_redis prints what Redis draws once for each of its lives.
run_of_redis() { kubectl exec redis -- redis-cli info server | grep run_id; }

# children_of POD prints the ids of the processes of a prefork server.
children_of() { http "$1" / | jq -c '[.children[].pid]'; }

# lives POD PORT CPU: asked all the time, and not as a probe asks, it is awake, and by
# the kubelet's statistics it has used more CPU time than that since its start.
lives() {
  local cpu memory
  in-node bash -c 'printf "%$3s\n" "" >"/dev/tcp/$1/$2"' ask "$(pod_ip "$1")" "$2" $((RANDOM % 500))
  read -r cpu memory < <(stats "$1")
  echo "cpu $cpu (it was $3), memory $memory"
  ((cpu > $3 && memory > 1 << 20))
}
