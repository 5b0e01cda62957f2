package agent

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
