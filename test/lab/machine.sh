# shellcheck shell=bash
# LAB_NODE=machine: this machine is the lab's node, under its own systemd and
# with nothing around it, because systemd must know the processes by the ids
# that runc gives it. Sourced by up.sh and down.sh, after configure.sh.
# shellcheck disable=SC2154 # node_address is configure.sh's

machine_units=/etc/systemd/system
machine_slice='/sys/fs/cgroup/system.slice/system-rekindle\x2dlab.slice'

# machine_folders: the paths below LAB_DIR are the same in both kinds of nodes.
machine_folders() {
  ln -sfn /run "$LAB_DIR/run"
  ln -sfn /var/lib "$LAB_DIR/var/lib"
  ln -sfn /var/log "$LAB_DIR/var/log"
  # in-node and lab-service look for it.
  touch "$LAB_DIR/etc/machine"
}

# machine_start makes systemd know the services, and start them after a reboot.
machine_start() {
  # Shims and containers outlive containerd, as with its own unit.
  cat >"$machine_units/rekindle-lab@.service" <<EOF
[Unit]
Description=Rekindle lab: %i
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart=$LAB_DIR/bin/lab-service run %i
StandardOutput=append:$LAB_DIR/log/%i.log
StandardError=inherit
Delegate=yes
KillMode=process
LimitNOFILE=1048576
TasksMax=infinity
EOF
  cat >"$machine_units/rekindle-lab.service" <<EOF
[Unit]
Description=Rekindle lab
RequiresMountsFor=$LAB_DIR $REKINDLE_CACHE

[Service]
Type=oneshot
RemainAfterExit=yes
TimeoutStartSec=900
Environment=LAB_PATIENCE=${LAB_PATIENCE:-1}
ExecStart=/usr/sbin/ip address replace $node_address/32 dev lo
ExecStart=$LAB_DIR/bin/lab-service boot

[Install]
WantedBy=multi-user.target
EOF
  systemctl daemon-reload
  systemctl --quiet enable rekindle-lab.service
  ip address replace "$node_address/32" dev lo
}

# machine_stop ends what machine_start began, and whatever came of it.
machine_stop() {
  local mount name
  systemctl --quiet disable rekindle-lab.service 2>/dev/null || true
  systemctl stop rekindle-lab.service 'rekindle-lab@*.service' 2>/dev/null || true
  # What is left there are the shims; with them containers would be orphans.
  [[ ! -e $machine_slice/cgroup.kill ]] || echo 1 >"$machine_slice/cgroup.kill"
  systemctl stop kubepods.slice 2>/dev/null || true
  # The youngest first: they lie one on the other.
  while read -r mount; do
    umount "$mount" || umount --lazy "$mount"
  done < <(awk '$5 ~ "^(/run/containerd|/run/netns/cni-|/run/rekindle|/var/lib/kubelet)" { print $5 }' /proc/self/mountinfo | tac)
  for name in /run/netns/cni-*; do rm -f "$name"; done
  ip link delete rekindle0 2>/dev/null || true
  ip address delete "$node_address/32" dev lo 2>/dev/null || true
  rm -rf --one-file-system /run/{containerd,rekindle,lab,nri} /var/lib/kubelet /var/log/{pods,containers}
  rm -f "$machine_units"/rekindle-lab{,@}.service
  systemctl daemon-reload
}
