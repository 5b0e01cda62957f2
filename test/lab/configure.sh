# shellcheck shell=bash
# The node's configuration files, one function a program. Sourced by up.sh,
# with the lab's settings and "profile" set. Addresses may be the same in every
# lab: each has a network of its own.

# shellcheck disable=SC2154 # profile is the sourcing script's
node_name=rekindle-node
node_address=10.240.0.10
pod_subnet=10.241.0.0/16
service_subnet=10.242.0.0/24

# service NUMBER-NAME: a service file from standard input (see lab-service).
service() { cat >"$LAB_DIR/etc/services/$1"; }

configure_node() {
  cat >"$LAB_DIR/etc/hosts" <<EOF
127.0.0.1 localhost
$node_address $node_name
EOF
  # Nothing in the lab asks a name server; an empty file would make the kubelet
  # warn with every pod.
  echo 'nameserver 127.0.0.1' >"$LAB_DIR/etc/resolv.conf"

  # The bridge needs no address translation: nothing leaves the node.
  cat >"$LAB_DIR/etc/cni/10-lab.conflist" <<EOF
{
  "cniVersion": "1.0.0",
  "name": "lab",
  "plugins": [
    {
      "type": "bridge",
      "bridge": "rekindle0",
      "isGateway": true,
      "ipMasq": false,
      "ipam": {
        "type": "host-local",
        "ranges": [[{ "subnet": "$pod_subnet" }]],
        "routes": [{ "dst": "0.0.0.0/0" }],
        "dataDir": "$LAB_DIR/cni"
      }
    }
  ]
}
EOF
}

configure_containerd() {
  local handler=runc
  # A kubelet without a control plane has no RuntimeClass objects to choose a
  # handler by.
  [[ $profile == cluster ]] || handler=rekindle
  local no_apparmor=true systemd=false
  if [[ $LAB_NODE == machine ]]; then
    systemd=true
    [[ ! -e /sys/kernel/security/apparmor/profiles ]] || no_apparmor=false
  fi
  cat >"$LAB_DIR/etc/containerd.toml" <<EOF
version = 3
root = "$LAB_DIR/containerd"
state = "/run/containerd"

[grpc]
  address = "/run/containerd/containerd.sock"

[plugins."io.containerd.nri.v1.nri"]
  disable = false
  socket_path = "/var/run/nri/nri.sock"
  plugin_path = "$LAB_DIR/etc/nri/plugins"
  plugin_config_path = "$LAB_DIR/etc/nri/conf.d"
  # Twice the default: who runs tests may have a machine that is busy with other
  # things, and a plugin that answers late is dropped.
  plugin_request_timeout = "4s"

[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "rekindle.test/pause:lab"

[plugins."io.containerd.cri.v1.runtime"]
  disable_apparmor = $no_apparmor
  # Without CAP_SYS_RESOURCE a score cannot be lowered; where it can be, the
  # lab's pods must not outrank the machine's own.
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["$LAB_DIR/bin"]
    conf_dir = "$LAB_DIR/etc/cni"
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "$handler"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      runtime_path = "$LAB_DIR/bin/containerd-shim-runc-v2"
      options = { SystemdCgroup = $systemd }
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.rekindle]
      runtime_type = "io.containerd.runc.v2"
      runtime_path = "$LAB_DIR/bin/containerd-shim-rekindle-v2"
      container_annotations = ["io.kubernetes.pod.terminationGracePeriod"]
      options = { SystemdCgroup = $systemd }
EOF
  service 10-containerd <<EOF
command=(containerd --config $LAB_DIR/etc/containerd.toml)
ready() { ctr --address /run/containerd/containerd.sock version; }
EOF
}

configure_rekindled() {
  # A test that wants other settings changes this file and restarts the daemon;
  # up.sh does not write it again.
  [[ -e $LAB_DIR/etc/rekindle.toml ]] || {
    printf '[store]\npath = "%s"\n' "$LAB_DIR/store"
    # In the other profile there is no API server to talk to.
    [[ $profile != cluster ]] || printf '\n[kubernetes]\nkubeconfig = "%s"\n' "$LAB_DIR/etc/rekindled.kubeconfig"
  } >"$LAB_DIR/etc/rekindle.toml"
  service 20-rekindled <<EOF
command=(rekindled --config $LAB_DIR/etc/rekindle.toml)
ready() { [[ -S /run/rekindle/rekindled.sock ]]; }
EOF
}

