package agent

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rekindle-dev/rekindle/policy"
)

// patience bounds how long a trigger waits for other dumps, unless it is urgent.
const patience = 30 * time.Second

// turns lets a bounded number in at a time. Whoever waits urgently goes before
// all who wait patiently; among equals the first comes first.
type turns struct {
	mu              sync.Mutex
	free            int
	urgent, patient []chan struct{}
}

func newTurns(n int) *turns { return &turns{free: n} }

// take waits for a turn, which must be given back. After an error there is none.
func (q *turns) take(ctx context.Context, urgent bool) error {
	q.mu.Lock()
	if q.free > 0 { // then nobody waits
		q.free--
		q.mu.Unlock()
		return nil
	}
	line := &q.patient
	if urgent {
		line = &q.urgent
	}
	called := make(chan struct{})
	*line = append(*line, called)
	q.mu.Unlock()
	select {
	case <-called:
		return nil
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if i := slices.Index(*line, called); i >= 0 {
		*line = slices.Delete(*line, i, i+1)
	} else {
		q.next() // called in the very moment
	}
	return context.Cause(ctx)
}

// give returns a turn.
func (q *turns) give() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.next()
}

// next passes a turn on.
func (q *turns) next() {
	for _, line := range []*[]chan struct{}{&q.urgent, &q.patient} {
		if len(*line) > 0 {
			close((*line)[0])
			*line = (*line)[1:]
			return
		}
	}
	q.free++
}

// skip is why a trigger makes no checkpoint, although nothing has failed.
type skip struct {
	class  Class
	reason string
	// wait is when to try again, if not at the usual time.
	wait time.Duration
}

func (s *skip) Error() string { return s.reason }

// turn waits until a container may be dumped: few at a time on the node, and
// one at a time of a pod. The node's turn comes first, so that whoever has the
// pod's needs no more. A stop is urgent, and so is want of memory: for them there
// is no later.
func (a *Agent) turn(ctx context.Context, t *tracked, trigger policy.Trigger) (release func(), err error) {
	urgent := trigger == policy.Stop || trigger == policy.Pressure
	asked := time.Now()
	if trigger != policy.Stop { // which brings a limit of its own
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	if err := a.dumps.take(ctx, urgent); err != nil {
		return nil, &skip{class: ClassBusy, reason: fmt.Sprintf("other dumps on this node (limits.concurrent_dumps) did not end within %s", since(asked))}
	}
	if err := t.pod.take(ctx, urgent); err != nil {
		a.dumps.give()
		return nil, &skip{class: ClassBusy, reason: fmt.Sprintf("another dump of this pod did not end within %s", since(asked))}
	}
	release = func() {
		t.pod.give()
		a.dumps.give()
	}
	if s := t.superseded(trigger, asked); s != nil {
		release()
		return nil, s
	}
	return release, nil
}

func since(begin time.Time) time.Duration { return time.Since(begin).Round(100 * time.Millisecond) }

// superseded says why a trigger that has waited for its turn needs it no more.
func (t *tracked) superseded(trigger policy.Trigger, asked time.Time) *skip {
	switch {
	case trigger == policy.Stop:
		return nil
	case t.running() == 0:
		return &skip{class: ClassEnded, reason: "the container ended meanwhile"}
	case trigger == policy.Interval && t.stopping():
		return &skip{class: ClassEnded, reason: "the container is being stopped"}
	case trigger == policy.Interval && t.lastMade().After(asked):
		return &skip{class: ClassUnchanged, reason: "another trigger has just made a checkpoint"}
	}
	return nil
}
