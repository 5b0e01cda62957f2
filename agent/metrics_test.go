package agent

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/rekindle-dev/rekindle/policy"
	"github.com/rekindle-dev/rekindle/store"
)

// observed keeps what an observer is told.
type observed struct{ decisions []Decision }

func (o *observed) Decided(_ Facts, d Decision) { o.decisions = append(o.decisions, d) }

func TestClassOf(t *testing.T) {
	tests := map[string]struct {
		err  error
		want Class
	}{
		"busy":         {fmt.Errorf("checkpoint: %w", &skip{class: ClassBusy}), ClassBusy},
		"no shim":      {fmt.Errorf("%w (%w)", ErrNoShim, os.ErrNotExist), ClassHandler},
		"full disk":    {&store.Error{Op: "begin", Err: store.ErrNoSpace}, ClassSpace},
		"store":        {&store.Error{Op: "commit", Err: os.ErrPermission}, ClassStore},
		"CRIU":         {fmt.Errorf("%w: %w", errDump, os.ErrInvalid), ClassDump},
		"in vain":      {fmt.Errorf("%w: %w", errDump, context.DeadlineExceeded), ClassTimeout},
		"none of them": {os.ErrInvalid, ClassOther},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := classOf(tt.err); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// I7: whatever ends up in a decision, the labels stay within closed sets.
func TestLabelsAreBounded(t *testing.T) {
	w := newWorld(t)
	o := &observed{}
	w.agent.Observe(o)
	for i := range 100 {
		text := fmt.Sprint("tenant-", i)
		w.agent.decide(Facts{Namespace: text, Pod: text, Name: text}, Decision{
			Action: ActionCheckpoint, Outcome: Failed, Trigger: policy.Trigger(text), Class: Class(text), Reason: text,
		})
	}
	if got := testutil.CollectAndCount(w.agent.metrics.decisions); got != 1 {
		t.Errorf("%d series, want 1", got)
	}
	if len(o.decisions) != 100 || o.decisions[0].Class != ClassOther || o.decisions[0].Time.IsZero() {
		t.Errorf("the observer was told of %d decisions, the first %+v", len(o.decisions), o.decisions[0])
	}
}

func TestGauges(t *testing.T) {
	w := newWorld(t)
	one := w.container("one", "s1", nil)
	w.starts(one)
	one.settled.Store(true)
	two := w.container("two", "s2", nil)
	w.starts(two)
	w.container("ended", "s3", nil)
	w.checkpoint(one)
	bad := w.checkpoint(two)
	w.checkpoint(two)
	w.agent.quarantine(two.Facts, bad.ID, "test", ClassDamaged)

	got := map[string]float64{}
	families, err := w.agent.metrics.registry.(*prometheus.Registry).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if g := f.GetMetric()[0].GetGauge(); g != nil {
			got[f.GetName()] = g.GetValue()
		}
	}
	want := map[string]float64{
		"rekindle_checkpoints": 2, "rekindle_checkpoints_quarantined": 1,
		"rekindle_containers_managed": 2, "rekindle_containers_unsettled": 1,
	}
	for name, n := range want {
		if got[name] != n {
			t.Errorf("%s is %v, want %v", name, got[name], n)
		}
	}
}
