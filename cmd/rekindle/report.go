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
	Triggers    []trigger   `json:"triggers,omitempty"`
	Suspension  *suspension `json:"suspension,omitempty"`
	Decisions   []decision  `json:"decisions"`
	Restart     *prospect   `json:"restart,omitempty"`
	Successor   *prospect   `json:"successor,omitempty"`
	Candidates  []candidate `json:"candidates"`
	// Findings are those of the preflight at that time; there is none before the
	// first dump.
	Findings  []forecast `json:"findings,omitempty"`
	Preflight *time.Time `json:"preflight,omitempty"`
	// Idle is of a container with the idle trigger that is awake, and Wake is when
	// one that sleeps is woken by its schedule.
	Idle *idleness  `json:"idle,omitempty"`
	Wake *time.Time `json:"wake,omitempty"`
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
	Trigger    string    `json:"trigger,omitempty"`
	Checkpoint string    `json:"checkpoint,omitempty"`
}

// candidate is a checkpoint that a create would look at: usable and reason are
// about a restart in this pod.
type candidate struct {
	Checkpoint      string `json:"checkpoint"`
	Usable          bool   `json:"usable"`
	Reason          string `json:"reason,omitempty"`
	SuccessorUsable bool   `json:"successorUsable"`
	SuccessorReason string `json:"successorReason,omitempty"`
}

// prospect is what a create would do now.
type prospect struct {
	// Checkpoint is restored; when there is none, Reason says why.
	Checkpoint string `json:"checkpoint,omitempty"`
	Reason     string `json:"reason,omitempty"`
}

// trigger is one of the policy's, with its last decision if there is one.
type trigger struct {
	Trigger string    `json:"trigger"`
	Last    *decision `json:"last"`
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
			r.Decisions = append(r.Decisions, fromDecision(d))
		}
		for _, x := range c.Candidates {
			r.Candidates = append(r.Candidates, candidate{x.Checkpoint, x.Usable, x.Reason, x.SuccessorUsable, x.SuccessorReason})
		}
		for _, t := range c.Triggers {
			of := trigger{Trigger: t.Trigger}
			if t.Last != nil {
				last := fromDecision(t.Last)
				of.Last = &last
			}
			r.Triggers = append(r.Triggers, of)
		}
		r.Suspension = fromSuspension(c.Suspension)
		r.Idle = fromIdle(c.Idle)
		if c.WakeNs != 0 {
			wake := moment(c.WakeNs)
			r.Wake = &wake
		}
		r.Restart, r.Successor = fromProspect(c.Restart), fromProspect(c.Successor)
		out = append(out, r)
	}
	return out
}

func fromDecision(d *api.Decision) decision {
	return decision{moment(d.TimeNs), d.Action, d.Outcome, d.Reason, d.Trigger, d.Checkpoint}
}

func fromProspect(p *api.Prospect) *prospect {
	if p == nil {
		return nil
	}
	return &prospect{p.Checkpoint, p.Reason}
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
	if r.Suspension != nil {
		fmt.Fprintln(a.stdout, r.Suspension)
	}
	if r.Idle != nil {
		fmt.Fprintln(a.stdout, printable(r.Idle.Why))
	}
	if r.Wake != nil {
		fmt.Fprintf(a.stdout, "woken in %s by rekindle.dev/wake-at\n", short(time.Until(*r.Wake)))
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
	triggers := newTable(a.stdout, indent+"TRIGGER", "AGE", "LAST", "CHECKPOINT", "REASON")
	for _, t := range r.Triggers {
		if t.Last == nil {
			triggers.row(indent+t.Trigger, "", "", "", "nothing was decided yet")
			continue
		}
		triggers.row(indent+t.Trigger, age(t.Last.Time), t.Last.Outcome, t.Last.Checkpoint, t.Last.Reason)
	}
	candidates := newTable(a.stdout, indent+"CHECKPOINT", "FOR", "USABLE", "REASON")
	for _, x := range r.Candidates {
		candidates.row(indent+x.Checkpoint, "restart", usable(x.Usable, x.Reason), x.Reason)
		candidates.row(indent+x.Checkpoint, "successor", usable(x.SuccessorUsable, x.SuccessorReason), x.SuccessorReason)
	}
	decisions := newTable(a.stdout, indent+"AGE", "DECISION", "OUTCOME", "CHECKPOINT", "REASON")
	for _, d := range r.Decisions {
		decisions.row(indent+age(d.Time), d.Action, d.Outcome, d.Checkpoint, d.Reason)
	}
	looked := "preflight"
	if r.Preflight != nil {
		looked += " " + age(*r.Preflight) + " ago"
	}
	a.writeProspect("a restart in this pod", r.Restart)
	a.writeProspect("a successor pod", r.Successor)
	return flushAll(a, []section{
		{"settings", settings, len(r.Settings)},
		{"problems with the annotations", problems, len(r.Problems)},
		{"what in the manifest matters", notes, len(r.Notes)},
		{"signals of idleness", a.signalsTable(r.Idle), len(r.Idle.signals())},
		{looked, a.findingsTable(r.Findings), len(r.Findings)},
		{"triggers, with the last decision of each", triggers, len(r.Triggers)},
		{"checkpoints", candidates, len(r.Candidates)},
		{"decisions, the newest first", decisions, len(r.Decisions)},
	})
}

// usable says whether a checkpoint is used, would be if there were no better
// one, or cannot be.
func usable(usable bool, reason string) string {
	switch {
	case usable && reason == "":
		return "used"
	case usable:
		return "yes"
	}
	return "no"
}

func (a *app) writeProspect(what string, p *prospect) {
	switch {
	case p == nil:
	case p.Checkpoint != "":
		fmt.Fprintf(a.stdout, "%s would be restored from %s\n", what, printable(p.Checkpoint))
	default:
		fmt.Fprintf(a.stdout, "%s would start cold: %s\n", what, printable(p.Reason))
	}
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
