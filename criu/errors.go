package criu

import (
	"bufio"
	"fmt"
	"os"
	"regexp"
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
	// Line is the first error line of the logs; empty when there was none.
	Line string
	// Hint says what to do; empty when the failure is not a known one.
	Hint string
}

func (e *Error) Error() string {
	msg := fmt.Sprintf("%s container %.12s: %v", e.Op, e.Container, e.Err)
	if e.Line != "" {
		msg += ": " + e.Line
	}
	if e.Hint != "" {
		msg += " (" + e.Hint + ")"
	}
	return msg
}

// Unwrap gives the command's own error.
func (e *Error) Unwrap() error { return e.Err }

// remedies are known failures: the part of the log that gives them away, and
// what to do. The first match counts.
var remedies = []struct {
	sign *regexp.Regexp
	hint string
}{
	{regexp.MustCompile(`io_uring`), "the application uses io_uring, which CRIU cannot dump; switch it off in the application"},
	{regexp.MustCompile(`Unsupported proto 262`), "the application listens with MPTCP, which CRIU cannot dump; for a Go program set GODEBUG=multipathtcp=0 in its environment"},
	{regexp.MustCompile(`In-flight connection`), "a connection was being set up; the next attempt should pass"},
	{regexp.MustCompile(`external socket|External socket is used`), "a unix socket reaches outside the container; close it or mount no host sockets"},
	{regexp.MustCompile(`ghost file .* too big|Can't dump ghost file`), "a deleted file that is still open is larger than criu.ghost_limit; raise it"},
	{regexp.MustCompile(`File .* has bad size|has bad mode|has bad build-id`), "a file on a volume, or in the image, changed since the checkpoint"},
	{regexp.MustCompile(`Can't open file .*|Unable to open .* on restore`), "a file that was open at the checkpoint is not there any more"},
	{regexp.MustCompile(`No space left on device`), "free space on the store's file system, or lower keep"},
	{regexp.MustCompile(`Cannot allocate memory|Out of memory`), "CRIU runs inside the container's memory limit; raise the limit"},
	{regexp.MustCompile(`executable file not found|criu: not found`), "install CRIU 4.2 or newer on the PATH of containerd"},
	{regexp.MustCompile(`pid .* already exists|clone.* File exists`), "a process id of the checkpoint is taken; shared process namespaces are not supported"},
	{regexp.MustCompile(`vDSO|vdso`), "this CRIU is too old for the kernel; install 4.2 or newer"},
	{regexp.MustCompile(`mnt: .*(No such|can't|Can't)`), "a mount that the checkpoint needs is missing from the new container"},
}

// harmless are error lines after which CRIU goes on; they would hide the cause.
var harmless = regexp.MustCompile(`Can't setup RLIMIT_NOFILE|Unexpected EOF on \(empty-image\)`)

// explain builds the Error of a failed command from what it left behind.
func explain(op, id, log, stderr string, err error) *Error {
	e := &Error{Op: op, Container: id, Err: err, Line: firstError(log)}
	if e.Line == "" {
		e.Line = lastLine(stderr)
	}
	for _, r := range remedies {
		if r.sign.MatchString(e.Line) || r.sign.MatchString(stderr) {
			e.Hint = r.hint
			break
		}
	}
	return e
}

// firstError returns the first error line of a CRIU log; later ones are mostly
// consequences.
func firstError(log string) string {
	f, err := os.Open(log)
	if err != nil {
		return ""
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for s.Scan() {
		if _, rest, found := strings.Cut(s.Text(), "Error ("); found && !harmless.MatchString(rest) {
			return printable("Error (" + rest)
		}
	}
	return ""
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
