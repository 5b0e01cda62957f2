# What explain tells of a pod that may sleep, and what Kubernetes must not notice.
# shellcheck shell=bash

# nap POD KEY prints what explain says under that key of the suspension.
nap() { rekindle explain "default/$1" -o json | jq -r ".containers[0].suspension.$2"; }
asleep() { [[ $(nap "$1" asleep) == true ]]; }
awake() { [[ $(nap "$1" asleep) == false ]]; }
slept_times() { at_least "$2" "$(nap "$1" times)"; }

# undisturbed POD: Running and Ready, and never restarted.
undisturbed() {
  local state
  state=$(pod_object "$1" | jq -r '"\(.status.phase), ready \([.status.containerStatuses[].ready] | all), restarts \([.status.containerStatuses[].restartCount] | add)"')
  [[ $state == 'Running, ready true, restarts 0' ]] || {
    printf '%s: %s\n' "$1" "$state" >&2
    return 1
  }
}

# readiness POD prints since when a pod has been ready, and how often its
# containers were started.
readiness() {
  pod_object "$1" |
    jq -c '[(.status.conditions[] | select(.type == "Ready") | .status, .lastTransitionTime), .status.containerStatuses[].restartCount]'
}
