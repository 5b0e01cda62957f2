package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/rekindle-dev/rekindle/agent"
	"github.com/rekindle-dev/rekindle/conf"
)

func entries(t *testing.T, path string) []Entry {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var list []Entry
	for text := range bytes.Lines(data) {
		var e Entry
		if err := json.Unmarshal(text, &e); err != nil {
			t.Fatalf("line %q: %v", text, err)
		}
		list = append(list, e)
	}
	return list
}

func TestLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log", "audit.log")
	l := Open(context.Background(), conf.Audit{Path: path, MaxSize: conf.MiB, MaxFiles: 2}, "node-1", prometheus.NewRegistry())
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	l.Decided(
		agent.Facts{ID: "c1", Name: "app", Namespace: "shop", Pod: "web\n-0", PodUID: "u1"},
		agent.Decision{
			Time: at, Action: agent.ActionCheckpoint, Outcome: agent.Taken, Trigger: "request", Class: agent.ClassNone,
			Reason: strings.Repeat("x", 2*maxReason), Checkpoint: "01ABC", Bytes: 5, Pause: time.Second,
		})
	l.Close()
	got := entries(t, path)
	want := Entry{
		Time: at, Node: "node-1", Namespace: "shop", Pod: "web\n-0", PodUID: "u1", Container: "app", ContainerID: "c1",
		Action: "checkpoint", Trigger: "request", Outcome: "taken", Class: "none", Reason: strings.Repeat("x", maxReason),
		Checkpoint: "01ABC", Bytes: 5, Pause: time.Second,
	}
	if len(got) != 1 || got[0] != want {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	for path, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v, want %o", path, info.Mode(), err, want)
		}
	}
}

// A disk that hangs holds nobody up.
func TestHangingDisk(t *testing.T) {
	l := newLog(context.Background(), "n", prometheus.NewRegistry())
	hang, entered := make(chan struct{}), make(chan struct{})
	written, first := 0, true
	go func() {
		defer close(l.done)
		l.write(func([]byte) error {
			if first {
				first = false
				close(entered)
				<-hang
			}
			written++
			return nil
		})
	}()
	l.Decided(agent.Facts{}, agent.Decision{})
	<-entered
	for range queued + 10 {
		l.Decided(agent.Facts{}, agent.Decision{})
	}
	if got := testutil.ToFloat64(l.dropped); got != 10 {
		t.Errorf("%v dropped, want 10", got)
	}
	close(hang)
	l.Close()
	<-l.done
	if written != queued+1 {
		t.Errorf("%d written, want %d", written, queued+1)
	}
}

// A disk that fails costs the lines that fail.
func TestFailingDisk(t *testing.T) {
	l := newLog(context.Background(), "n", prometheus.NewRegistry())
	var written int
	fails := []bool{false, true, true, false}
	for range fails {
		l.Decided(agent.Facts{}, agent.Decision{})
	}
	l.lines <- nil
	close(l.done)
	l.write(func([]byte) error {
		fail := fails[0]
		fails = fails[1:]
		if fail {
			return errors.New("disk on fire")
		}
		written++
		return nil
	})
	if got := testutil.ToFloat64(l.dropped); got != 2 || written != 2 {
		t.Errorf("%v dropped and %d written, want 2 and 2", got, written)
	}
}
