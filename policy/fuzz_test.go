package policy_test

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2"

	"github.com/rekindle-dev/rekindle/conf"
	"github.com/rekindle-dev/rekindle/policy"
)

// FuzzResolve gives a policy any annotations, names and bounds. The text has an
// annotation on each line, KEY=VALUE; value is that of one known key.
func FuzzResolve(f *testing.F) {
	f.Add("rekindle.dev/on=interval\nrekindle.dev/interval=30s", uint8(2), "-1", "shop", "app", int64(5e9), int64(60e9), int64(9e12), 3, 10)
	f.Add("rekindle.dev/on=interval,\xff\napp.rekindle.dev/keep=9", uint8(2), "99999999999999999999", "kube-system", "app", int64(1), int64(1), int64(1), 1, 1)
	f.Add("rekindle.dev/containers=app,b\nb.rekindle.dev/on=stop", uint8(0), "request,request, ,idle,\x1b[2J", "", "b", int64(1e9), int64(1e18), int64(1e18), -5, 1000)
	f.Add("rekindle.dev/k\u0435ep=3\nrekindle.dev/restore=\u202eauto\n.rekindle.dev/on=stop\nrekindle.dev/=\n=", uint8(1), "0.0000000001ms", "shop", "", int64(0), int64(0), int64(0), 0, 0)
	f.Add(strings.Repeat("rekindle.dev/x\n", 3)+"app\n.rekindle.dev/interval=9h", uint8(3), strings.Repeat("9", 70)+"h", "a b", "app\"", int64(-1), int64(7), int64(1<<62), 4, 2)
	f.Add("rekindle.dev/on=idle\nrekindle.dev/idle-after=1s\nrekindle.dev/wake-at=TZ=0\nrekindle.dev/idle-action=suspend", uint8(15), "0,1 0 29 2 *", "shop", "app", int64(1e9), int64(60e9), int64(9e12), 2, 10)
	f.Add("rekindle.dev/on=idle\nrekindle.dev/wake-at=@every 1s\nrekindle.dev/idle-traffic=9223372036854775807B", uint8(9), "+3m", "shop", "app", int64(1e9), int64(60e9), int64(9e12), 3, 10)
	f.Add("rekindle.dev/on=stop\nrekindle.dev/consistency=pod\napp.rekindle.dev/on=ready\napp.rekindle.dev/consistency=container", uint8(5), "pod", "shop", "app", int64(5e9), int64(60e9), int64(9e12), 3, 10)
	f.Fuzz(func(t *testing.T, text string, which uint8, value, namespace, container string, low, middle, high int64, keep, most int) {
		cfg := bounded(low, middle, high, keep, most)
		pod := map[string]string{}
		for line := range strings.SplitSeq(text, "\n") {
			key, v, _ := strings.Cut(line, "=")
			pod[key] = v
		}
		pod[dev+policy.Keys()[int(which)%len(policy.Keys())].Name] = value

		p := policy.Resolve(pod, namespace, container, cfg)
		within(t, p, cfg)
		if p.Managed != (p.Why == "") || p.Managed != p.Has(policy.Request) || !p.Managed && len(p.On) > 0 {
			t.Fatalf("contradiction: %+v", p)
		}
		if p.Managed && slices.Contains(cfg.Namespaces.Deny, namespace) {
			t.Fatalf("managed in the denied namespace %q", namespace)
		}
		for _, problem := range p.Problems {
			if problem.Key == "" || problem.Value == "" || problem.Reason == "" || problem.Used == "" {
				t.Fatalf("not a whole problem: %+v", problem)
			}
		}
		safe(t, p)
		if !reflect.DeepEqual(p, policy.Resolve(pod, namespace, container, cfg)) {
			t.Fatal("the same input gives another policy")
		}
		pod["example.com/on"] = value
		if !reflect.DeepEqual(p, policy.Resolve(pod, namespace, container, cfg)) {
			t.Fatal("an annotation of another domain changes the policy")
		}
	})
}

// bounded returns a valid configuration with bounds and defaults made of
// numbers of any size.
func bounded(low, middle, high int64, keep, most int) conf.Config {
	span := func(n, lo, hi int64) conf.Duration {
		return conf.Duration{Duration: time.Duration(min(max(n, lo), hi))}
	}
	cfg := conf.Default()
	b, d := &cfg.Bounds, &cfg.Defaults
	b.IntervalMin = span(low, int64(time.Second), int64(720*time.Hour))
	b.IntervalMax = span(high, int64(b.IntervalMin.Duration), int64(720*time.Hour))
	d.Interval = span(middle, int64(b.IntervalMin.Duration), int64(b.IntervalMax.Duration))
	b.ReadyMax = span(middle, int64(time.Second), int64(24*time.Hour))
	b.IdleMin, b.IdleMax = b.IntervalMin, b.IntervalMax
	b.StayAwakeMin = span(low, 0, int64(min(time.Hour, b.IdleMax.Duration)))
	b.WakeMin = span(middle, int64(time.Second), int64(24*time.Hour))
	b.IdleCPUMax = min(max(most, 1), 1000)
	b.IdleTrafficMax = conf.Size(min(max(middle, 0), 100<<20))
	d.IdleAfter, d.StayAwake = d.Interval, span(middle, int64(b.StayAwakeMin.Duration), int64(b.IdleMax.Duration))
	d.IdleCPU, d.IdleTraffic = min(max(keep, 0), b.IdleCPUMax), conf.Size(min(max(low, 0), b.IdleTrafficMax.Bytes()))
	if keep%2 == 0 {
		b.IdleAction, d.IdleAction = "checkpoint", "checkpoint"
	}
	b.KeepMax = min(max(most, 1), 1000)
	d.Keep = min(max(keep, 1), b.KeepMax)
	return cfg
}

