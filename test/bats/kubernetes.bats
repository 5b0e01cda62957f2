#!/usr/bin/env bats
# What the daemon does with credentials for the API server: the annotation
# rekindle.dev/request asks for a checkpoint, and Events on the pod tell what
# happened. And what it does when the API server is away: everything else.
#
# Scripts are for the node to expand, and bats sets status and output.
# shellcheck disable=SC2016,SC2030,SC2031
bats_require_minimum_version 1.5.0

setup_file() {
  load lab
  load faults
  settings <<TOML
[bounds]
interval_min = "1s"
[limits]
settle = "1s"
[audit]
path = "$LAB_DIR/audit/audit.log"
max_size = "4KiB"
max_files = 2
[metrics]
address = "127.0.0.1:19464"
[kubernetes]
kubeconfig = "$LAB_DIR/etc/rekindled.kubeconfig"
TOML
  anew asking
  counter asking
}

teardown_file() {
  load lab
  load faults
  lab-service start kube-apiserver
  kubectl apply -f "$BATS_TEST_DIRNAME/../lab/rekindled-rbac.yaml" >/dev/null
  kubectl delete pod --ignore-not-found asking created other unmanaged >/dev/null
  settings_again
  rm -rf "$LAB_DIR/audit"
}

setup() {
  load lab
  load faults
}

# ask POD VALUE sets the annotation. A pod may ask once in bounds.interval_min;
# whoever has not waited is refused, so this waits.
ask() {
  sleep 1.1
  kubectl annotate --overwrite pod "$1" "rekindle.dev/request=$2" >/dev/null
}

# answered POD VALUE waits until the checkpoint that was asked for is made.
answered() { wait_for 30 has "asked for by rekindle.dev/request=\"$2\"" decisions "$1"; }

# answers POD VALUE prints how often that value was answered, by this daemon.
answers() { decisions "$1" | grep -cF "request=\"$2\"" || true; }

# events POD prints the daemon's Events about a pod, as "type reason note".
events() {
  kubectl get events.events.k8s.io -o json | jq -r --arg pod "$1" '.items[]
    | select(.regarding.name == $pod and .reportingController == "rekindle.dev/rekindled")
    | "\(.type) \(.reason) \(.note)"'
}

# told POD TEXT waits for an Event.
told() { wait_for 60 has "$2" events "$1"; }

