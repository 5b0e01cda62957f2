#!/usr/bin/env bats
# The sockets of a container that sleeps: its connections stay, traffic wakes it,
# and probes do not.
# shellcheck disable=SC2016 # what is quoted is for the pods' shells

bats_require_minimum_version 1.5.0

setup_file() {
  load lab
  build_test_programs
}

setup() {
  load lab
  load asleep
  load faults
  load visitor
  clean
}

teardown() { clean; }

# server NAME ARGUMENT... starts a pod with those sockets. $annotation is one more
# annotation, and $probe a probe by which it is ready, and alive unless $alive is
# another one; they may be empty.
# /shared is a volume.
server() {
  local name=$1
  shift
  apply <<EOF
apiVersion: v1
kind: Pod
metadata: { name: $name, annotations: $(annotated rekindle.dev/on=request ${annotation:+"$annotation"}) }
spec:
  runtimeClassName: rekindle
  terminationGracePeriodSeconds: 1
  containers:
    - name: app
      image: rekindle.test/workloads:lab
      imagePullPolicy: Never
      env: [{ name: POD_IP, valueFrom: { fieldRef: { fieldPath: status.podIP } } }]
      command: [sockets, $(printf '"%s", ' "$@")]
      volumeMounts: [{ name: shared, mountPath: /shared }]
      livenessProbe: ${alive-${probe:-null}}
      readinessProbe: ${probe:-null}
  volumes: [{ name: shared, emptyDir: {} }]
EOF
}

# volume_of POD prints where /shared is on the node.
volume_of() { echo "/var/lib/kubelet/pods/$(pod_uid "$1")/volumes/kubernetes.io~empty-dir/shared"; }

# probed_inside POD prints how often its probe was run in it.
probed_inside() { in-node cat "$(volume_of "$1")/probes" | wc -l; }

# By themselves they sleep twenty times, in slumber.bats.
@test "servers of every kind are put to sleep again and again: each of many requests at once is answered, no connection is lost" {
  local rounds=6 name pods=(web chat clock greeter podonly fork redis)
  clients
  server web http=:8080
  server chat line=:9000
  server clock udp=:9001
  server greeter greet=:2525
  server podonly 'http=$(POD_IP):8080'
  for name in web chat clock greeter podonly; do ready "$name"; done
  pod fork workloads '[prefork]' rekindle.dev/on=request
  pod redis redis '[redis-server, --protected-mode, "no", --save, ""]' rekindle.dev/on=request
  declare -A before ip
  for name in "${pods[@]}"; do
    before[$name]=$(readiness "$name")
    ip[$name]=$(pod_ip "$name")
  done

  visit web clients "$rounds" "http=${ip[web]}:8080*200" &
  visit chat clients "$rounds" "line=${ip[chat]}:9000*200" "new=${ip[chat]}:9000*5" &
  visit clock clients "$rounds" "udp=${ip[clock]}:9001*5" &
  visit greeter clients "$rounds" "greet=${ip[greeter]}:2525" &
  visit podonly clients "$rounds" "http=${ip[podonly]}:8080" &
  visit fork clients "$rounds" "http=${ip[fork]}:8080*10" &
  visit redis clients "$rounds" "redis=${ip[redis]}:6379*200" &
  wait

  visited web $((rounds * 200))
  visited chat $((rounds * 205))
  visited clock $((rounds * 5))
  visited greeter "$rounds"
  visited podonly "$rounds"
  visited fork $((rounds * 10))
  visited redis $((rounds * 200))
  for name in "${pods[@]}"; do
    at_least "$rounds" "$(nap "$name" times)"
    # Ready all the time, and not once restarted.
    [ "$(readiness "$name")" = "${before[$name]}" ]
  done
}

@test "listeners that share a port, and more clients than a backlog takes: all are answered" {
  clients
  server group group=:8080
  server narrow narrow=:8080
  ready group
  ready narrow
  visit group clients 3 "http=$(pod_ip group):8080*100" &
  visit narrow clients 2 "http=$(pod_ip narrow):8080*20" &
  wait
  visited group 300
  visited narrow 40
  # So it was.
  at_least 1 "$(overflows narrow)"
  rekindle suspend default/group
  [ "$(nap group 'sockets | length')" = 4 ]
}

