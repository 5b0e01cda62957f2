package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/criu"
	"github.com/rekindle-dev/rekindle/store"
)

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLogsIn(t *testing.T) {
	long := "begin" + strings.Repeat("x", 2*store.MaxLog) + "end"
	tests := map[string]struct {
		prepare func(dir string)
		want    []string // parts, in order; none for no log at all
	}{
		"Nothing": {func(string) {}, nil},
		"Both": {func(dir string) {
			put(t, dir, criu.DumpLog, "dumping\n")
			put(t, dir, criu.RuncLog, "runc says")
		}, []string{"==> runc.log\nrunc says\n==> dump.log\ndumping\n"}},
		"Long":   {func(dir string) { put(t, dir, criu.DumpLog, long) }, []string{"==> dump.log\nbegin", "bytes are left out", "xend\n"}},
		"ALink":  {func(dir string) { _ = os.Symlink("/etc/passwd", filepath.Join(dir, criu.DumpLog)) }, []string{"==> dump.log\nit cannot be read: "}},
		"Folder": {func(dir string) { put(t, filepath.Join(dir, criu.DumpLog), "x", "") }, []string{"not a regular file"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			tt.prepare(dir)
			got := string(logsIn(dir, criu.DumpLog))
			if tt.want == nil && got != "" || len(got) > store.MaxLog+1024 || strings.Contains(got, "root:") {
				t.Errorf("got %d bytes: %.200q", len(got), got)
			}
			for _, part := range tt.want {
				if !strings.Contains(got, part) {
					t.Errorf("%.200q lacks %q", got, part)
				}
			}
		})
	}
}

// The log of a restore is kept by what the shim says of it, and found by pod and
// by checkpoint, the quarantined one's own dump log with it.
func TestRestoreLogIsKept(t *testing.T) {
	w := newWorld(t)
	first := w.container("web", "s1", nil)
	w.starts(first)
	sound := w.checkpoint(first)
	w.ends(first, killed)

	next := w.container("web", "s1", nil)
	if _, err := w.agent.issue(context.Background(), next); err != nil {
		t.Fatal(err)
	}
	put(t, sound.Dir(), criu.DumpLog, "it was dumped\n")
	put(t, next.dir.Work(), criu.RestoreLog, "Error (criu/x.c:1): odd\n")
	if err := next.dir.Write(&api.Outcome{Checkpoint: sound.ID, Error: "odd"}); err != nil {
		t.Fatal(err)
	}
	w.starts(next)
	w.agent.Removed(context.Background(), next.ID)

	control := NewControl(w.agent)
	told := func(r *api.LogsRequest) string {
		t.Helper()
		resp, err := control.Logs(context.Background(), r)
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, l := range resp.Logs {
			text, err := control.Log(context.Background(), &api.LogRequest{Id: l.Id})
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, fmt.Sprintf("%s %s: %s", l.Action, l.Outcome, strings.ReplaceAll(string(text.Text), "\n", " ")))
		}
		return strings.Join(all, "| ")
	}
	restore := "restore failed: ==> restore.log Error (criu/x.c:1): odd "
	if got := told(&api.LogsRequest{Namespace: "default", Pod: "web", Container: "app"}); got != restore {
		t.Errorf("of the pod: %q", got)
	}
	want := restore + "| checkpoint taken: ==> dump.log it was dumped "
	if got := told(&api.LogsRequest{Checkpoint: strings.ToLower(sound.ID[:20])}); got != want {
		t.Errorf("of the checkpoint: %q", got)
	}
	for prefix, want := range map[string]error{"7ZZ": store.ErrNotFound, "../": store.ErrBadID} {
		if _, err := w.agent.logsOf(prefix); !errors.Is(err, want) {
			t.Errorf("logs of %q: %v, want %v", prefix, err, want)
		}
	}
	for _, r := range []*api.LogsRequest{{Namespace: "default", Pod: "other"}, {Namespace: "other", Pod: "web"}} {
		if _, err := control.Logs(context.Background(), r); err == nil {
			t.Errorf("logs of %s/%s", r.Namespace, r.Pod)
		}
	}
}
