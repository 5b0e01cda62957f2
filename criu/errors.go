package criu

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// Error is a failed dump or restore, in words.
type Error struct {
	// Op is "dump" or "restore".
	Op string
	// Container is the id of the container.
	Container string
	// Err is what the command itself reported.
	Err error
	// Line is the error line of the logs that tells most; empty when there was none.
	Line string
	// Cause says in words what happened, and Hint what to do; both are empty when
	// the failure is not a known one.
	Cause, Hint string
}

func (e *Error) Error() string {
	msg := fmt.Sprintf("%s container %.12s: %v", e.Op, e.Container, e.Err)
	if e.Line != "" {
		msg += ": " + e.Line
	}
	if e.Cause != "" {
		msg += " (" + e.Cause + "; " + e.Hint + ")"
	}
	return msg
}

// Unwrap gives the command's own error.
func (e *Error) Unwrap() error { return e.Err }

// Lines of a CRIU log that are not the cause. Always harmless is that CRIU may
// not raise a limit. The others count when there is nothing better: an empty
// image is normal for most kinds, and the rest are consequences.
var (
	harmless   = sign(`Can't setup RLIMIT_NOFILE`)
	lastResort = sign(`Unexpected EOF on \(empty-image\)|(Dumping|Restoring) FAILED\.|cgroupd: recv req error`)
)

// ours begins a line that the executor has added to CRIU's log: it has found the
// reason itself.
const ours = "Error (rekindle)"

// explain builds the Error of a failed command from what it left behind. The
// first error that is a known failure counts, or else the first error: later
// ones are mostly consequences.
func explain(op, id, log, said string, err error) *Error {
	e := &Error{Op: op, Container: id, Err: err}
	lines := append(errorLines(log), runcErrors(said)...)
	if len(lines) > 0 {
		e.Line = printable(lines[0])
		if strings.HasPrefix(e.Line, ours) {
			return e
		}
	}
	for i, line := range append(lines, err.Error()) {
		if c := causeOf(op, line); c != nil {
			e.Cause, e.Hint = c.what, c.remedy
			if i < len(lines) {
				e.Line = printable(line)
			}
			break
		}
	}
	return e
}

const (
	// errorsRead bounds how many error lines of one log are looked at.
	errorsRead = 1000
	// lineRead bounds what is read of one line; a path is not longer.
	lineRead = 8 << 10
)

// errorLines returns the error lines of a CRIU log: ours first, then those that
// tell something, or else those that count when there is nothing better.
func errorLines(log string) []string {
	f, err := os.Open(log)
	if err != nil {
		return nil
	}
	defer f.Close()
	var noted, telling, rest []string
	r := bufio.NewReaderSize(f, lineRead)
	for begin := true; len(telling)+len(rest) < errorsRead; {
		data, more, err := r.ReadLine()
		if err != nil {
			break
		}
		// The rest of a line that is too long is passed over.
		_, line, found := strings.Cut(string(data), "Error (")
		if found = found && begin; found {
			line = "Error (" + line
		}
		begin = !more
		switch {
		case !found || harmless.matches(line):
		case strings.HasPrefix(line, ours):
			noted = append(noted, line)
		case lastResort.matches(line):
			rest = append(rest, line)
		default:
			telling = append(telling, line)
		}
	}
	if lines := append(noted, telling...); len(lines) > 0 {
		return lines
	}
	return rest
}

// runcErrors returns the errors in what runc said: JSON, one message a line, or
// plain text. It quotes CRIU's log in its warnings, which are passed over.
func runcErrors(said string) []string {
	var lines []string
	for line := range strings.Lines(said) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		var entry struct{ Level, Msg string }
		if json.Unmarshal([]byte(line), &entry) == nil {
			if entry.Level != "error" && entry.Level != "fatal" {
				continue
			}
			line = strings.ReplaceAll(strings.TrimSpace(entry.Msg), "\n", "; ")
		}
		if lines = append(lines, line); len(lines) >= errorsRead {
			break
		}
	}
	return lines
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return printable(lines[len(lines)-1])
}

// printable makes a line safe for a log or a terminal: file names in it are the
// workload's.
func printable(line string) string {
	line = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, line)
	if len(line) > 300 {
		line = line[:300] + "…"
	}
	return line
}
