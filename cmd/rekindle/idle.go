package main

import (
	"time"

	"github.com/rekindle-dev/rekindle/api"
)

// idleness says whether a container is idle, and why or why not.
type idleness struct {
	// State is active, quiet, idle or unknown.
	State string `json:"state"`
	Why   string `json:"why"`
	// Quiet is since when it is quiet in every respect, and Due is when it is long
	// enough, if it stays so.
	Quiet   *time.Time   `json:"quiet,omitempty"`
	Due     *time.Time   `json:"due,omitempty"`
	Signals []idleSignal `json:"signals"`
}

type idleSignal struct {
	Name      string    `json:"name"`
	Value     string    `json:"value"`
	Threshold string    `json:"threshold"`
	Quiet     bool      `json:"quiet"`
	Since     time.Time `json:"since"`
}

func fromIdle(r *api.IdleReport) *idleness {
	if r == nil {
		return nil
	}
	i := &idleness{State: r.State, Why: r.Why, Signals: []idleSignal{}}
	if r.QuietNs != 0 {
		quiet := moment(r.QuietNs)
		i.Quiet = &quiet
	}
	if r.DueNs != 0 {
		due := moment(r.DueNs)
		i.Due = &due
	}
	for _, s := range r.Signals {
		i.Signals = append(i.Signals, idleSignal{s.Name, s.Value, s.Threshold, s.Quiet, moment(s.SinceNs)})
	}
	return i
}

// signals returns those of a report that may be missing.
func (i *idleness) signals() []idleSignal {
	if i == nil {
		return nil
	}
	return i.Signals
}

func (a *app) signalsTable(i *idleness) *table {
	t := newTable(a.stdout, indent+"SIGNAL", "IS", "FOR", "VALUE", "QUIET IS")
	for _, s := range i.signals() {
		state := "active"
		if s.Quiet {
			state = "quiet"
		}
		t.row(indent+s.Name, state, age(s.Since), s.Value, s.Threshold)
	}
	return t
}
