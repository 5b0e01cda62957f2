package main

import (
	"fmt"
	"time"

	"github.com/rekindle-dev/rekindle/api"
)

// report is what -o json shows of one container.
type report struct {
	Name        string      `json:"name"`
	ContainerID string      `json:"containerId,omitempty"`
	Managed     bool        `json:"managed"`
	Why         string      `json:"why"`
	Next        *time.Time  `json:"next,omitempty"`
	NextWhy     string      `json:"nextWhy,omitempty"`
	Settings    []setting   `json:"settings"`
	Problems    []problem   `json:"problems"`
	Decisions   []decision  `json:"decisions"`
	Candidates  []candidate `json:"candidates"`
	// Findings are those of the preflight at that time; there is none before the
	// first dump.
	Findings  []forecast `json:"findings,omitempty"`
	Preflight *time.Time `json:"preflight,omitempty"`
	// Object and Notes are those of --dry-run.
	Object string `json:"object,omitempty"`
	Notes  []note `json:"notes,omitempty"`
}

type setting struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Origin string `json:"origin"`
}

type problem struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Reason string `json:"reason"`
}

type decision struct {
	Time       time.Time `json:"time"`
	Action     string    `json:"action"`
	Outcome    string    `json:"outcome"`
	Reason     string    `json:"reason"`
	Checkpoint string    `json:"checkpoint,omitempty"`
}

type candidate struct {
	Checkpoint string `json:"checkpoint"`
	Usable     bool   `json:"usable"`
	Reason     string `json:"reason,omitempty"`
}

// note is something in a manifest that matters to checkpoints.
type note struct {
	Field    string `json:"field"`
	Text     string `json:"text"`
	Prevents bool   `json:"prevents"`
}

func reports(containers []*api.ContainerReport) []report {
	out := []report{}
	for _, c := range containers {
		r := report{
			Name: c.Name, ContainerID: c.ContainerId, Managed: c.Managed, Why: c.Why,
			Settings: []setting{}, Problems: []problem{}, Decisions: []decision{}, Candidates: []candidate{},
			Findings: findings(c.Findings),
		}
		if c.PreflightNs != 0 {
			at := moment(c.PreflightNs)
			r.Preflight = &at
		}
		if c.NextNs != 0 {
			next := moment(c.NextNs)
			r.Next, r.NextWhy = &next, c.NextWhy
		}
		for _, s := range c.Settings {
			r.Settings = append(r.Settings, setting{s.Key, s.Value, s.Origin})
		}
		for _, p := range c.Problems {
			r.Problems = append(r.Problems, problem{p.Key, p.Value, p.Reason})
		}
		for _, d := range c.Decisions {
			r.Decisions = append(r.Decisions, decision{moment(d.TimeNs), d.Action, d.Outcome, d.Reason, d.Checkpoint})
		}
		for _, x := range c.Candidates {
			r.Candidates = append(r.Candidates, candidate{x.Checkpoint, x.Usable, x.Reason})
		}
		out = append(out, r)
	}
	return out
}

const indent = "  "

// writeReport writes a report for people.
func (a *app) writeReport(r report) error {
	managed := "not managed"
	if r.Managed {
		managed = "managed"
	}
	fmt.Fprintf(a.stdout, "%s: %s: %s\n", printable(r.Name), managed, printable(r.Why))
	if r.ContainerID != "" {
		fmt.Fprintf(a.stdout, "container %.12s\n", printable(r.ContainerID))
	}
	if r.Next != nil {
		fmt.Fprintf(a.stdout, "next checkpoint in %s: %s\n", short(time.Until(*r.Next)), printable(r.NextWhy))
	}
	settings := newTable(a.stdout, indent+"SETTING", "VALUE", "FROM")
	for _, s := range r.Settings {
		settings.row(indent+s.Key, s.Value, s.Origin)
	}
	problems := newTable(a.stdout, indent+"ANNOTATION", "VALUE", "PROBLEM")
	for _, p := range r.Problems {
		problems.row(indent+p.Key, p.Value, p.Reason)
	}
	notes := newTable(a.stdout, indent+"FIELD", "EFFECT", "REASON")
	for _, n := range r.Notes {
		effect := "worth knowing"
		if n.Prevents {
			effect = "no checkpoints"
		}
		notes.row(indent+n.Field, effect, n.Text)
	}
	candidates := newTable(a.stdout, indent+"CHECKPOINT", "USABLE", "REASON")
	for _, x := range r.Candidates {
		usable := "no"
		if x.Usable {
			usable = "yes"
		}
		candidates.row(indent+x.Checkpoint, usable, x.Reason)
	}
	decisions := newTable(a.stdout, indent+"AGE", "DECISION", "OUTCOME", "CHECKPOINT", "REASON")
	for _, d := range r.Decisions {
		decisions.row(indent+age(d.Time), d.Action, d.Outcome, d.Checkpoint, d.Reason)
	}
	looked := "preflight"
	if r.Preflight != nil {
		looked += " " + age(*r.Preflight) + " ago"
	}
	return flushAll(a, []section{
		{"settings", settings, len(r.Settings)},
		{"problems with the annotations", problems, len(r.Problems)},
		{"what in the manifest matters", notes, len(r.Notes)},
		{looked, a.findingsTable(r.Findings), len(r.Findings)},
		{"checkpoints", candidates, len(r.Candidates)},
		{"decisions, the newest first", decisions, len(r.Decisions)},
	})
}

type section struct {
	title string
	table *table
	rows  int
}

// flushAll writes the sections that have rows.
func flushAll(a *app, sections []section) error {
	for _, s := range sections {
		if s.rows == 0 {
			continue
		}
		fmt.Fprintf(a.stdout, "%s\n", s.title)
		if err := s.table.flush(); err != nil {
			return err
		}
	}
	return nil
}