# overflows POD prints how often somebody found a backlog full.
overflows() {
  in-node nsenter --net="/proc/$(sandbox_pid "$1")/ns/net" cat /proc/net/netstat |
    awk '$1 == "TcpExt:" && !column { for (column = NF; $column != "ListenOverflows"; column--); next } $1 == "TcpExt:" { print $column }'
}

@test "a listener that two containers share: each sleeps by itself, and nobody is lost" {
  apply <<EOF
apiVersion: v1
kind: Pod
metadata: { name: shared, annotations: $(annotated rekindle.dev/on=request) }
spec:
  runtimeClassName: rekindle
  terminationGracePeriodSeconds: 1
  containers:
    - name: lender
      image: rekindle.test/workloads:lab
      imagePullPolicy: Never
      command: [sockets, "lend=:8080,/shared/s"]
      volumeMounts: [{ name: shared, mountPath: /shared }]
    - name: borrower
      image: rekindle.test/workloads:lab
      imagePullPolicy: Never
      command: [sockets, "borrow=/shared/s"]
      volumeMounts: [{ name: shared, mountPath: /shared }]
  volumes: [{ name: shared, emptyDir: {} }]
EOF
  ready shared
  clients
  wait_for 20 has borrower answers shared
  wait_for 20 has lender answers shared
  # One of them sleeps: the other one answers, or it is woken.
  come shared clients 2 'rekindle suspend default/shared/lender' "http=$(pod_ip shared):8080*20"
  visited shared 40
  come shared clients 2 'rekindle suspend default/shared/borrower' "http=$(pod_ip shared):8080*20"
  visited shared 40
  # Both of them sleep.
  come shared clients 2 'rekindle suspend default/shared' "http=$(pod_ip shared):8080*20"
  visited shared 40
  [ "$(restarts shared lender)" = 0 ]
  [ "$(restarts shared borrower)" = 0 ]
  wait_for 20 has borrower answers shared
  wait_for 20 has lender answers shared
}
answers() { http "$1" / && http "$1" / && http "$1" /; }

@test "a unix socket in a volume and one that only the pod can reach wake a pod, too" {
  local volume
  server local unix=/shared/s 'line=[::1]:9000'
  ready local
  volume=$(volume_of local)
  visit local local 3 "unix=$volume/s*5"
  visited local 15
  visit local local 3 'new=[::1]:9000*5' 'line=[::1]:9000*5'
  visited local 30
}

# probes POD prints how many probes of it have succeeded.
probes() {
  kubectl get --raw "/api/v1/nodes/$(kubectl get pod "$1" -o jsonpath='{.spec.nodeName}')/proxy/metrics/probes" |
    awk -v pod="pod=\"$1\"" '/^prober_probe_total/ && /result="successful"/ && index($0, pod) { n += $NF } END { print n + 0 }'
}

# probed POD NUMBER: at least so many probes have succeeded.
probed() { at_least "$2" "$(probes "$1")"; }

@test "HTTP, TCP and gRPC probes are answered for a pod that sleeps, and it sleeps on" {
  local name before
  declare -A since
  probe='{ httpGet: { path: /, port: 8080 }, periodSeconds: 1, failureThreshold: 1 }' server http http=:8080
  probe='{ tcpSocket: { port: 9000 }, periodSeconds: 1, failureThreshold: 1 }' server tcp line=:9000
  probe='{ grpc: { port: 9090 }, periodSeconds: 1, failureThreshold: 1 }' server grpc grpc=:9090
  annotation=rekindle.dev/probes=wake probe='{ httpGet: { path: /, port: 8080 }, periodSeconds: 1 }' server awake http=:8080
  for name in http tcp grpc awake; do
    ready "$name"
    since[$name]=$(readiness "$name")
    rekindle suspend "default/$name"
  done
  for name in http tcp grpc; do
    before=$(probes "$name")
    wait_for 60 probed "$name" $((before + 10))
    asleep "$name"
    [ "$(nap "$name" times)" = 1 ]
    [ "$(readiness "$name")" = "${since[$name]}" ]
  done
  # A client still gets the server itself.
  [[ $(http http /) =~ ^[0-9]+\ 10\. ]]
  run ! asleep http
  # Where the policy says so, they wake.
  wait_for 20 awake awake
  [[ $(nap awake wokenBy) == connection* ]]
  [ "$(readiness awake)" = "${since[awake]}" ]
}