# metric NAME{LABELS} prints its value.
metric() { in-node curl -sS --max-time 5 http://127.0.0.1:19464/metrics | awk -v name="$1" '$1 == name { printf "%d\n", $2 }'; }

above() { (($(metric "$1") > $2)); }
equals() { [[ $(metric "$1") == "$2" ]]; }

@test "a new value of the annotation makes one checkpoint of the running container, and an Event tells of it" {
  ask asking one
  answered asking one
  counts_on asking
  [[ $(restarts asking) == 0 ]]
  [[ $(rekindle list -o json | jq -r '[.checkpoints[] | select(.pod == "asking") | .trigger] | join(" ")') == request ]]
  told asking 'Normal Checkpointed container app: checkpoint '
}

@test "the same value again asks for nothing, nor does taking the annotation away; another value asks again" {
  ask asking first
  answered asking first
  kubectl annotate pod asking rekindle.dev/request- >/dev/null
  ask asking first
  ask asking second
  answered asking second
  [[ $(answers asking first) == 1 ]]
  [[ $(answers asking second) == 1 ]]
}

@test "the value that a pod was created with asks for nothing" {
  counter created rekindle.dev/request=one
  ask created two
  answered created two
  [[ $(answers created one) == 0 ]]
  gone created
}

@test "a daemon that was restarted does not answer a value again, but answers one that came meanwhile" {
  ask asking before
  answered asking before
  restart_daemon
  # It looks at all pods before it hears of another change.
  counter other
  ask other now
  answered other now
  ask asking afterwards
  answered asking afterwards
  [[ $(answers asking before) == 0 ]]
  gone other
  lab-service stop rekindled
  ask asking meanwhile
  start_daemon
  answered asking meanwhile
}

@test "a crash is no request; the restore is an Event" {
  ask asking early
  answered asking early
  crash asking
  told asking 'Normal Restored container app: checkpoint '
  ask asking late
  answered asking late
  [[ $(answers asking early) == 1 ]]
}

@test "a request that nothing can answer is refused with the reason, in an Event" {
  opt_in='' counter unmanaged
  ask unmanaged one
  told unmanaged 'Warning CheckpointRefused no container of this pod is managed'
  gone unmanaged
}

@test "a failed restore is an Event, and so is a checkpoint that goes into quarantine" {
  local id
  id=$(checkpoint asking)
  criu_is <<<'[[ $doing != restore ]] || exit 1; exec "$real" "$@"'
  crash asking
  criu_again
  told asking "Warning RestoreFailed container app: checkpoint $id: started cold instead"
  id=$(checkpoint asking)
  echo damage >>"$(dir_of "$id")/config.json"
  crash asking
  told asking "Warning CheckpointQuarantined container app: checkpoint $id: "
}

@test "metrics count by trigger, outcome and class, and gauges tell what is there" {
  above 'rekindle_decisions_total{action="checkpoint",outcome="taken",reason="none",trigger="request"}' 0
  above 'rekindle_decisions_total{action="restore",outcome="failed",reason="restore",trigger=""}' 0
  local name
  for name in pause dump commit restore admit preflight; do above "rekindle_${name}_seconds_count" 0; done
  above rekindle_checkpoint_bytes_total 0
  wait_for 10 equals rekindle_checkpoints "$(rekindle list -o json | jq '.checkpoints | length')"
  wait_for 10 equals rekindle_checkpoints_quarantined "$(find "$LAB_DIR/store/quarantine" -mindepth 1 -maxdepth 1 -type d | wc -l)"
  wait_for 10 equals rekindle_containers_managed 1
  wait_for 10 equals rekindle_containers_unsettled 0
  equals rekindle_audit_dropped_total 0
}

@test "when the API server refuses, nothing but the Events is missing, and they come again when it does not" {
  kubectl delete clusterrolebinding rekindled >/dev/null
  # One is enough: it is tried again for a while, and a pod has only so many.
  checkpoint asking >/dev/null
  wait_for 40 above 'rekindle_events_dropped_total{reason="refused"}' 0
  kubectl apply -f "$BATS_TEST_DIRNAME/../lab/rekindled-rbac.yaml" >/dev/null
  posted_one() {
    local id
    id=$(checkpoint asking)
    wait_for 2 has "$id" events asking
  }
  wait_for 30 posted_one
}

# audit prints the log, the older part first.
audit() { cat "$LAB_DIR/audit/audit.log.1" "$LAB_DIR/audit/audit.log" 2>/dev/null; }

@test "the audit log has the decisions, is for root only, and does not grow beyond its bound" {
  local id turn
  id=$(checkpoint asking)
  wait_for 10 has "\"checkpoint\":\"$id\"" audit
  audit | jq -se --arg id "$id" 'map(select(.checkpoint == $id and .action == "checkpoint"))[0]
    | .pod == "asking" and .namespace == "default" and .container == "app" and .podUid != null and .trigger == "request"
      and .outcome == "taken" and .class == "none" and .bytes > 0 and .pauseNs > 0 and .time != null and .node != null'
  [[ $(stat -c %a "$LAB_DIR/audit/audit.log" "$LAB_DIR/audit" | paste -sd' ') == '600 700' ]]
  # A line has 200 bytes and more, so that a part of 4 KiB holds less than 21.
  for ((turn = 0; turn < 10; turn++)); do
    [[ ! -e $LAB_DIR/audit/audit.log.1 ]] || break
    rekindle remove "$(checkpoint asking)" >/dev/null
  done
  [[ $(find "$LAB_DIR/audit" -type f -printf '%f\n' | sort | paste -sd' ') == 'audit.log audit.log.1' ]]
  (($(audit | wc -c) <= 8192))
  mv "$LAB_DIR/audit/audit.log" "$LAB_DIR/audit/renamed"
  id=$(checkpoint asking)
  wait_for 10 grep -qF "$id" "$LAB_DIR/audit/audit.log"
}

@test "with the API server away, checkpoints and restores go on, and what there was to tell is told afterwards" {
  local id number url
  url=http://$(pod_ip asking):8080/
  lab-service stop kube-apiserver
  restart_daemon
  number=$(in-node curl -sS --max-time 5 "$url")
  id=$(checkpoint asking)
  in-node curl -sS --max-time 5 "${url}crash" || true
  explains asking "restore taken $id"
  wait_for 30 in-node curl -sS --max-time 5 "$url"
  (($(in-node curl -sS --max-time 5 "$url") >= number))
  id=$(checkpoint asking)
  lab-service start kube-apiserver
  told asking "Normal Checkpointed container app: checkpoint $id"
  ask asking six
  wait_for 90 has 'request="six"' decisions asking
}
