package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/conf"
	"github.com/rekindle-dev/rekindle/policy"
)

func TestResolveIdle(t *testing.T) {
	tests := map[string]struct {
		key, value, want string
		source           policy.Source
		reason           string // of the one problem; empty means none
	}{
		"After":            {"idle-after", "2m", "2m", policy.SourceAnnotation, ""},
		"AfterNone":        {"", "", "5m", policy.SourceConfig, ""},
		"AfterSmall":       {"idle-after", "1s", "30s", policy.SourceBound, "idle_min"},
		"AfterLarge":       {"idle-after", "99h", "24h", policy.SourceBound, "idle_max"},
		"AfterNever":       {"idle-after", "never", "5m", policy.SourceConfig, "number and a unit"},
		"Action":           {"idle-action", " checkpoint ", "checkpoint", policy.SourceAnnotation, ""},
		"ActionUnknown":    {"idle-action", "kill", "suspend", policy.SourceConfig, "checkpoint, suspend"},
		"CPU":              {"idle-cpu", " 50m ", "50m", policy.SourceAnnotation, ""},
		"CPUNothing":       {"idle-cpu", "0m", "0m", policy.SourceAnnotation, ""},
		"CPULarge":         {"idle-cpu", "2000m", "500m", policy.SourceBound, "idle_cpu_max"},
		"CPUHuge":          {"idle-cpu", strings.Repeat("9", 99) + "m", "500m", policy.SourceBound, "idle_cpu_max"},
		"CPUPercent":       {"idle-cpu", "2%", "20m", policy.SourceConfig, "amount of CPU"},
		"CPUNoUnit":        {"idle-cpu", "20", "20m", policy.SourceConfig, "amount of CPU"},
		"CPUSpace":         {"idle-cpu", "20 m", "20m", policy.SourceConfig, "amount of CPU"},
		"CPUNegative":      {"idle-cpu", "-1m", "20m", policy.SourceConfig, "amount of CPU"},
		"CPUUnitOnly":      {"idle-cpu", "m", "20m", policy.SourceConfig, "amount of CPU"},
		"Traffic":          {"idle-traffic", "1KiB", "1KiB", policy.SourceAnnotation, ""},
		"TrafficLarge":     {"idle-traffic", "2MiB", "1MiB", policy.SourceBound, "idle_traffic_max"},
		"TrafficOverflow":  {"idle-traffic", "99999999TiB", "0B", policy.SourceConfig, "size"},
		"TrafficNoUnit":    {"idle-traffic", "1024", "0B", policy.SourceConfig, "size"},
		"StayAwake":        {"stay-awake", "1m", "1m", policy.SourceAnnotation, ""},
		"StayAwakeSmall":   {"stay-awake", "1ms", "5s", policy.SourceBound, "stay_awake_min"},
		"Connections":      {"connections", "close", "close", policy.SourceAnnotation, ""},
		"ConnectionsWrong": {"connections", "drop", "keep", policy.SourceDefault, "keep, close"},
		"Probes":           {"probes", "wake", "wake", policy.SourceAnnotation, ""},
		"ProbesWrong":      {"probes", "answer;rm", "answer", policy.SourceDefault, "answer, wake"},
		"StopAsleep":       {"stop-asleep", "wake", "wake", policy.SourceAnnotation, ""},
		"StopAsleepWrong":  {"stop-asleep", "", "end", policy.SourceDefault, "end, wake"},
		"WakeAt":           {"wake-at", "0 6 * * 1-5", `"0 6 * * 1-5"`, policy.SourceAnnotation, ""},
		"WakeAtWord":       {"wake-at", "@hourly", `"@hourly"`, policy.SourceAnnotation, ""},
		"WakeAtMinute":     {"wake-at", "* * * * *", `"* * * * *"`, policy.SourceAnnotation, ""},
		"WakeAtOften":      {"wake-at", "@every 1s", `"@every 1s"`, policy.SourceBound, "wake_min"},
		"WakeAtSeconds":    {"wake-at", "0 0 6 * * 1", "never", policy.SourceDefault, "five fields"},
		"WakeAtZone":       {"wake-at", "TZ=Europe/Rome 0 6 * * *", "never", policy.SourceDefault, "UTC"},
		"WakeAtZonePath":   {"wake-at", "CRON_TZ=../../etc/shadow 0 6 * * *", "never", policy.SourceDefault, "UTC"},
		"WakeAtZoneOnly":   {"wake-at", "TZ=", "never", policy.SourceDefault, "UTC"},
		"WakeAtNever":      {"wake-at", "0 0 30 2 *", "never", policy.SourceDefault, "never comes"},
		"WakeAtEmpty":      {"wake-at", "", "never", policy.SourceDefault, "five fields"},
		"WakeAtOutOfRange": {"wake-at", "61 0 * * *", "never", policy.SourceDefault, "five fields"},
		"WakeAtNoStep":     {"wake-at", "*/0 * * * *", "never", policy.SourceDefault, "five fields"},
		"WakeAtLong":       {"wake-at", strings.Repeat("1,", 80) + "1 * * * *", "never", policy.SourceDefault, "too long"},
		"WakeAtControl":    {"wake-at", "0 6 * * *\x1b[2J", "never", policy.SourceDefault, "five fields"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			pod := map[string]string{dev + "on": "idle"}
			if tc.key == "" {
				tc.key = "idle-after"
			} else {
				pod[dev+tc.key] = tc.value
			}
			p := policy.Resolve(pod, "shop", "app", conf.Default())
			if got := p.Value(tc.key); !p.Has(policy.Idle) || got != tc.want {
				t.Fatalf("%s=%s of %+v, want %s", tc.key, got, p, tc.want)
			}
			if got := p.Origins[tc.key].Source; got != tc.source {
				t.Errorf("source=%s, want %s", got, tc.source)
			}
			if tc.reason == "" && len(p.Problems) > 0 || tc.reason != "" && (len(p.Problems) != 1 || !strings.Contains(p.Problems[0].Reason, tc.reason)) {
				t.Errorf("Problems=%v, want one about %q", p.Problems, tc.reason)
			}
			safe(t, p)
		})
	}
}

