package agent

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/policy"
	"github.com/rekindle-dev/rekindle/store"
)

// What explain foresees is what a create then does, in the same pod and in a
// successor.
func TestForeseen(t *testing.T) {
	tests := map[string]struct {
		mode policy.RestoreMode
		// made are the triggers of the checkpoints of the container, oldest first.
		made []policy.Trigger
		exit api.Exit
		// restart and successor are the numbers in made of the checkpoints used,
		// or else reasons.
		restart, successor any
	}{
		"nothing made":       {policy.RestoreAuto, nil, api.Exit{Status: 1}, "no checkpoint yet", "no checkpoint yet"},
		"the newest":         {policy.RestoreAuto, []policy.Trigger{policy.Interval, policy.Request}, api.Exit{Status: 1}, 1, 1},
		"a stop checkpoint":  {policy.RestoreAuto, []policy.Trigger{policy.Interval, policy.Stop}, api.Exit{Status: 1}, 0, 1},
		"only a stop's":      {policy.RestoreAuto, []policy.Trigger{policy.Stop}, api.Exit{Status: 1}, "none of the checkpoints", 0},
		"never":              {policy.RestoreNever, []policy.Trigger{policy.Request}, api.Exit{Status: 1}, "switched off", "switched off"},
		"in the same pod":    {policy.RestoreFault, []policy.Trigger{policy.Request}, api.Exit{Status: 1}, 0, "this is a new pod"},
		"in successors only": {policy.RestoreSuccessor, []policy.Trigger{policy.Request}, api.Exit{Status: 1}, "this is the same pod", 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for what, want := range map[string]any{"restart": tt.restart, "successor": tt.successor} {
				w := newWorld(t)
				old := w.container("p", "s1", nil)
				old.policy.Restore = tt.mode
				w.starts(old)
				var made []store.Checkpoint
				for _, trigger := range tt.made {
					made = append(made, w.checkpointBy(old, trigger))
				}
				var r api.ContainerReport
				w.agent.foreseen(context.Background(), old, &r)
				said := map[string]*api.Prospect{"restart": r.Restart, "successor": r.Successor}[what]

				tt.exit.At = time.Now()
				next := "s1"
				if what == "restart" {
					w.ends(old, tt.exit)
				} else {
					w.gone(old, api.Exit{Status: 143, Asked: true, At: time.Now()})
					next = "s2"
				}
				now := w.container("p", next, nil)
				now.policy.Restore = tt.mode
				w.starts(now)
				if now.RestoredFrom != said.Checkpoint || (said.Checkpoint == "") == (said.Reason == "") {
					t.Errorf("%s: said %v, and was restored from %q", what, said, now.RestoredFrom)
				}
				if i, ok := want.(int); ok {
					w.wants(now, made[i])
				} else if !strings.Contains(said.Reason, want.(string)) {
					t.Errorf("%s: said %q, want %q", what, said.Reason, want)
				}
			}
		})
	}
}

// Every checkpoint that is not used has a reason, and one that is in the way of
// another is named.
func TestForeseenReasons(t *testing.T) {
	w := newWorld(t)
	c := w.container("p", "s1", nil)
	w.starts(c)
	oldest, newer, stop := w.checkpoint(c), w.checkpoint(c), w.checkpointBy(c, policy.Stop)
	var r api.ContainerReport
	w.agent.foreseen(context.Background(), c, &r)
	got := map[string]string{}
	for _, x := range r.Candidates {
		got[x.Checkpoint] = fmt.Sprint(x.Usable, " ", x.Reason, " / ", x.SuccessorUsable, " ", x.SuccessorReason)
	}
	want := map[string]string{
		stop.ID:   "false it was made while the container was being stopped, and is for a successor pod only / true ",
		newer.ID:  "true  / true checkpoint " + stop.ID + " comes before it",
		oldest.ID: "true checkpoint " + newer.ID + " comes before it / true checkpoint " + stop.ID + " comes before it",
	}
	for id, text := range want {
		if got[id] != text {
			t.Errorf("%s: %q, want %q", id, got[id], text)
		}
	}
}

// A replica's successor gets none that another replica has claimed.
func TestForeseenAmongReplicas(t *testing.T) {
	w := newWorld(t)
	hash := map[string]string{"pod-template-hash": "66d5c8c44b"}
	one := w.container("web-66d5c8c44b-aaaaa", "s1", hash)
	w.starts(one)
	its := w.checkpoint(one)
	other := w.container("web-66d5c8c44b-bbbbb", "s2", hash)
	w.starts(other)
	theirs := w.checkpoint(other)
	var r api.ContainerReport
	w.agent.foreseen(context.Background(), one, &r)
	if r.Restart.Checkpoint != its.ID || r.Successor.Checkpoint != its.ID {
		t.Errorf("restart %v, successor %v, want %s for both and not %s", r.Restart, r.Successor, its.ID, theirs.ID)
	}
}

// The last decision about a trigger is not lost among those about another.
func TestLastOfEachTrigger(t *testing.T) {
	w := newWorld(t)
	c := w.container("p", "s1", nil)
	c.policy.On = []policy.Trigger{policy.Interval, policy.Stop, policy.Request}
	w.agent.decide(c.Facts, Decision{Action: ActionCheckpoint, Outcome: Taken, Trigger: policy.Request, Reason: "asked for"})
	for i := range 3 * decisionsKept {
		w.agent.decide(c.Facts, Decision{Action: ActionCheckpoint, Outcome: Failed, Trigger: policy.Interval, Reason: fmt.Sprint("failure ", i)})
	}
	var got []string
	for _, r := range w.agent.triggers(c) {
		got = append(got, fmt.Sprint(r.Trigger, " ", r.GetLast().GetOutcome(), " ", r.GetLast().GetReason()))
	}
	want := []string{"interval failed failure 59", "stop  ", "request taken asked for"}
	if strings.Join(got, "; ") != strings.Join(want, "; ") {
		t.Fatalf("got %q, want %q", got, want)
	}
}
