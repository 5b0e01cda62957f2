package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rekindle-dev/rekindle/conf"
)

// Domain is the domain of all annotation keys.
const Domain = "rekindle.dev"

// The annotation keys, without their domain.
const (
	KeyOn          = "on"
	KeyInterval    = "interval"
	KeyKeep        = "keep"
	KeyRestore     = "restore"
	KeyReady       = "ready"
	KeyConsistency = "consistency"
	KeyContainers  = "containers"
	KeyRequest     = "request"

	KeyIdleAfter   = "idle-after"
	KeyIdleAction  = "idle-action"
	KeyIdleCPU     = "idle-cpu"
	KeyIdleTraffic = "idle-traffic"
	KeyStayAwake   = "stay-awake"

	KeyConnections = "connections"
	KeyProbes      = "probes"
	KeyStopAsleep  = "stop-asleep"
	KeyWakeAt      = "wake-at"
)

// Key describes one annotation: what is here is known, and what is not here is
// reported as a stray. docs/reference.md is made of it.
type Key struct {
	// Name is the key without its domain.
	Name string
	// Type says what kind of value it has.
	Type string
	// Default says what holds without the annotation: a key of the config
	// file, or words.
	Default string
	// Min and Max are the keys of the config file, or the numbers, to which a
	// value beyond them is cut down; empty where there is no such bound.
	Min, Max string
	// Bounds says in words which values are followed, where Min and Max do not.
	Bounds string
	// Example is a value that is followed as it stands.
	Example string
	// PodOnly is set when it cannot be set for one container.
	PodOnly bool
	// Joint is set when it cannot be set for one container of a pod whose
	// containers are checkpointed together.
	Joint bool
	// Live is set when the value is looked at while the pod runs; it is no part
	// of a policy then.
	Live bool
	// Meaning is for application teams.
	Meaning string
}

