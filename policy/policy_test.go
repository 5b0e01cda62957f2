package policy_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/conf"
	"github.com/rekindle-dev/rekindle/policy"
)

const dev = policy.Domain + "/"

func TestResolveUnmanaged(t *testing.T) {
	on := map[string]string{dev + "on": "interval"}
	lists := func(allow, deny string) conf.Config {
		cfg := conf.Default()
		cfg.Namespaces = conf.Namespaces{Allow: strings.Fields(allow), Deny: strings.Fields(deny)}
		return cfg
	}
	tests := map[string]struct {
		pod map[string]string
		ns  string
		cfg conf.Config
		why string // a part of it; empty means managed
	}{
		"OptedIn":           {on, "shop", conf.Default(), ""},
		"NoAnnotations":     {nil, "shop", conf.Default(), "no rekindle.dev/on"},
		"OtherAnnotations":  {map[string]string{dev + "interval": "9s"}, "shop", conf.Default(), "no rekindle.dev/on"},
		"OnEmpty":           {map[string]string{dev + "on": " , "}, "shop", conf.Default(), "names no trigger"},
		"OnUnknown":         {map[string]string{dev + "on": "true"}, "shop", conf.Default(), "names no trigger"},
		"DeniedByDefault":   {on, "kube-system", conf.Default(), "namespaces.deny"},
		"Denied":            {on, "shop", lists("", "shop"), "namespaces.deny"},
		"DenyWins":          {on, "shop", lists("shop", "shop"), "namespaces.deny"},
		"Allowed":           {on, "shop", lists("shop", ""), ""},
		"NotAllowed":        {on, "bank", lists("shop", ""), "namespaces.allow"},
		"Listed":            {with(on, "containers", "db, app"), "shop", conf.Default(), ""},
		"NotListed":         {with(on, "containers", "db"), "shop", conf.Default(), "does not list this container"},
		"ListOfNothing":     {with(on, "containers", ""), "shop", conf.Default(), "names no container"},
		"ListMalformed":     {with(on, "containers", "app;db"), "shop", conf.Default(), "names no container"},
		"ListPartlyInvalid": {with(on, "containers", "app,D B"), "shop", conf.Default(), ""},
		"OptedInByOverride": {map[string]string{"app.rekindle.dev/on": "request"}, "shop", conf.Default(), ""},
		"OptedInForAnother": {map[string]string{"db.rekindle.dev/on": "request"}, "shop", conf.Default(), "no rekindle.dev/on"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			p := policy.Resolve(tc.pod, tc.ns, "app", tc.cfg)
			if p.Managed != (tc.why == "") || !strings.Contains(p.Why, tc.why) || p.Managed != (p.Why == "") {
				t.Fatalf("Managed=%v Why=%q, want %q", p.Managed, p.Why, tc.why)
			}
			if p.Managed != p.Has(policy.Request) {
				t.Fatalf("Has(request)=%v, want %v", !p.Managed, p.Managed)
			}
		})
	}
}

// with returns pod with one more annotation of our domain.
func with(pod map[string]string, key, value string) map[string]string {
	out := map[string]string{dev + key: value}
	for k, v := range pod {
		out[k] = v
	}
	return out
}

