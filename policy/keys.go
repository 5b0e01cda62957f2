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
	KeyOn         = "on"
	KeyInterval   = "interval"
	KeyKeep       = "keep"
	KeyRestore    = "restore"
	KeyReady      = "ready"
	KeyContainers = "containers"
	KeyRequest    = "request"
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
		Meaning: "Opts in, and lists the triggers. `interval`: periodically. `pressure`: when its memory comes close to its limit, " +
			"once in an interval at most. `stop`: when the container is told to stop (deletion, drain), " +
			"before its signal arrives. `request`: by `rekindle checkpoint` or the annotation `rekindle.dev/request`; it is always in. " +
			"`ready`: once, when a container that started cold is ready. " +
			"`idle` is a known word that does nothing yet.",
	},
	{
		Name: KeyInterval, Type: "duration", Default: "defaults.interval", Min: "bounds.interval_min", Max: "bounds.interval_max",
		Example: "1m30s",
		Meaning: "Time between two checkpoints by the `interval` trigger. A tenth more or less, so that containers that started together are not frozen together.",
	},
	{
		Name: KeyKeep, Type: "number", Default: "defaults.keep", Min: "1", Max: "bounds.keep_max",
		Example: "5",
		Meaning: "How many checkpoints of a container are kept. The newest replaces the oldest, after it is safe on disk.",
	},
	{
		Name: KeyRestore, Type: "text", Default: "defaults.restore",
		Bounds: "one of " + strings.Join(conf.RestoreModes, ", "), Example: "successor",
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
		Name: KeyContainers, Type: "list of containers", Default: "all",
		Bounds: fmt.Sprintf("names of containers, at most %d", maxList), Example: "app, cache", PodOnly: true,
		Meaning: "The containers that are meant. A list without any valid name selects none.",
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
