#!/usr/bin/env bats
# rekindle explain says which checkpoint a create would use now, after a fault in
# the same pod and in a successor pod, why not the others, and what was last
# decided about each trigger. What it says is what then happens.
#
# Scripts are for the node to expand, and bats sets status and output.
# shellcheck disable=SC2016,SC2030,SC2031
bats_require_minimum_version 1.5.0

setup_file() {
  load lab
  load faults
  clean
  # What was decided about a name is remembered: this one is new.
  export app=app-$RANDOM
}

teardown_file() {
  load lab
  clean
}

# A stop is held back no longer than a pod's grace period.
grace=30

setup() {
  load lab
  load faults
}

# explained POD FILTER prints a part of the report on a pod's one container.
explained() { rekindle explain "default/$1" -o json | jq -r ".containers[0] | $2"; }

# what POD ID FOR prints the line that is said of a checkpoint, for a restart or a successor.
what() { rekindle explain "default/$1" | awk -v id="$2" -v whose="$3" '$1 == id && $2 == whose'; }

@test "without a checkpoint, both would start cold, and no trigger has a decision" {
  counter "$app" rekindle.dev/on=stop
  [[ $(explained "$app" '.restart.reason') == 'there is no checkpoint yet' ]]
  [[ $(explained "$app" '.successor.reason') == 'there is no checkpoint yet' ]]
  [[ $(explained "$app" '[.triggers[] | "\(.trigger) \(.last)"] | join(", ")') == 'stop null, request null' ]]
}

@test "the newest checkpoint is announced for a restart, and used by it" {
  local older newer
  older=$(checkpoint "$app")
  newer=$(checkpoint "$app")
  [[ $(explained "$app" .restart.checkpoint) == "$newer" ]]
  [[ $(what "$app" "$newer" restart) == *used* ]]
  has "checkpoint $newer comes before it" what "$app" "$older" restart
  crash "$app"
  comes_from "$app" "$newer"
}

@test "the last decision of each trigger is shown, with its reason" {
  has "a restart in this pod would be restored from" rekindle explain "default/$app"
  [[ $(explained "$app" '.triggers[] | select(.trigger == "request").last | "\(.outcome) \(.reason)"') == 'taken asked for on the command line'* ]]
  [[ $(explained "$app" '.triggers[] | select(.trigger == "stop").last') == null ]]
}

@test "a checkpoint that was made while stopping is announced for a successor, and used by it" {
  local stop
  gone "$app"
  stop=$(rekindle list -o json | jq -r --arg pod "$app" '[.checkpoints[] | select(.pod == $pod and .trigger == "stop").id][0]')
  counter "$app" rekindle.dev/on=stop
  comes_from "$app" "$stop"
  # Of the pod that now runs, it serves the next restart too, and a successor.
  [[ $(explained "$app" .restart.checkpoint) == "$stop" ]]
  [[ $(explained "$app" .successor.checkpoint) == "$stop" ]]
}

@test "where only one of the two may be restored, the other is told why it starts cold" {
  local sound
  counter fault rekindle.dev/restore=fault
  sound=$(checkpoint fault)
  [[ $(explained fault .restart.checkpoint) == "$sound" ]]
  has 'a successor pod would start cold: this is a new pod, and rekindle.dev/restore is fault' rekindle explain default/fault
  gone fault
  counter fault rekindle.dev/restore=successor
  [[ $(explained fault .successor.checkpoint) == "$sound" ]]
  has 'a restart in this pod would start cold: this is the same pod, and rekindle.dev/restore is successor' rekindle explain default/fault
}