@test "exec probes are answered with their last result, when it was a good one; any other exec wakes" {
  local since before number name often='periodSeconds: 2, timeoutSeconds: 10, failureThreshold: 1'
  local alive="{ exec: { command: [test, -d, /shared] }, $often }"
  local probe="{ exec: { command: [sh, -c, 'echo probed >>/shared/probes; test ! -e /shared/bad'] }, $often }"
  server asked line=:9000
  annotation=rekindle.dev/probes=wake server roused line=:9000
  for name in asked roused; do
    ready "$name"
    # Each of its probes has had a result.
    wait_for 30 probed "$name" 4
    wait_for 30 rekindle suspend "default/$name"
  done
  since=$(readiness asked)
  number=$(probed_inside asked)

  before=$(probes asked)
  wait_for 60 probed asked $((before + 8))
  asleep asked
  [ "$(nap asked times)" = 1 ]
  [ "$(readiness asked)" = "$since" ]
  # Nobody has run it meanwhile, and nothing of it is left behind.
  [ "$(probed_inside asked)" = "$number" ]
  wait_for 10 no_session_left asked

  wait_for 30 awake roused
  [ "$(nap roused wokenBy)" = "an exec session" ]

  # One that failed last is for the container itself.
  kubectl exec asked -- touch /shared/bad
  awake asked
  [ "$(nap asked wokenBy)" = "an exec session" ]
  wait_for 30 not_ready asked
  wait_for 30 rekindle suspend default/asked
  wait_for 30 awake asked
  kubectl exec asked -- rm /shared/bad
  ready asked
  [ "$(restarts asked)" = 0 ]
}

not_ready() { [[ $(readiness "$1") == *False* ]]; }

# no_session_left POD: of all that containerd made for its output only the log is left.
no_session_left() {
  local left
  left=$(in-node find "/run/containerd/io.containerd.grpc.v1.cri/containers/$(container_id "$1")/io" -mindepth 1 -maxdepth 1)
  echo "$left"
  [ "$(wc -l <<<"$left")" = 1 ]
}

@test "traffic by way of the node wakes a pod and is relayed to it for as long as both want" {
  server relayed line=:9000 greet=:2525
  ready relayed
  local ip since
  ip=$(pod_ip relayed)
  since=$(readiness relayed)
  rekindle suspend default/relayed
  # One that says nothing waits for the server to speak.
  in-node bash -c 'exec 3<>"/dev/tcp/$1/2525"; read -r -t 20 -u 3 line; [[ $line == *hello ]]' greeted "$ip"
  awake relayed
  wait_for 20 rekindle suspend default/relayed
  # One that goes on for longer than a first request.
  in-node bash -c '
    exec 3<>"/dev/tcp/$1/9000"
    for ((i = 0; i < 35; i++)); do
      echo "line $i" >&3 && read -r -t 20 -u 3 line && [[ $line == *"line $i" ]] || exit
      sleep 0.2
    done' talking "$ip"
  [ "$(readiness relayed)" = "$since" ]
}

@test "a pod with a socket that cannot be kept is not put to sleep, unless it may be closed" {
  local ping='[ping, -i, "1", "127.0.0.1"]' since
  pod raw busybox "$ping" rekindle.dev/on=request
  pod closed busybox "$ping" rekindle.dev/on=request rekindle.dev/connections=close
  since=$(readiness raw)
  run -1 rekindle suspend default/raw
  [[ $output == *'raw socket in process '*'("ping") cannot be kept open'*'rekindle.dev/connections: close'* ]]
  explains raw 'raw socket in process'
  [ "$(readiness raw)" = "$since" ]
  run ! asleep raw

  rekindle suspend default/closed
  asleep closed
  rekindle resume default/closed
  [ "$(restarts closed)" = 0 ]
}
