package agent

import (
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/store"
)

func TestPreferOlder(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	made := func(id string, before time.Duration) store.Checkpoint {
		return store.Checkpoint{Manifest: store.Manifest{ID: id, Created: at.Add(-before)}}
	}
	list := []store.Checkpoint{made("c", 5*time.Second), made("b", 20*time.Second), made("a", 40*time.Second)}
	tests := map[string]struct {
		exit *api.Exit
		want string
	}{
		"crash: the newest first":                        {&api.Exit{Status: 137, At: at}, "cba"},
		"nobody knows: the newest first":                 {nil, "cba"},
		"liveness kill: first what is older than 30 s":   {&api.Exit{Status: 137, At: at, Asked: true}, "acb"},
		"liveness kill before all of them: newest first": {&api.Exit{Status: 137, At: at.Add(-time.Minute), Asked: true}, "cba"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var got string
			for _, c := range preferOlder(list, tt.exit, 30*time.Second) {
				got += c.ID
			}
			if got != tt.want {
				t.Errorf("order %s, want %s", got, tt.want)
			}
		})
	}
}

func TestCauseOf(t *testing.T) {
	w := newWorld(t)
	tests := map[string]struct {
		exit *api.Exit
		want string
	}{
		"code":     {&api.Exit{Status: 3}, "after exit code 3"},
		"signal":   {&api.Exit{Status: 139}, "after signal 11"},
		"memory":   {&api.Exit{Status: 137, OOM: true}, "after an out-of-memory kill"},
		"liveness": {&api.Exit{Status: 137, Asked: true}, "after a stop within the pod, as by a failed liveness probe"},
		"unknown":  {nil, "after an end that nobody saw"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := w.container("pod-"+name, "s", nil)
			if tt.exit != nil {
				w.ends(c, *tt.exit)
			}
			if got := causeOf(c); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	if got := causeOf(nil); got != "in a new pod" {
		t.Errorf("new pod: got %q", got)
	}
}