var keys = []Key{
	{
		Name: KeyOn, Type: "list of triggers", Default: "the pod is left alone",
		Bounds: "of " + join(knownTriggers), Example: "interval, stop",
		Joint: true,
		Meaning: "Opts in, and lists the triggers. `interval`: periodically. `pressure`: when its memory comes close to its limit, " +
			"once in an interval at most. `stop`: when the container is told to stop (deletion, drain), " +
			"before its signal arrives. `request`: by `rekindle checkpoint` or the annotation `rekindle.dev/request`; it is always in. " +
			"`ready`: once, when a container that started cold is ready. " +
			"`idle`: when the container has done nothing for a while.",
	},
	{
		Name: KeyInterval, Type: "duration", Default: "defaults.interval", Min: "bounds.interval_min", Max: "bounds.interval_max",
		Example: "1m30s",
		Joint:   true,
		Meaning: "Time between two checkpoints by the `interval` trigger. A tenth more or less, so that containers that started together are not frozen together.",
	},
	{
		Name: KeyKeep, Type: "number", Default: "defaults.keep", Min: "1", Max: "bounds.keep_max",
		Example: "5",
		Joint:   true,
		Meaning: "How many checkpoints of a container are kept. The newest replaces the oldest, after it is safe on disk.",
	},
	{
		Name: KeyRestore, Type: "text", Default: "defaults.restore",
		Bounds: "one of " + strings.Join(conf.RestoreModes, ", "), Example: "successor",
		Joint: true,
		Meaning: "When a container starts from a checkpoint. `fault`: when it ended badly and is created again in the same pod. " +
			"`successor`: in a pod that takes the place of another. `auto`: both. `never`: checkpoints are made, every start is cold. " +
			"`clone`: as `auto`, and where that leaves a cold start, from what a pod of the same template was when it became ready.",
	},
	{
		Name: KeyReady, Type: "condition", Default: Condition{Kind: After, After: defaultAfter}.String() + ", or bounds.ready_max if that is less",
		Bounds:  fmt.Sprintf("after=DURATION up to bounds.ready_max, log=TEXT of at most %d bytes, port=1 to 65535, file", maxText),
		Example: "log=Started in",
		Meaning: "When the container is ready, for the trigger of that name. `after`: that long after its creation. `log`: when it has logged a line with that text. " +
			"`port`: when something listens on that TCP port in its pod. `file`: when it has made `" + strings.Join(ReadyFiles, "` or `") + "`. " +
			"With a value that cannot be understood, never.",
	},
	{
		Name: KeyConsistency, Type: "text", Default: "container", Bounds: "one of " + strings.Join(consistencies, ", "), Example: "pod", PodOnly: true,
		Meaning: "What a checkpoint is of one moment for. `container`: each container by itself. `pod`: whenever a trigger fires, all managed " +
			"containers that run are frozen, dumped and let go on together, and they are restored together, or none of them. " +
			"`on`, `interval`, `keep` and `restore` are the pod's then, and cannot be set for one container.",
	},
	{
		Name: KeyContainers, Type: "list of containers", Default: "all",
		Bounds: fmt.Sprintf("names of containers, at most %d", maxList), Example: "app, cache", PodOnly: true,
		Meaning: "The containers that are meant. A list without any valid name selects none.",
	},
	{
		Name: KeyIdleAfter, Type: "duration", Default: "defaults.idle_after", Min: "bounds.idle_min", Max: "bounds.idle_max",
		Example: "10m",
		Meaning: "How long a container has to be quiet, in every respect and without a break, to be idle.",
	},
	{
		Name: KeyIdleAction, Type: "text", Default: "defaults.idle_action",
		Bounds: "one of " + strings.Join(conf.IdleActions, ", ") + "; not more than bounds.idle_action", Example: "checkpoint",
		Meaning: "What is done with an idle container. `suspend`: it is put to sleep where it is, and its memory is given back until something wakes it. " +
			"`checkpoint`: one checkpoint, and it runs on.",
	},
	{
		Name: KeyIdleCPU, Type: "milli-CPU", Default: "defaults.idle_cpu", Min: "0", Max: "bounds.idle_cpu_max",
		Example: "50m",
		Meaning: "Up to how much CPU time a container is quiet, in thousandths of a processor, as Kubernetes writes them. What exec probes use does not count.",
	},
	{
		Name: KeyIdleTraffic, Type: "size", Default: "defaults.idle_traffic", Min: "0", Max: "bounds.idle_traffic_max",
		Example: "1KiB",
		Meaning: "Up to how much data a second, in both directions together, a container is quiet. With `0B` a new connection counts even without data. Probes never count.",
	},
	{
		Name: KeyStayAwake, Type: "duration", Default: "defaults.stay_awake", Min: "bounds.stay_awake_min", Max: "bounds.idle_max",
		Example: "5m",
		Meaning: "How long a container that was woken stays awake at least.",
	},
	{
		Name: KeyConnections, Type: "text", Default: string(KeepConnections), Bounds: "one of " + strings.Join(words(connectionModes), ", "), Example: "close",
		Meaning: "What becomes of the sockets of a container that is suspended. `keep`: they stay open, and traffic wakes it; with a socket that cannot be kept it is not suspended. " +
			"`close`: established connections are closed.",
	},
	{
		Name: KeyProbes, Type: "text", Default: string(AnswerProbes), Bounds: "one of " + strings.Join(words(probeModes), ", "), Example: "wake",
		Meaning: "What the kubelet's probes do with a container that sleeps. `answer`: they get the last known good answer, and it sleeps on. `wake`: they wake it.",
	},
	{
		Name: KeyStopAsleep, Type: "text", Default: string(EndAsleep), Bounds: "one of " + strings.Join(words(stopModes), ", "), Example: "wake",
		Meaning: "What a stop signal does with a container that sleeps. `end`: it ends as it sleeps, and its successor goes on from there. `wake`: it is woken, and gets the signal.",
	},
	{
		Name: KeyWakeAt, Type: "cron expression", Default: "never", Bounds: fmt.Sprintf("five fields or a word like @hourly, at most %d bytes, in UTC; not more often than bounds.wake_min", maxSchedule),
		Example: "0 6 * * 1-5",
		Meaning: "When a container that sleeps is woken in any case.",
	},
	{
		Name: KeyRequest, Type: "text", Default: "nothing is asked for", Bounds: "any text", Example: "before the migration", Live: true,
		Meaning: "Each new value, set while the pod runs, makes one checkpoint now. Needs a daemon with Kubernetes credentials.",
	},
}

// Keys returns a description of every annotation, in the order of the docs.
func Keys() []Key { return append([]Key(nil), keys...) }

// podOnly tells whether a key can be set for the whole pod only.
func podOnly(name string) bool {
	return slices.ContainsFunc(keys, func(k Key) bool { return k.Name == name && k.PodOnly })
}

// joint tells whether a key cannot be set for one container of several that are
// checkpointed together.
func joint(name string) bool {
	return slices.ContainsFunc(keys, func(k Key) bool { return k.Name == name && k.Joint })
}

// keyNames are the names of the known keys, in order.
var keyNames = namesOf(keys)

func namesOf(keys []Key) []string {
	var names []string
	for _, k := range keys {
		names = append(names, k.Name)
	}
	slices.Sort(names)
	return names
}
