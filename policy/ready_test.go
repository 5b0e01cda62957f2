package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/conf"
	"github.com/rekindle-dev/rekindle/policy"
)

func TestResolveReady(t *testing.T) {
	never := policy.Condition{}
	tests := map[string]struct {
		value  string
		want   policy.Condition
		shown  string
		reason string // of the one problem; empty means none
	}{
		"After":         {"after=10s", policy.Condition{Kind: policy.After, After: 10 * time.Second}, "after=10s", ""},
		"AfterSpaces":   {" after=1m30s ", policy.Condition{Kind: policy.After, After: 90 * time.Second}, "after=1m30s", ""},
		"AfterTooLong":  {"after=2h", policy.Condition{Kind: policy.After, After: time.Hour}, "after=1h", "ready_max"},
		"AfterNoUnit":   {"after=10", never, "never", "number and a unit"},
		"AfterNothing":  {"after=", never, "never", "number and a unit"},
		"AfterBare":     {"after", never, "never", "is not one of"},
		"Log":           {"log=Started in", policy.Condition{Kind: policy.Line, Text: "Started in"}, `log="Started in"`, ""},
		"LogWithEquals": {"log=state=up", policy.Condition{Kind: policy.Line, Text: "state=up"}, `log="state=up"`, ""},
		"LogEmpty":      {"log=", never, "never", "no text"},
		"LogLong":       {"log=" + strings.Repeat("x", 129), never, "never", "128 bytes"},
		"LogLines":      {"log=a\nb", never, "never", "line of a log"},
		"LogControl":    {"log=\x1b[2J", never, "never", "line of a log"},
		"LogBytes":      {"log=\xff", never, "never", "line of a log"},
		"Port":          {"port=8080", policy.Condition{Kind: policy.Port, Port: 8080}, "port=8080", ""},
		"PortLast":      {"port=65535", policy.Condition{Kind: policy.Port, Port: 65535}, "port=65535", ""},
		"PortZero":      {"port=0", never, "never", "1 to 65535"},
		"PortLarge":     {"port=65536", never, "never", "1 to 65535"},
		"PortName":      {"port=http", never, "never", "1 to 65535"},
		"PortAddress":   {"port=10.0.0.1:80", never, "never", "1 to 65535"},
		"File":          {"file", policy.Condition{Kind: policy.File}, "file", ""},
		"FileWithPath":  {"file=/etc/shadow", never, "never", "is not one of"},
		"Empty":         {"", never, "never", "is not one of"},
		"UnknownKind":   {"exec=/bin/true", never, "never", "is not one of"},
		"KindOtherCase": {"Port=80", never, "never", "is not one of"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			p := policy.Resolve(map[string]string{dev + "on": "ready", dev + "ready": tc.value}, "shop", "app", conf.Default())
			if !p.Has(policy.Ready) || p.Ready != tc.want || p.Value(policy.KeyReady) != tc.shown {
				t.Errorf("Ready=%+v shown as %s, want %+v as %s", p.Ready, p.Value(policy.KeyReady), tc.want, tc.shown)
			}
			if tc.reason == "" && len(p.Problems) > 0 {
				t.Errorf("Problems=%v, want none", p.Problems)
			}
			if tc.reason != "" && (len(p.Problems) != 1 || !strings.Contains(p.Problems[0].Reason, tc.reason)) {
				t.Errorf("Problems=%v, want one about %q", p.Problems, tc.reason)
			}
			safe(t, p)
		})
	}
}

// Who says nothing gets a moment; who says it for one container gets that one.
func TestResolveReadyFallsBack(t *testing.T) {
	p := policy.Resolve(map[string]string{dev + "on": "ready"}, "shop", "app", conf.Default())
	if want := (policy.Condition{Kind: policy.After, After: 30 * time.Second}); p.Ready != want {
		t.Errorf("without a value Ready=%+v, want %+v", p.Ready, want)
	}
	p = policy.Resolve(map[string]string{dev + "on": "ready", dev + "ready": "port=1", "app.rekindle.dev/ready": "prot=2"}, "shop", "app", conf.Default())
	if want := (policy.Condition{Kind: policy.Port, Port: 1}); p.Ready != want || len(p.Problems) != 1 {
		t.Errorf("with a bad override Ready=%+v and %v, want %+v and one problem", p.Ready, p.Problems, want)
	}
}
