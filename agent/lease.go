package agent

import (
	"github.com/containerd/log"

	"github.com/rekindle-dev/rekindle/api"
)

// hold keeps a checkpoint from being removed while a ticket for it is out.
func (a *Agent) hold(t *tracked, id string) error {
	t.RestoredFrom = id
	// The store may ask about containers, so it is called without their lock.
	lease, err := a.store.Hold(id)
	if err != nil {
		return err
	}
	t.mu.Lock()
	if t.lease == nil {
		t.lease, lease = lease, nil
	}
	t.mu.Unlock()
	if lease != nil {
		lease() // it is held already
	}
	return nil
}

// release gives a ticket's hold on its checkpoint up.
func (a *Agent) release(t *tracked) {
	t.mu.Lock()
	lease := t.lease
	t.lease = nil
	t.mu.Unlock()
	if lease != nil {
		lease()
	}
}

// closeStale accounts for the tickets of the containers whose place a new one
// takes, where nobody has told what became of them: their shims have died.
func (a *Agent) closeStale(t *tracked) {
	a.mu.Lock()
	var stale []*tracked
	for _, other := range a.containers {
		if other.ID != t.ID && other.lineage == t.lineage && other.Pod == t.Pod && other.Created.Before(t.Created) {
			stale = append(stale, other)
		}
	}
	a.mu.Unlock()
	for _, other := range stale {
		if other.running() != 0 || other.dir.Read(&api.Ticket{}) != nil {
			continue
		}
		a.closeTicket(other)
		if err := other.dir.Discard(&api.Ticket{}); err != nil {
			log.G(a.ctx).WithError(err).WithField("container", other.ID).Warn("close the ticket")
		}
	}
}