func TestResolveValues(t *testing.T) {
	cfg := conf.Default()
	base := policy.Policy{Interval: 60 * time.Second, Keep: 3, Restore: policy.RestoreAuto}
	tests := map[string]struct {
		key, value string
		want       func(*policy.Policy)
		source     policy.Source
		reason     string // of the one problem; empty means none
	}{
		"Interval":          {"interval", "30s", func(p *policy.Policy) { p.Interval = 30 * time.Second }, policy.SourceAnnotation, ""},
		"IntervalSpaces":    {"interval", " 1m30s ", func(p *policy.Policy) { p.Interval = 90 * time.Second }, policy.SourceAnnotation, ""},
		"IntervalNoUnit":    {"interval", "30", nil, policy.SourceConfig, "number and a unit"},
		"IntervalEmpty":     {"interval", "", nil, policy.SourceConfig, "number and a unit"},
		"IntervalNegative":  {"interval", "-30s", nil, policy.SourceConfig, "number and a unit"},
		"IntervalZero":      {"interval", "0s", nil, policy.SourceConfig, "not longer than zero"},
		"IntervalSmall":     {"interval", "1ms", func(p *policy.Policy) { p.Interval = 5 * time.Second }, policy.SourceBound, "interval_min"},
		"IntervalLarge":     {"interval", "25h", func(p *policy.Policy) { p.Interval = 24 * time.Hour }, policy.SourceBound, "interval_max"},
		"IntervalOverflows": {"interval", "99999999999999h", func(p *policy.Policy) { p.Interval = 24 * time.Hour }, policy.SourceBound, "interval_max"},
		"IntervalHomoglyph": {"interval", "30ѕ", nil, policy.SourceConfig, "number and a unit"},
		"IntervalMegabyte":  {"interval", strings.Repeat("9", 1<<20) + "s", nil, policy.SourceConfig, "number and a unit"},
		"Keep":              {"keep", "5", func(p *policy.Policy) { p.Keep = 5 }, policy.SourceAnnotation, ""},
		"KeepZero":          {"keep", "0", func(p *policy.Policy) { p.Keep = 1 }, policy.SourceBound, "below 1"},
		"KeepLarge":         {"keep", "11", func(p *policy.Policy) { p.Keep = 10 }, policy.SourceBound, "keep_max"},
		"KeepHuge":          {"keep", strings.Repeat("9", 99), func(p *policy.Policy) { p.Keep = 10 }, policy.SourceBound, "keep_max"},
		"KeepNegative":      {"keep", "-1", nil, policy.SourceConfig, "whole number"},
		"KeepFraction":      {"keep", "1.5", nil, policy.SourceConfig, "whole number"},
		"KeepOtherDigits":   {"keep", "３", nil, policy.SourceConfig, "whole number"},
		"Restore":           {"restore", "fault", func(p *policy.Policy) { p.Restore = policy.RestoreFault }, policy.SourceAnnotation, ""},
		"RestoreNever":      {"restore", "never", func(p *policy.Policy) { p.Restore = policy.RestoreNever }, policy.SourceAnnotation, ""},
		"RestoreSuccessor":  {"restore", "successor", func(p *policy.Policy) { p.Restore = policy.RestoreSuccessor }, policy.SourceAnnotation, ""},
		"RestoreClone":      {"restore", "clone", func(p *policy.Policy) { p.Restore = policy.RestoreClone }, policy.SourceAnnotation, ""},
		"RestoreOtherCase":  {"restore", "Never", nil, policy.SourceConfig, "auto, never, fault, successor, clone"},
		"RestoreInjection":  {"restore", "auto\n--exec /bin/sh", nil, policy.SourceConfig, "auto, never"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			want := base
			if tc.want != nil {
				tc.want(&want)
			}
			p := policy.Resolve(map[string]string{dev + "on": "interval", dev + tc.key: tc.value}, "shop", "app", cfg)
			if !p.Managed || p.Interval != want.Interval || p.Keep != want.Keep || p.Restore != want.Restore {
				t.Fatalf("Policy=%+v, want %+v", p, want)
			}
			if got := p.Origins[tc.key].Source; got != tc.source {
				t.Errorf("source=%s, want %s", got, tc.source)
			}
			if tc.reason == "" {
				if len(p.Problems) > 0 {
					t.Fatalf("Problems=%v, want none", p.Problems)
				}
				return
			}
			if len(p.Problems) != 1 || p.Problems[0].Key != dev+tc.key || !strings.Contains(p.Problems[0].Reason, tc.reason) || p.Problems[0].Used == "" {
				t.Fatalf("Problems=%v, want one about %q", p.Problems, tc.reason)
			}
		})
	}
}