// within makes sure of every key that its value is one the reference allows:
// what holds for a key that has bounds lies between them.
func within(t *testing.T, p policy.Policy, cfg conf.Config) {
	t.Helper()
	text, err := toml.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conf.Parse(text); err != nil {
		t.Fatalf("the test's configuration is not valid: %v", err)
	}
	var file map[string]map[string]any
	if err := toml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	// limit returns a number, or the value of a key of the file, as a number.
	limit := func(name, kind string) int64 {
		value := name
		if section, key, found := strings.Cut(name, "."); found {
			switch v := file[section][key].(type) {
			case string:
				value = v
			case int64:
				return v
			}
		}
		return number(t, value, kind)
	}
	for _, key := range policy.Keys() {
		if p.Origins[key.Name].Source == "" && !key.Live {
			t.Fatalf("%s has no origin", key.Name)
		}
		if key.Max == "" {
			continue
		}
		if n := number(t, p.Value(key.Name), key.Type); n < limit(key.Min, key.Type) || n > limit(key.Max, key.Type) {
			t.Fatalf("%s is %s, which is not within %s and %s: %+v", key.Name, p.Value(key.Name), key.Min, key.Max, cfg)
		}
	}
	if p.Ready.After > cfg.Bounds.ReadyMax.Duration || p.Ready.Port < 0 || p.Ready.Port > 65535 || len(p.Ready.Text) > 128 {
		t.Fatalf("Ready=%+v is out of bounds", p.Ready)
	}
	if p.Consistency != policy.ConsistencyContainer && p.Consistency != policy.ConsistencyPod {
		t.Fatalf("Consistency=%q is not known", p.Consistency)
	}
	if !slices.Contains(conf.RestoreModes, string(p.Restore)) {
		t.Fatalf("Restore=%q is not known", p.Restore)
	}
	if cfg.Bounds.IdleAction != string(p.Idle.Action) && p.Idle.Action != policy.CheckpointIdle {
		t.Fatalf("Action=%q, and bounds.idle_action is %q", p.Idle.Action, cfg.Bounds.IdleAction)
	}
	wakes(t, p.Sleep, cfg.Bounds.WakeMin.Duration)
}

// wakes makes sure that a schedule wakes later than it is asked, and no more
// often than it may.
func wakes(t *testing.T, s policy.Sleep, least time.Duration) {
	t.Helper()
	asleep, woken := time.Date(2024, time.February, 28, 23, 59, 59, 999, time.UTC), time.Time{}
	for range 5 {
		next := s.WakeAt.Next(asleep, woken)
		if next.IsZero() {
			return
		}
		if !next.After(asleep) || !woken.IsZero() && next.Sub(woken) < least {
			t.Fatalf("%s wakes at %s, after %s, asleep since %s; at least %s should be between", s.WakeAt, next, woken, asleep, least)
		}
		asleep, woken = next.Add(time.Millisecond), next
	}
}

func number(t *testing.T, value, kind string) int64 {
	t.Helper()
	switch {
	case kind == "duration" && value != "0":
		d, err := time.ParseDuration(value)
		if err != nil {
			t.Fatal(err)
		}
		return int64(d)
	case kind == "size" && value != "0":
		var s conf.Size
		if err := s.UnmarshalText([]byte(value)); err != nil {
			t.Fatal(err)
		}
		return s.Bytes()
	case kind == "milli-CPU":
		value = strings.TrimSuffix(value, "m")
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// safe makes sure that everything a policy prints is short ASCII on one line.
func safe(t *testing.T, p policy.Policy) {
	t.Helper()
	texts := []string{p.Why}
	for _, s := range p.Settings() {
		texts = append(texts, s.Value, s.From)
	}
	for _, problem := range p.Problems {
		texts = append(texts, problem.String())
	}
	for _, o := range p.Origins {
		texts = append(texts, o.String())
	}
	for _, text := range texts {
		if len(text) > 5000 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r >= utf8.RuneSelf || r == 0x7f }) {
			t.Fatalf("unsafe text of %d bytes: %.200q", len(text), text)
		}
	}
}
