package criu

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// captured is a log in testdata/logs. A line "# dump" or "# restore" and one that
// says where it is from come first, then parts as "-- name --": error, what the
// command itself reported; criu, its log; runc, what that said. Files are named
// by the entry of the table that they belong to, and what is after a dot tells
// several of one entry apart.
type captured struct {
	op, error, criu, runc string
}

func capturedLogs(t *testing.T) map[string]captured {
	t.Helper()
	files, err := filepath.Glob("testdata/logs/*.log")
	if err != nil || len(files) == 0 {
		t.Fatalf("no captured logs: %v", err)
	}
	logs := map[string]captured{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var c captured
		into, skip := &c.op, new(string)
		for line := range strings.Lines(string(data)) {
			switch strings.TrimSpace(line) {
			case "# dump", "# restore":
				c.op = strings.Trim(line, "# \n")
				into = skip
			case "-- error --":
				into = &c.error
			case "-- criu --":
				into = &c.criu
			case "-- runc --":
				into = &c.runc
			default:
				*into += line
			}
		}
		if c.op == "" || c.error == "" || *skip == "" {
			t.Errorf("%s: has no head", file)
		}
		logs[strings.TrimSuffix(filepath.Base(file), ".log")] = c
	}
	return logs
}

// explained gives a captured log to explain.
func (c captured) explained(t *testing.T) *Error {
	t.Helper()
	log := filepath.Join(t.TempDir(), "criu.log")
	if c.criu != "" {
		if err := os.WriteFile(log, []byte(c.criu), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return explain(c.op, "0123456789abcdef", log, c.runc, errors.New(strings.TrimSpace(c.error)))
}

// Every captured log gets the cause and the remedy of its own entry.
func TestCapturedLogs(t *testing.T) {
	for file, c := range capturedLogs(t) {
		t.Run(file, func(t *testing.T) {
			name, _, _ := strings.Cut(file, ".")
			e := c.explained(t)
			var want *cause
			for _, table := range causesOf(c.op) {
				for i := range table {
					if table[i].name == name {
						want = &table[i]
					}
				}
			}
			if want == nil {
				t.Fatalf("no entry %q for a %s", name, c.op)
			}
			if e.Cause != want.what || e.Hint != want.remedy {
				t.Errorf("line %q\n gets %q (%s)", e.Line, e.Cause, e.Hint)
			}
			if name != "too-slow" && name != "pages-cut" && !want.sign.matches(strings.ReplaceAll(e.Line, "?", "\t")) {
				t.Errorf("the line shown is %q", e.Line)
			}
			if harmless.matches(e.Line) || strings.Contains(e.Line, "FAILED") {
				t.Errorf("the line shown is %q, which tells nothing", e.Line)
			}
			if text := e.Error(); !strings.Contains(text, want.what+"; "+want.remedy) {
				t.Errorf("Error()=%q", text)
			}
		})
	}
}

// No sign matches any line of another failure's log: none is too loose.
func TestSignsMatchTheirOwnLogsOnly(t *testing.T) {
	for file, c := range capturedLogs(t) {
		name, _, _ := strings.Cut(file, ".")
		text := c.criu + c.runc + c.error
		for _, op := range []string{"dump", "restore"} {
			for _, table := range causesOf(op) {
				for _, entry := range table {
					for line := range strings.Lines(text) {
						if entry.name != name && entry.sign.matches(strings.TrimSpace(line)) {
							t.Errorf("%s of the %s table matches in %s: %s", entry.name, op, file, line)
						}
					}
				}
			}
		}
	}
}

func TestCauses(t *testing.T) {
	logs := map[string]bool{}
	for file := range capturedLogs(t) {
		name, _, _ := strings.Cut(file, ".")
		logs[name] = true
	}
	seen := map[string]bool{}
	for _, table := range [][]cause{dumpCauses, restoreCauses, runCauses} {
		for _, c := range table {
			if seen[c.name] {
				t.Errorf("%s is there twice", c.name)
			}
			seen[c.name] = true
			if !logs[c.name] {
				t.Errorf("%s has no captured log", c.name)
			}
			if c.what == "" || c.remedy == "" {
				t.Errorf("%s lacks words", c.name)
			}
		}
	}
	if len(seen) < 25 {
		t.Errorf("%d failures are known, 25 are wanted", len(seen))
	}
}

func TestExplain(t *testing.T) {
	tests := map[string]struct {
		criu, runc string
		line, hint string // what the line is, and a part of the hint
	}{
		"Unknown":          {"(00.1) Error (criu/x.c:1): odd\n(00.2) Error (criu/y.c:2): odder\n", "", "Error (criu/x.c:1): odd", ""},
		"KnownAfterOthers": {"(00.1) Error (criu/x.c:1): odd\n(00.2) Error (criu/y.c:2): write: No space left on device\n", "", "Error (criu/y.c:2): write: No space left on device", "free space"},
		"HarmlessFirst":    {"Error (criu/util.c:1): rlimit: Can't setup RLIMIT_NOFILE for self: x\nError (criu/protobuf.c:72): Unexpected EOF on (empty-image)\nError (criu/x.c:1): odd\n", "", "Error (criu/x.c:1): odd", ""},
		"OursFirst":        {"Error (criu/x.c:1): 7 killed by signal 9: Killed\nError (rekindle): corrupt checkpoint: criu/pages-1.img\n", "", "Error (rekindle): corrupt checkpoint: criu/pages-1.img", ""},
		"OnlyRunc":         {"", `{"level":"warning","msg":"x: No space left on device"}` + "\n" + `{"level":"error","msg":"first\nsecond"}` + "\n", "first; second", ""},
		"PlainRunc":        {"", "runc: odd\n", "runc: odd", ""},
		"Nothing":          {"", "", "", ""},
		"LongLine":         {"Error (criu/x.c:1): " + strings.Repeat("x", 100_000) + " Error (criu/z.c:1): no\nError (criu/y.c:2): write: No space left on device\n", "", "Error (criu/y.c:2): write: No space left on device", "free space"},
		"ControlBytes":     {"Error (criu/x.c:1): \x1b[2J\n", "", "Error (criu/x.c:1): ?[2J", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e := captured{op: "restore", error: "exit status 1", criu: tt.criu, runc: tt.runc}.explained(t)
			if e.Line != tt.line || !strings.Contains(e.Hint, tt.hint) || tt.hint == "" && e.Hint != "" {
				t.Errorf("line %q, hint %q; want %q, %q", e.Line, e.Hint, tt.line, tt.hint)
			}
		})
	}
}
