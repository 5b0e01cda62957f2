package agent

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rekindle-dev/rekindle/conf"
	"github.com/rekindle-dev/rekindle/policy"
)

const someSockets = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0
   1: 0A00020F:1F90 0A000202:C350 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0
`

func TestListed(t *testing.T) {
	for name, tt := range map[string]struct {
		port int
		list string
		want bool
	}{
		"listening":        {80, someSockets, true},
		"only connected":   {8080, someSockets, false},
		"the peer's port":  {50000, someSockets, false},
		"nothing there":    {443, someSockets, false},
		"IPv6":             {8443, "0: 00000000000000000000000000000000:20FB 00000000000000000000000000000000:0000 0A x\n", true},
		"not a list":       {80, "0: nonsense 0A 0A\n\n: : : 0A\n", false},
		"larger than 64Ki": {80, "0: 0100007F:10050 00000000:0000 0A\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := listed(strings.NewReader(tt.list), tt.port)
			if got != tt.want || err != nil {
				t.Errorf("got %t, %v, want %t", got, err, tt.want)
			}
		})
	}
}

func TestListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if found, err := listens(os.Getpid(), port); !found || err != nil {
		t.Errorf("while somebody listens: %t, %v", found, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if found, err := listens(os.Getpid(), port); found || err != nil {
		t.Errorf("when nobody does: %t, %v", found, err)
	}
}

// logWith returns a log of CRI with those lines.
func logWith(t *testing.T, lines ...string) *logSearch {
	t.Helper()
	s := &logSearch{path: filepath.Join(t.TempDir(), "0.log"), text: []byte("Started in")}
	appendLog(t, s.path, lines...)
	t.Cleanup(s.close)
	return s
}

func appendLog(t *testing.T, path string, lines ...string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		if _, err := f.WriteString("2026-11-24T12:00:00.000000000Z stdout F " + line + "\n"); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func (s *logSearch) wants(t *testing.T, when string, want bool) {
	t.Helper()
	if got, err := s.seen(); got != want || err != nil {
		t.Errorf("%s: found %t, %v, want %t", when, got, err, want)
	}
}

func TestLogSearch(t *testing.T) {
	s := logWith(t, "starting", "still starting")
	s.wants(t, "before", false)
	appendLog(t, s.path, "INFO Started in 3 s")
	s.wants(t, "after", true)
	if s := logWith(t, "INFO Started in 3 s"); true {
		s.wants(t, "in a log that is there already", true)
	}
}

func TestLogSearchRotated(t *testing.T) {
	s := logWith(t, "starting")
	s.wants(t, "before", false)
	if err := os.Rename(s.path, s.path+".1"); err != nil {
		t.Fatal(err)
	}
	s.wants(t, "in the middle of the rotation", false)
	appendLog(t, s.path, "Started in 3 s")
	s.wants(t, "at the end of the old file", false)
	s.wants(t, "in the new file", true)
}

// Not what the runtime itself writes into a line, nor half a line.
func TestLogSearchLooksAtMessages(t *testing.T) {
	s := logWith(t)
	s.text = []byte("stdout F")
	appendLog(t, s.path, "starting")
	s.wants(t, "the runtime's words", false)
	if s.feed([]byte("2026 stdout F std")) || s.feed([]byte("out F")) || !s.feed([]byte("\n")) {
		t.Error("a line is looked at when it is complete, and as a whole")
	}
}

func TestLogSearchBoundsLines(t *testing.T) {
	s := logWith(t)
	s.text = []byte("needle")
	if s.feed([]byte("2026 stdout F "+strings.Repeat("x", 10*maxLogLine))) || cap(s.line) > 12*maxLogLine {
		t.Errorf("%d bytes are held of a line without end", cap(s.line))
	}
	if !s.feed([]byte(" needle\n")) {
		t.Error("the end of a long line is passed over")
	}
}

func TestLogSearchOpensPlainFilesOnly(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	appendLog(t, secret, "Started in")
	link, fifo := filepath.Join(dir, "link"), filepath.Join(dir, "fifo")
	if err := errors.Join(os.Symlink(secret, link), unix.Mkfifo(fifo, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{link, fifo, dir, "secret", ""} {
		s := &logSearch{path: path, text: []byte("Started in")}
		if found, err := s.seen(); found || err == nil {
			t.Errorf("%s: found %t, %v", path, found, err)
		}
	}
}

// A trigger that cannot fire says why, and the container goes on.
func TestNotReady(t *testing.T) {
	tests := map[string]struct {
		condition policy.Condition
		reason    string
	}{
		"a port that nobody opens": {policy.Condition{Kind: policy.Port, Port: 1}, "not ready within 1s (port=1)"},
		"a log nobody knows of":    {policy.Condition{Kind: policy.Line, Text: "x"}, "where logs are"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			cfg := w.agent.Config()
			cfg.Bounds.ReadyMax = conf.Seconds(1)
			w.agent.Reload(cfg)
			c := w.clonable(0)
			c.Created = time.Now()
			c.policy.Ready = tt.condition
			c.begin(os.Getpid(), func() {})
			w.agent.onceReady(context.Background(), c)
			last := w.agent.history.of(nameOf(c.Facts))
			if len(last) != 1 || last[0].Outcome != Skipped || !strings.Contains(last[0].Reason, tt.reason) {
				t.Errorf("decisions %v, want one that says %q", last, tt.reason)
			}
			if !c.Warm {
				t.Error("the trigger would fire again")
			}
		})
	}
}

// One checkpoint is enough for all replicas, also when they are ready at once.
func TestOneStartIsEnough(t *testing.T) {
	w := newWorld(t)
	one, two := w.clonable(1), w.clonable(2)
	release := w.agent.startTurn(context.Background(), one)
	short, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if w.agent.startTurn(short, two) != nil {
		t.Fatal("two containers have the turn at once")
	}
	made := w.readyOf(one)
	release()
	release = w.agent.startTurn(context.Background(), two)
	if release == nil {
		t.Fatal("the turn does not go over")
	}
	defer release()
	if c, found := w.agent.startOf(context.Background(), two); !found || c.ID != made.ID {
		t.Errorf("found %t, %s, want %s", found, c.ID, made.ID)
	}
	two.Fingerprint = "g"
	if _, found := w.agent.startOf(context.Background(), two); found {
		t.Error("one of another spec counts as well")
	}
}
