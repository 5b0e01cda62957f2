package criu

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rekindle-dev/rekindle/sockdiag"
)

// Severity says what a finding means for the checkpoints of a container.
type Severity string

// Severities, the worst first.
const (
	// Blocker: there will be no checkpoint, or none that can be restored.
	Blocker Severity = "blocker"
	// Loss: it is not in a checkpoint, or does not outlive a restore.
	Loss Severity = "loss"
	// Note: it works, under a condition.
	Note Severity = "note"
)

// Finding is something about a container that whoever wants to checkpoint it
// should know. What and Remedy are printable and bounded, whatever the
// container calls its processes and files.
type Finding struct {
	// Kind is one of Kinds.
	Kind     string
	Severity Severity
	// What was found, and where.
	What string
	// Remedy says what to do about it; empty when there is nothing to do.
	Remedy string
}

// String returns what a line of a log says of the finding.
func (f Finding) String() string {
	if f.Remedy == "" {
		return f.What
	}
	return f.What + " (" + f.Remedy + ")"
}

// Waits tells whether CRIU, rather than refuse such a container, waits for it to
// change, with all its processes frozen, until its time is over. A dump had
// better not be tried.
func (f Finding) Waits() bool { return f.Kind == kindStopped || f.Kind == kindTraced }

// Subject is a container that a preflight looks at.
type Subject struct {
	// Init is the container's first process, and Processes are all of them, by
	// their ids as Proc shows them.
	Init      int
	Processes []int
	// GhostLimit is that of the container's Options, in bytes.
	GhostLimit int64
	// Proc is where a proc file system is mounted; empty for /proc.
	Proc string
}

// SubjectOf returns the container whose init has that id, without the exec
// sessions in it: a dump waits for their end.
func SubjectOf(pid int, ghostLimit int64) (Subject, error) {
	f, err := FreezerOf(pid)
	if err != nil {
		return Subject{}, err
	}
	processes, err := f.Processes()
	if err != nil {
		return Subject{}, err
	}
	processes = slices.DeleteFunc(processes, func(p int) bool { return !descends(p, pid) })
	return Subject{Init: pid, Processes: processes, GhostLimit: ghostLimit}, nil
}

// Bounds of one preflight. A container that has more is looked at in part, and
// a finding says so.
const (
	mostProcesses = 1000
	mostFiles     = 10000
	// mostText bounds what is read of each list of mappings, mounts or sockets,
	// in bytes.
	mostText = 4 << 20
	// mostMaps bounds what is read of the mappings of all processes, in bytes.
	mostMaps = 32 << 20
	// mostTime is what a preflight takes at most.
	mostTime = 2 * time.Second
	// mostExamples is how many cases of one kind a finding names.
	mostExamples = 3
	// mostName is how many characters of a name in the container are shown.
	mostName = 80
)

// ErrNoPreflight is returned when a container's init cannot be looked at.
var ErrNoPreflight = errors.New("the container cannot be looked at")

// Late is the error of a preflight that had no answer in time.
type Late struct {
	// Ended is closed when it has ended after all.
	Ended <-chan struct{}
}

// Error says so.
func (*Late) Error() string { return fmt.Sprintf("the kernel has not answered within %s", mostTime) }

// Unwrap tells that it took too long.
func (*Late) Unwrap() error { return context.DeadlineExceeded }

// Preflight looks at a running container from outside and says what of it CRIU
// would not dump, what a restore would not bring back, and what to do. Nothing
// is stopped or traced for it. It is a forecast: a container changes, and
// only a dump knows. The findings come the worst first, one of a kind.
//
// It returns within two seconds, even when the kernel does not answer for one of
// the processes; what it began then ends later. The error is a *Late then, and its
// caller should not start another one for the same container meanwhile.
func Preflight(ctx context.Context, subject Subject) ([]Finding, error) {
	ctx, cancel := context.WithTimeout(ctx, mostTime)
	type result struct {
		findings []Finding
		err      error
	}
	done, ended := make(chan result, 1), make(chan struct{})
	go func() {
		defer close(ended)
		defer cancel()
		s := newScan(ctx, subject)
		err := s.run()
		done <- result{s.findings(), err}
	}()
	select {
	case r := <-done:
		return r.findings, r.err
	case <-ctx.Done():
		// The scan looks at ctx too, and mostly has an answer in a moment.
		select {
		case r := <-done:
			return r.findings, r.err
		case <-time.After(mostTime / 10):
			return nil, fmt.Errorf("%w: %w", ErrNoPreflight, &Late{ended})
		}
	}
}

// scan is one preflight under way.
type scan struct {
	Subject
	ctx context.Context

	cases map[string]*cases
	// files counts the descriptors, and mapsLeft is what may still be read of
	// mappings.
	files    int
	mapsLeft int64
	// sockets are those that processes of the container have open.
	sockets map[uint64]string
	// unix are the descriptors of those that are unix sockets, and before is
	// what the kernel said of them before the descriptors were read.
	unix   map[uint64]string
	diag   sockdiag.Conn
	before map[uint64]sockdiag.Unix

	init process
	root mount
	// unlimited is set when CRIU may read the limits of any process.
	unlimited bool
}

// cases are what was found of one kind.
type cases struct {
	count    int
	examples []string
}

func newScan(ctx context.Context, s Subject) *scan {
	if s.Proc == "" {
		s.Proc = "/proc"
	}
	return &scan{Subject: s, ctx: ctx, cases: map[string]*cases{}, mapsLeft: mostMaps, sockets: map[uint64]string{}, unix: map[uint64]string{}}
}

func (s *scan) run() error {
	var err error
	if s.init, err = s.process(s.Init); err != nil {
		return fmt.Errorf("%w: %w", ErrNoPreflight, err)
	}
	s.unlimited = s.mayReadLimits()
	s.mounts()
	s.enterIn()
	defer s.diag.Close()
	for i, pid := range s.Processes {
		if i >= mostProcesses {
			s.found("incomplete", fmt.Sprintf("only %d of %d processes", mostProcesses, len(s.Processes)))
			break
		}
		if s.ctx.Err() != nil {
			s.found("incomplete", fmt.Sprintf("only %d of %d processes within %s", i, len(s.Processes), mostTime))
			break
		}
		// One that cannot be read has ended meanwhile.
		if p, err := s.process(pid); err == nil {
			s.state(p)
			s.namespaces(p)
			s.mappings(p)
			s.descriptors(p)
		}
	}
	s.connections()
	return nil
}

// found notes one case of a kind. example has to be printable.
func (s *scan) found(kind, example string) {
	c := s.cases[kind]
	if c == nil {
		c = &cases{}
		s.cases[kind] = c
	}
	c.count++
	if len(c.examples) < mostExamples && !slices.Contains(c.examples, example) {
		c.examples = append(c.examples, example)
	}
}

// findings are the cases in words.
func (s *scan) findings() []Finding {
	var list []Finding
	for _, k := range kinds {
		c := s.cases[k.Kind]
		if c == nil {
			continue
		}
		f := Finding{Kind: k.Kind, Severity: k.Severity, What: k.What + ": " + strings.Join(c.examples, ", "), Remedy: k.Remedy}
		if more := c.count - len(c.examples); more > 0 {
			f.What += fmt.Sprintf(" and %d more", more)
		}
		list = append(list, f)
	}
	return list
}

// shown makes a name from within the container fit for a log or a terminal.
func shown(name string) string { return fmt.Sprintf("%.*q", mostName, name) }
