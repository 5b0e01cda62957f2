package agent

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/rekindle-dev/rekindle/criu"
	"github.com/rekindle-dev/rekindle/policy"
)

var (
	rings   = criu.Finding{Kind: "io_uring", Severity: criu.Blocker, What: "io_uring is in use", Remedy: "switch it off"}
	stopped = criu.Finding{Kind: "stopped", Severity: criu.Blocker, What: "a process is stopped"}
	volume  = criu.Finding{Kind: "volume", Severity: criu.Loss, What: "what is on volumes is lost"}
)

func TestFailureNamesBlockers(t *testing.T) {
	failed := errors.New("dump: exit status 1")
	tests := map[string]struct {
		findings []criu.Finding
		want     string
	}{
		"Nothing": {nil, "dump: exit status 1"},
		"Loss":    {[]criu.Finding{volume}, "dump: exit status 1"},
		"Blocker": {[]criu.Finding{rings, volume}, "dump: exit status 1; the preflight found: io_uring is in use (switch it off)"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			err := foreseen(failed, tc.findings)
			if err.Error() != tc.want || !errors.Is(err, failed) {
				t.Errorf("%q, want %q", err, tc.want)
			}
		})
	}
}

func TestForbidden(t *testing.T) {
	w := newWorld(t)
	c := w.container("web", "s1", nil)
	c.pid = 1
	// A forecast does not keep a dump from being tried.
	if err := forbidden([]criu.Finding{rings, volume}); err != nil {
		t.Errorf("forbidden by what CRIU refuses: %v", err)
	}
	err := forbidden([]criu.Finding{rings, stopped})
	if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), stopped.What) {
		t.Fatalf("forbidden: %v", err)
	}
	if d := failure(t.Context(), []*tracked{c}, policy.Interval, err); d.Outcome != Refused || d.Class != ClassUnsupported {
		t.Errorf("decision: %+v", d)
	}
}

// A container whose preflight had no answer is looked at again when that one has ended.
func TestLatePreflight(t *testing.T) {
	w := newWorld(t)
	c := w.container("web", "s1", nil)
	c.pid = os.Getpid()
	ended := make(chan struct{})
	c.late.Store(&criu.Late{Ended: ended})
	if _, err := w.agent.look(t.Context(), c); !errors.Is(err, errNotLookedAt) {
		t.Errorf("while it goes on: %v", err)
	}
	close(ended)
	if _, err := w.agent.look(t.Context(), c); errors.Is(err, errNotLookedAt) {
		t.Errorf("when it has ended: %v", err)
	}
}

func TestBlockersAreToldOnce(t *testing.T) {
	w := newWorld(t)
	c := w.container("web", "s1", nil)
	var before *preflight
	for i, tc := range []struct {
		findings []criu.Finding
		told     int
	}{
		{[]criu.Finding{volume}, 0},
		{[]criu.Finding{rings, volume}, 1},
		{[]criu.Finding{rings}, 1},
		{[]criu.Finding{rings, stopped}, 2},
		{nil, 2},
		{[]criu.Finding{rings}, 3},
	} {
		now := &preflight{findings: tc.findings}
		w.agent.tell(c, before, now)
		before = now
		if got := len(w.agent.history.of(nameOf(c.Facts))); got != tc.told {
			t.Errorf("step %d: %d decisions, want %d", i, got, tc.told)
		}
	}
}