func TestSuspendingIsForTheAdministratorToAllow(t *testing.T) {
	cfg := conf.Default()
	cfg.Bounds.IdleAction, cfg.Defaults.IdleAction = "checkpoint", "checkpoint"
	p := policy.Resolve(map[string]string{dev + "on": "idle", dev + "idle-action": "suspend"}, "shop", "app", cfg)
	if p.Idle.Action != policy.CheckpointIdle || p.Origins["idle-action"].Source != policy.SourceBound {
		t.Errorf("%s from %s, want checkpoint from the bound", p.Idle.Action, p.Origins["idle-action"])
	}
	if len(p.Problems) != 1 || !strings.Contains(p.Problems[0].Reason, "bounds.idle_action") {
		t.Errorf("Problems=%v, want one about the bound", p.Problems)
	}
	p = policy.Resolve(map[string]string{dev + "on": "idle"}, "shop", "app", cfg)
	if p.Idle.Action != policy.CheckpointIdle || len(p.Problems) > 0 {
		t.Errorf("%s with %v, want the default checkpoint and no problem", p.Idle.Action, p.Problems)
	}
}

func TestScheduleNext(t *testing.T) {
	at := func(text string) time.Time {
		t.Helper()
		if text == "" {
			return time.Time{}
		}
		moment, err := time.Parse("2006-01-02 15:04:05", text)
		if err != nil {
			t.Fatal(err)
		}
		return moment
	}
	tests := map[string]struct{ schedule, asleep, woken, want string }{
		"never":                     {"", "2026-03-14 09:26:53", "", ""},
		"each morning":              {"0 6 * * *", "2026-03-14 09:26:53", "2026-03-14 06:00:00", "2026-03-15 06:00:00"},
		"soon after falling asleep": {"0 6 * * *", "2026-03-14 05:59:59", "", "2026-03-14 06:00:00"},
		"not at that very moment":   {"0 6 * * *", "2026-03-14 06:00:00", "", "2026-03-15 06:00:00"},
		"working days":              {"30 6 * * 1-5", "2026-03-13 09:00:00", "", "2026-03-16 06:30:00"},
		"as often as it may":        {"@every 1s", "2026-03-14 09:00:10", "2026-03-14 09:00:00", "2026-03-14 09:01:00"},
		"after a while asleep":      {"@every 1h", "2026-03-14 09:00:10", "", "2026-03-14 10:00:10"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			pod := map[string]string{dev + "on": "idle"}
			if tc.schedule != "" {
				pod[dev+"wake-at"] = tc.schedule
			}
			s := policy.Resolve(pod, "shop", "app", conf.Default()).Sleep.WakeAt
			// Where the node is does not matter.
			asleep := at(tc.asleep).In(time.FixedZone("there", 5*3600))
			if got := s.Next(asleep, at(tc.woken)); !got.Equal(at(tc.want)) {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}