func TestExplain(t *testing.T) {
	pod := map[string]string{
		dev + "on": "interval", dev + "keep": "99", "app.rekindle.dev/interval": "10s", dev + "containers": "app, db",
	}
	p := policy.Resolve(pod, "shop", "app", conf.Default())
	want := map[string][2]string{
		"on":          {"interval, request", `rekindle.dev/on="interval"`},
		"interval":    {"10s", `app.rekindle.dev/interval="10s"`},
		"keep":        {"10", `bound of the config file, for rekindle.dev/keep="99"`},
		"restore":     {"auto", "default of the config file"},
		"ready":       {"after=30s", "default"},
		"idle-cpu":    {"20m", "default of the config file"},
		"probes":      {"answer", "default"},
		"wake-at":     {"never", "default"},
		"consistency": {"container", "default"},
		"containers":  {"app, db", `rekindle.dev/containers="app, db"`},
	}
	for key, w := range want {
		if got := [2]string{p.Value(key), p.Origins[key].String()}; got != w {
			t.Errorf("%s=%q, want %q", key, got, w)
		}
	}
	if got := policy.Resolve(nil, "shop", "app", conf.Default()); got.Value("containers") != "all" || got.Origins["containers"].String() != "default" {
		t.Errorf("containers=%q from %q", got.Value("containers"), got.Origins["containers"])
	}
}

func TestResolveTriggers(t *testing.T) {
	const interval, request = policy.Interval, policy.Request
	tests := map[string]struct {
		value    string
		on       []policy.Trigger
		problems []string
	}{
		"Interval":     {"interval", []policy.Trigger{interval, request}, nil},
		"Request":      {"request", []policy.Trigger{request}, nil},
		"Both":         {" request ,interval,,interval", []policy.Trigger{interval, request}, nil},
		"Idle":         {"idle", []policy.Trigger{policy.Idle, request}, nil},
		"Ready":        {"ready", []policy.Trigger{policy.Ready, request}, nil},
		"Unknown":      {"interval,restart", []policy.Trigger{interval, request}, []string{`"restart"`}},
		"Homoglyph":    {"interval,іnterval", []policy.Trigger{interval, request}, []string{`"\u0456nterval"`}},
		"NothingKnown": {"Interval", nil, []string{`"Interval"`}},
		"Control":      {"interval,\x1b[2J\x00", []policy.Trigger{interval, request}, []string{`"\x1b[2J\x00"`}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			p := policy.Resolve(map[string]string{dev + "on": tc.value}, "shop", "app", conf.Default())
			var values []string
			for _, problem := range p.Problems {
				values = append(values, problem.Value)
			}
			if !slices.Equal(p.On, tc.on) || !slices.Equal(values, tc.problems) {
				t.Fatalf("On=%v problems %v, want %v and %v", p.On, values, tc.on, tc.problems)
			}
		})
	}
}

func TestResolveOverrides(t *testing.T) {
	pod := map[string]string{
		dev + "on": "interval", dev + "interval": "30s", dev + "keep": "2",
		"app.rekindle.dev/interval": "10s", "app.rekindle.dev/keep": "many", "db.rekindle.dev/keep": "9",
	}
	app := policy.Resolve(pod, "shop", "app", conf.Default())
	if app.Interval != 10*time.Second || app.Origins["interval"] != (policy.Origin{Source: policy.SourceOverride, Key: "app.rekindle.dev/interval", Raw: `"10s"`}) {
		t.Errorf("app interval=%v from %+v", app.Interval, app.Origins["interval"])
	}
	if app.Keep != 2 || app.Origins["keep"].Source != policy.SourceAnnotation || len(app.Problems) != 1 {
		t.Errorf("app keep=%d from %+v with %v, want the pod's 2 and one problem", app.Keep, app.Origins["keep"], app.Problems)
	}
	db := policy.Resolve(pod, "shop", "db", conf.Default())
	if db.Interval != 30*time.Second || db.Keep != 9 || len(db.Problems) != 0 {
		t.Errorf("db=%+v", db)
	}
}

func TestResolveConsistency(t *testing.T) {
	tests := map[string]struct {
		pod    map[string]string
		want   policy.Consistency
		reason string // of the one problem; empty means none
	}{
		"Default":   {nil, policy.ConsistencyContainer, ""},
		"Container": {map[string]string{dev + "consistency": "container"}, policy.ConsistencyContainer, ""},
		"Pod":       {map[string]string{dev + "consistency": " pod "}, policy.ConsistencyPod, ""},
		"Unknown":   {map[string]string{dev + "consistency": "Pod"}, policy.ConsistencyContainer, "is not one of container, pod"},
		"Override":  {map[string]string{"app.rekindle.dev/consistency": "pod"}, policy.ConsistencyContainer, "cannot be set for one container"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			p := policy.Resolve(with(tc.pod, "on", "interval"), "shop", "app", conf.Default())
			if p.Consistency != tc.want || p.Value("consistency") != string(tc.want) {
				t.Errorf("consistency %q shown as %q, want %q", p.Consistency, p.Value("consistency"), tc.want)
			}
			if len(p.Problems) > 1 || (len(p.Problems) == 1) != (tc.reason != "") {
				t.Fatalf("Problems=%v, want %q", p.Problems, tc.reason)
			}
			if tc.reason != "" && !strings.Contains(p.Problems[0].Reason, tc.reason) {
				t.Errorf("Problems=%v, want %q", p.Problems, tc.reason)
			}
		})
	}
}

