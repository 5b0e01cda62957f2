package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rekindle-dev/rekindle/conf"
)

// maxList is how many elements of a list are looked at.
const maxList = 64

// resolver works out one policy.
type resolver struct {
	pod       map[string]string
	container string
	cfg       conf.Config

	policy   Policy
	problems []Problem
}

// source is one place where a key may be set.
type source struct {
	kind  Source
	key   string
	value string
}

// sources returns where key is set, the strongest first.
func (r *resolver) sources(key string) []source {
	var out []source
	override, base := r.container+"."+Domain+"/"+key, Domain+"/"+key
	if v, ok := r.pod[override]; ok && !podOnly(key) && !r.together(key) {
		out = append(out, source{SourceOverride, override, v})
	}
	if v, ok := r.pod[base]; ok {
		out = append(out, source{SourceAnnotation, base, v})
	}
	return out
}

// together tells whether a key is the pod's, because its containers are
// checkpointed together.
func (r *resolver) together(key string) bool {
	return r.policy.Consistency == ConsistencyPod && joint(key)
}

// use notes where the value of key comes from.
func (r *resolver) use(key string, kind Source, s source) {
	o := Origin{Source: kind}
	if s.key != "" {
		o.Key, o.Raw = plain(s.key), quote(s.value)
	}
	r.policy.Origins[key] = o
}

// problem notes that value, all or a part of what s says, is not followed.
func (r *resolver) problem(s source, value, reason, used string) {
	r.problems = append(r.problems, Problem{Key: plain(s.key), Value: quote(value), Reason: reason, Used: used})
}

const ignored = "ignored"

// on returns the triggers, or why there are none.
func (r *resolver) on() ([]Trigger, string) {
	sources := r.sources(KeyOn)
	for _, s := range sources {
		if on, ok := r.triggers(s); ok {
			r.use(KeyOn, s.kind, s)
			return on, ""
		}
	}
	r.use(KeyOn, SourceDefault, source{})
	if len(sources) == 0 {
		return nil, "there is no " + Domain + "/" + KeyOn + " annotation"
	}
	return nil, plain(sources[0].key) + " names no trigger; known are " + join(knownTriggers)
}

// triggers reads one list. One known trigger opts in.
func (r *resolver) triggers(s source) ([]Trigger, bool) {
	on := map[Trigger]bool{Request: true}
	valid := false
	for _, name := range r.elements(s) {
		t := Trigger(name)
		if !slices.Contains(knownTriggers, t) {
			r.problem(s, name, "is not a trigger; known are "+join(knownTriggers), ignored)
			continue
		}
		on[t], valid = true, true
	}
	return slices.DeleteFunc(slices.Clone(knownTriggers), func(t Trigger) bool { return !on[t] }), valid
}

// elements splits a comma-separated list. Spaces around elements and empty
// elements do not count.
func (r *resolver) elements(s source) []string {
	var out []string
	for e := range strings.SplitSeq(s.value, ",") {
		if len(out) == maxList {
			r.problem(s, s.value, fmt.Sprintf("has more than %d elements", maxList), "the rest is ignored")
			break
		}
		if e = strings.Trim(e, " \t"); e != "" && !slices.Contains(out, e) {
			out = append(out, e)
		}
	}
	if len(out) == 0 {
		r.problem(s, s.value, "is empty", ignored)
	}
	return out
}

func (r *resolver) consistency() {
	r.policy.Consistency = ConsistencyContainer
	r.use(KeyConsistency, SourceDefault, source{})
	for _, s := range r.sources(KeyConsistency) {
		value := strings.Trim(s.value, " \t")
		if !slices.Contains(consistencies, value) {
			r.problem(s, s.value, "is not one of "+strings.Join(consistencies, ", "), ignored)
			continue
		}
		r.policy.Consistency = Consistency(value)
		r.use(KeyConsistency, s.kind, s)
	}
}

func (r *resolver) interval() {
	d, b := r.cfg.Defaults, r.cfg.Bounds
	r.policy.Interval = r.duration(KeyInterval, d.Interval, limit[conf.Duration]{"bounds.interval_min", b.IntervalMin}, limit[conf.Duration]{"bounds.interval_max", b.IntervalMax})
}

func (r *resolver) keep() {
	r.policy.Keep = r.cfg.Defaults.Keep
	r.use(KeyKeep, SourceConfig, source{})
	for _, s := range r.sources(KeyKeep) {
		n, ok := parseCount(s.value)
		if !ok {
			r.problem(s, s.value, "is not a whole number", ignored)
			continue
		}
		r.policy.Keep = min(max(n, 1), r.cfg.Bounds.KeepMax)
		kind := s.kind
		if n < 1 {
			r.problem(s, s.value, "is below 1, the least that can be kept", "1 is used")
			kind = SourceBound
		} else if n > r.cfg.Bounds.KeepMax {
			r.problem(s, s.value, "is above bounds.keep_max of the config file", strconv.Itoa(r.cfg.Bounds.KeepMax)+" is used")
			kind = SourceBound
		}
		r.use(KeyKeep, kind, s)
		return
	}
}

// parseCount reads ASCII digits. A number too large to matter becomes one that
// is still too large.
func parseCount(value string) (int, bool) {
	value = strings.Trim(value, " \t")
	if value == "" || strings.Trim(value, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(value)
	if err != nil {
		return 1 << 30, true
	}
	return n, true
}

func (r *resolver) restore() {
	r.policy.Restore = choose(r, KeyRestore, SourceConfig, RestoreMode(r.cfg.Defaults.Restore), modes[RestoreMode](conf.RestoreModes))
}

// selected tells whether the containers annotation covers the container. A list
// without any valid name selects none: who wanted to restrict must not get all.
func (r *resolver) selected() (bool, string) {
	sources := r.sources(KeyContainers)
	if len(sources) == 0 {
		r.use(KeyContainers, SourceDefault, source{})
		return true, ""
	}
	s := sources[0]
	r.use(KeyContainers, s.kind, s)
	r.policy.Containers = []string{}
	for _, name := range r.elements(s) {
		if !containerName(name) {
			r.problem(s, name, "cannot be the name of a container", ignored)
			continue
		}
		r.policy.Containers = append(r.policy.Containers, name)
	}
	switch {
	case slices.Contains(r.policy.Containers, r.container):
		return true, ""
	case len(r.policy.Containers) == 0:
		return false, plain(s.key) + " names no container"
	default:
		return false, plain(s.key) + " does not list this container"
	}
}

// containerName accepts DNS-1123 labels.
func containerName(name string) bool {
	const label = "abcdefghijklmnopqrstuvwxyz0123456789-"
	return len(name) <= 63 && strings.Trim(name, label) == "" && name != "" && name[0] != '-' && name[len(name)-1] != '-'
}

func join(triggers []Trigger) string {
	names := make([]string, len(triggers))
	for i, t := range triggers {
		names[i] = string(t)
	}
	return strings.Join(names, ", ")
}