configure_kubelet() {
  local arguments=() listen=127.0.0.1
  if [[ $profile == cluster ]]; then
    arguments=("--kubeconfig=$LAB_DIR/etc/kubelet.kubeconfig" "--node-ip=$node_address")
    # The API server reaches it at the node's address, for exec and logs.
    listen=0.0.0.0
  fi
  # Short periods, so that a test waits for what it tests. Images come from
  # files only, so none may be collected, and the machine's disk may be fuller
  # than a node's.
  cat >"$LAB_DIR/etc/kubelet.yaml" <<EOF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $listen
readOnlyPort: 10255
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
staticPodPath: $LAB_DIR/etc/manifests
podLogsDir: /var/log/pods
# Its default is below /usr, which is the machine's.
volumePluginDir: /var/lib/kubelet/volume-plugins
resolvConf: $LAB_DIR/etc/resolv.conf
authentication:
  anonymous:
    enabled: true
  webhook:
    enabled: false
authorization:
  mode: AlwaysAllow
cgroupDriver: $([[ $LAB_NODE == machine ]] && echo systemd || echo cgroupfs)
failCgroupV1: false
failSwapOn: false
makeIPTablesUtilChains: false
oomScoreAdj: 0
registerWithTaints: []
podPidsLimit: 400
fileCheckFrequency: 1s
syncFrequency: 5s
nodeStatusUpdateFrequency: 2s
crashLoopBackOff:
  maxContainerRestartPeriod: 2s
imageGCHighThresholdPercent: 100
evictionHard:
  memory.available: 50Mi
  nodefs.available: 1%
  imagefs.available: 1%
logging:
  verbosity: 2
EOF
  service 70-kubelet <<EOF
command=(kubelet --config=$LAB_DIR/etc/kubelet.yaml --root-dir=/var/lib/kubelet
  --cert-dir=$LAB_DIR/etc/kubelet-tls --hostname-override=$node_name ${arguments[*]})
ready() { curl -fsS http://127.0.0.1:10248/healthz; }
within=60
EOF
}

# kubeconfig FILE TOKEN
kubeconfig() {
  cat >"$1" <<EOF
apiVersion: v1
kind: Config
current-context: lab
contexts: [{ name: lab, context: { cluster: lab, user: lab } }]
clusters:
  - name: lab
    cluster:
      server: https://127.0.0.1:$LAB_PORT
      certificate-authority: $LAB_DIR/etc/apiserver.crt
users: [{ name: lab, user: { token: $2 } }]
EOF
  chmod 600 "$1"
}

configure_control_plane() {
  local tls=$LAB_DIR/etc/apiserver who token log=$LAB_DIR/log/openssl.log
  {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
      -subj /CN=rekindle-lab -keyout "$tls.key" -out "$tls.crt" \
      -addext "subjectAltName=IP:127.0.0.1,IP:$node_address,DNS:localhost,DNS:kubernetes.default.svc" &&
      openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$LAB_DIR/etc/accounts.key"
  } >"$log" 2>&1 ||
    die "openssl could not make the API server's keys: $(tail -n 1 "$log")"

  # Each part is who it is in a real cluster, so that RBAC and the node
  # authorizer are as there; only the proof is a token instead of a certificate.
  : >"$LAB_DIR/etc/tokens.csv"
  chmod 600 "$LAB_DIR/etc/tokens.csv"
  for who in 'admin;admin;"system:masters"' \
    'controller-manager;system:kube-controller-manager;' \
    'scheduler;system:kube-scheduler;' \
    'rekindled;rekindled;' \
    "kubelet;system:node:$node_name;\"system:nodes\""; do
    token=$(tr -d - </proc/sys/kernel/random/uuid)
    IFS=';' read -r file user groups <<<"$who"
    printf '%s,%s,%s%s\n' "$token" "$user" "$file" "${groups:+,$groups}" >>"$LAB_DIR/etc/tokens.csv"
    kubeconfig "$LAB_DIR/etc/$file.kubeconfig" "$token"
    (umask 077 && echo "Authorization: Bearer $token" >"$LAB_DIR/etc/$file.header")
  done

  # A machine may lose its power; the lab in namespaces goes as a whole.
  local sync=--unsafe-no-fsync
  [[ $LAB_NODE != machine ]] || sync=''
  service 30-etcd <<EOF
command=(etcd --name lab --data-dir $LAB_DIR/etcd $sync --log-level warn
  --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379
  --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380
  --initial-cluster lab=http://127.0.0.1:2380)
ready() { curl -fsS http://127.0.0.1:2379/health; }
EOF
  service 40-kube-apiserver <<EOF
command=(kube-apiserver --etcd-servers=http://127.0.0.1:2379 --secure-port=$LAB_PORT
  --tls-cert-file=$tls.crt --tls-private-key-file=$tls.key --cert-dir=$LAB_DIR/etc/apiserver-tls
  --token-auth-file=$LAB_DIR/etc/tokens.csv --authorization-mode=Node,RBAC
  --service-account-key-file=$LAB_DIR/etc/accounts.key
  --service-account-signing-key-file=$LAB_DIR/etc/accounts.key
  --service-account-issuer=https://kubernetes.default.svc
  --service-cluster-ip-range=$service_subnet --advertise-address=$node_address
  --endpoint-reconciler-type=none --kubelet-preferred-address-types=InternalIP)
ready() { kubectl --kubeconfig $LAB_DIR/etc/admin.kubeconfig get --raw /readyz; }
within=90
EOF
  service 50-kube-controller-manager <<EOF
command=(kube-controller-manager --kubeconfig=$LAB_DIR/etc/controller-manager.kubeconfig
  --leader-elect=false --bind-address=127.0.0.1 --cert-dir=$LAB_DIR/etc/controller-manager-tls
  --service-account-private-key-file=$LAB_DIR/etc/accounts.key --root-ca-file=$tls.crt
  --use-service-account-credentials=true --flex-volume-plugin-dir=/var/lib/kubelet/volume-plugins)
ready() { curl -fsSk https://127.0.0.1:10257/healthz; }
within=60
EOF
  service 60-kube-scheduler <<EOF
command=(kube-scheduler --kubeconfig=$LAB_DIR/etc/scheduler.kubeconfig --leader-elect=false
  --bind-address=127.0.0.1 --cert-dir=$LAB_DIR/etc/scheduler-tls)
ready() { curl -fsSk https://127.0.0.1:10259/healthz; }
within=60
EOF
  [[ $LAB_NODE != machine ]] || return 0
  # The inner half of the way in; up.sh keeps the outer one.
  service 45-forward <<EOF
command=(socat UNIX-LISTEN:/run/lab/apiserver.sock,fork,mode=600,unlink-early TCP:127.0.0.1:$LAB_PORT)
ready() { [[ -S /run/lab/apiserver.sock ]]; }
EOF
}

configure_env() {
  cat >"$LAB_DIR/env" <<EOF
# Source this to use the lab from outside. in-node COMMAND runs inside it.
export LAB_DIR=$LAB_DIR
export LAB_PORT=$LAB_PORT
export LAB_PATIENCE=${LAB_PATIENCE:-1}
export KUBECONFIG=$LAB_DIR/etc/admin.kubeconfig
export CONTAINERD_ADDRESS=$LAB_DIR/run/containerd/containerd.sock
export CONTAINERD_NAMESPACE=k8s.io
# kubectl keeps what it discovers in the home folder otherwise.
export KUBECACHEDIR=$LAB_DIR/kubectl
export CONTAINER_RUNTIME_ENDPOINT=unix://$LAB_DIR/run/containerd/containerd.sock
export REKINDLE_SOCKET=$LAB_DIR/run/rekindle/rekindled.sock
case :\$PATH: in
  *:$LAB_DIR/outside:*) ;;
  *) export PATH=$LAB_DIR/outside:\$PATH ;;
esac
EOF
}