// What containers that are checkpointed together do is the pod's to say; when
// one is ready is its own matter.
func TestResolveTogether(t *testing.T) {
	pod := map[string]string{
		dev + "on": "interval", dev + "interval": "30s", dev + "consistency": "pod",
		"app.rekindle.dev/on": "stop", "app.rekindle.dev/interval": "10s", "app.rekindle.dev/keep": "9",
		"app.rekindle.dev/restore": "never", "app.rekindle.dev/ready": "file",
	}
	p := policy.Resolve(pod, "shop", "app", conf.Default())
	if p.Has(policy.Stop) || p.Interval != 30*time.Second || p.Keep != 3 || p.Restore != policy.RestoreAuto || p.Ready.Kind != policy.File {
		t.Errorf("Policy=%+v, want the pod's, with the container's own condition", p)
	}
	if len(p.Problems) != 4 {
		t.Fatalf("Problems=%v, want 4", p.Problems)
	}
	for _, problem := range p.Problems {
		if !strings.Contains(problem.Reason, "while rekindle.dev/consistency is pod") {
			t.Errorf("Problem=%v", problem)
		}
	}
	off := policy.Resolve(map[string]string{"app.rekindle.dev/on": "stop", dev + "consistency": "pod"}, "shop", "app", conf.Default())
	if off.Managed || len(off.Problems) != 1 {
		t.Errorf("Policy=%+v, want not managed, with the problem", off)
	}
}

func TestResolveStrays(t *testing.T) {
	tests := map[string]struct{ key, reason string }{
		"Typo":               {dev + "intervall", "did you mean interval?"},
		"OtherCase":          {dev + "Keep", "did you mean keep?"},
		"Homoglyph":          {dev + "оn", "did you mean on?"},
		"Unknown":            {dev + "path", "known are connections, consistency, containers, idle-action, idle-after,"},
		"Empty":              {dev, "not a known key"},
		"Slash":              {dev + "on/x", "not a known key"},
		"OverrideTypo":       {"app.rekindle.dev/kep", "did you mean keep?"},
		"OverrideContainers": {"app.rekindle.dev/containers", "cannot be set for one container"},
		"OtherContainer":     {"db.rekindle.dev/kep", ""},
		"OtherDomain":        {"notrekindle.dev/on", ""},
		"Megabyte":           {dev + strings.Repeat("x", 1<<20), "not a known key"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			p := policy.Resolve(map[string]string{dev + "on": "interval", tc.key: "x\x00"}, "shop", "app", conf.Default())
			if tc.reason == "" {
				if len(p.Problems) > 0 {
					t.Fatalf("Problems=%v, want none", p.Problems)
				}
				return
			}
			if len(p.Problems) != 1 || !strings.Contains(p.Problems[0].Reason, tc.reason) {
				t.Fatalf("Problems=%v, want %q", p.Problems, tc.reason)
			}
			safe(t, p)
		})
	}
}

func TestResolveIsDeterministic(t *testing.T) {
	pod := map[string]string{dev + "on": "x,y,z", dev + "interval": "?", "app.rekindle.dev/on": "q"}
	for i := range 100 {
		pod[fmt.Sprint(dev, "key", i)] = "v"
	}
	first := policy.Resolve(pod, "shop", "app", conf.Default())
	if len(first.Problems) != 33 {
		t.Fatalf("%d problems, want 32 and a last one that counts the rest", len(first.Problems))
	}
	for range 20 {
		if again := policy.Resolve(pod, "shop", "app", conf.Default()); !reflect.DeepEqual(again, first) {
			t.Fatalf("%+v and %+v", again, first)
		}
	}
}
