package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/rekindle-dev/rekindle/api"
)

// The values of --output.
const (
	outputTable = "table"
	outputJSON  = "json"
)

// checkpoint is one checkpoint as -o json shows it. Durations are nanoseconds.
type checkpoint struct {
	ID        string    `json:"id"`
	Namespace string    `json:"namespace"`
	Workload  string    `json:"workload"`
	Container string    `json:"container"`
	Pod       string    `json:"pod"`
	Trigger   string    `json:"trigger"`
	Created   time.Time `json:"created"`
	Bytes     int64     `json:"bytes"`
	// RealBytes is what it takes on the disk; what it shares with newer ones counts
	// for them. It is there in a list alone.
	RealBytes int64  `json:"realBytes,omitempty"`
	PauseNs   int64  `json:"pauseNs"`
	DumpNs    int64  `json:"dumpNs"`
	State     string `json:"state"`
	// Set is the same for all that were made in one pause, and must be restored
	// together.
	Set    string `json:"set,omitempty"`
	Pinned bool   `json:"pinned,omitempty"`
}

func fromAPI(list []*api.Checkpoint) []checkpoint {
	out := []checkpoint{}
	for _, c := range list {
		out = append(out, checkpoint{
			ID: c.Id, Namespace: c.Namespace, Workload: c.Workload, Container: c.Container, Pod: c.Pod,
			Trigger: c.Trigger, Created: moment(c.CreatedNs), Bytes: c.Bytes, RealBytes: c.RealBytes, PauseNs: c.PauseNs, DumpNs: c.DumpNs, State: c.State, Set: c.Set, Pinned: c.Pinned,
		})
	}
	return out
}

func moment(ns int64) time.Time { return time.Unix(0, ns).UTC() }

// writeJSON writes a value for programs.
func (a *app) writeJSON(value any) error {
	e := json.NewEncoder(a.stdout)
	e.SetIndent("", "  ")
	if err := e.Encode(value); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// table aligns columns for people.
type table struct{ w *tabwriter.Writer }

// newTable begins a table with its header, if it has one.
func newTable(w io.Writer, columns ...string) *table {
	t := &table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	if len(columns) > 0 {
		t.row(columns...)
	}
	return t
}

// row adds a line; what others wrote into it cannot move the cursor.
func (t *table) row(cells ...string) {
	for i, c := range cells {
		if c == "" {
			c = "-"
		}
		cells[i] = printable(c)
	}
	fmt.Fprintln(t.w, strings.Join(cells, "\t"))
}

func (t *table) flush() error {
	if err := t.w.Flush(); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// printable replaces what could harm a terminal or break a table. Line ends of
// joined errors become semicolons.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "; "))
}

func (a *app) writeCheckpoints(list []checkpoint) error {
	if a.output == outputJSON {
		return a.writeJSON(map[string]any{"checkpoints": list})
	}
	t := newTable(a.stdout, "ID", "NAMESPACE", "POD", "CONTAINER", "TRIGGER", "AGE", "SIZE", "REAL", "PAUSE", "STATE", "SET")
	for _, c := range list {
		if c.Pinned {
			c.State += ", pinned"
		}
		t.row(c.ID, c.Namespace, c.Pod, c.Container, c.Trigger, age(c.Created), size(c.Bytes), known(c.RealBytes), pause(c.PauseNs), c.State, c.Set)
	}
	return t.flush()
}

// known renders a size that is nothing where it was not measured.
func known(bytes int64) string {
	if bytes == 0 {
		return ""
	}
	return size(bytes)
}

// age tells how long ago something was, as kubectl does.
func age(t time.Time) string { return short(time.Since(t)) }

// short renders a duration with the precision that people want.
func short(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// size renders bytes in binary units.
func size(bytes int64) string {
	if bytes < 1024 {
		return fmt.Sprintf("%dB", bytes)
	}
	value, unit := float64(bytes), ""
	for _, unit = range []string{"KiB", "MiB", "GiB", "TiB"} {
		value /= 1024
		if value < 1024 {
			break
		}
	}
	if value < 10 {
		return fmt.Sprintf("%.1f%s", value, unit)
	}
	return fmt.Sprintf("%.0f%s", value, unit)
}

func pause(ns int64) string { return fmt.Sprintf("%dms", time.Duration(ns).Milliseconds()) }
