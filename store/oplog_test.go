package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/store"
)

func anyLog(store.LogHead) bool { return true }

// keepLog keeps one log, whose text is its reason.
func keepLog(t *testing.T, s *store.Store, pod, reason string, failed bool, keep int) {
	t.Helper()
	h := store.LogHead{Time: time.Now(), Namespace: "shop", Pod: pod, Container: "app", Action: "checkpoint", Reason: reason, Failed: failed}
	if err := s.KeepLog(h, []byte(reason), keep); err != nil {
		t.Fatalf("KeepLog: %v", err)
	}
}

// reasons of all logs that are kept, the newest first.
func reasons(s *store.Store) string {
	var all []string
	for _, h := range s.Logs(anyLog) {
		all = append(all, h.Reason)
	}
	return strings.Join(all, " ")
}

func TestLogs(t *testing.T) {
	t.Run("LastOnesAreKept", func(t *testing.T) {
		s := open(t, t.TempDir())
		for i := range 5 {
			keepLog(t, s, "a", fmt.Sprint("a", i), false, 2)
			keepLog(t, s, "b", fmt.Sprint("b", i), false, 3)
		}
		if got, want := reasons(s), "b4 a4 b3 a3 b2"; got != want {
			t.Fatalf("kept %q, want %q", got, want)
		}
	})
	t.Run("LastFailureOutlivesGoodOnes", func(t *testing.T) {
		s := open(t, t.TempDir())
		for i, failed := range []bool{true, true, false, false, false} {
			keepLog(t, s, "a", fmt.Sprint("a", i), failed, 2)
		}
		if got, want := reasons(s), "a4 a3 a1"; got != want {
			t.Fatalf("kept %q, want %q", got, want)
		}
	})
	t.Run("OutliveTheDaemon", func(t *testing.T) {
		dir := t.TempDir()
		s := open(t, dir)
		keepLog(t, s, "a", "first", true, 2)
		keepLog(t, s, "a", "second", false, 2)
		s.Close()
		write(t, filepath.Join(dir, "logs", "01KKNTQ2CNDSB0KFK8NV23KZV7.log"), "{cut off by a power")
		write(t, filepath.Join(dir, "logs", "stranger"), "x")
		s = open(t, dir)
		if got, want := reasons(s), "second first"; got != want {
			t.Fatalf("kept %q, want %q", got, want)
		}
		if left, _ := os.ReadDir(filepath.Join(dir, "logs")); len(left) != 2 {
			t.Errorf("%d files are left", len(left))
		}
		h := s.Logs(anyLog)[1]
		text, err := s.ReadLog(h.ID)
		if err != nil || string(text) != "first" || !h.Failed || h.Pod != "a" {
			t.Fatalf("ReadLog=%q, %v; head %+v", text, err, h)
		}
		keepLog(t, s, "a", "third", false, 1)
		if got, want := reasons(s), "third first"; got != want {
			t.Fatalf("kept %q, want %q", got, want)
		}
	})
	t.Run("LongOneLosesItsMiddle", func(t *testing.T) {
		s := open(t, t.TempDir())
		text := slicesOf("begin", bytes.Repeat([]byte("x"), 2*store.MaxLog), "end")
		if err := s.KeepLog(store.LogHead{}, text, 1); err != nil {
			t.Fatal(err)
		}
		got, err := s.ReadLog(s.Logs(anyLog)[0].ID)
		if err != nil || len(got) > store.MaxLog || !bytes.HasPrefix(got, []byte("begin")) ||
			!bytes.HasSuffix(got, []byte("end")) || !bytes.Contains(got, []byte("left out")) {
			t.Fatalf("ReadLog: %d bytes, %v", len(got), err)
		}
	})
	t.Run("Expire", func(t *testing.T) {
		s := open(t, t.TempDir())
		keepLog(t, s, "a", "old", true, 5)
		between := time.Now()
		keepLog(t, s, "a", "new", true, 5)
		if err := s.ExpireLogs(between); err != nil {
			t.Fatal(err)
		}
		if got := reasons(s); got != "new" {
			t.Fatalf("kept %q", got)
		}
	})
	t.Run("NoPathLeadsOut", func(t *testing.T) {
		s := open(t, t.TempDir())
		if _, err := s.ReadLog("../marks/x"); !errors.Is(err, store.ErrBadID) {
			t.Fatalf("ReadLog: %v", err)
		}
		if _, err := s.ReadLog("01KKNTQ2CNDSB0KFK8NV23KZV7"); !errors.Is(err, store.ErrNoLog) {
			t.Fatalf("ReadLog: %v", err)
		}
	})
	t.Run("NodeIsBounded", func(t *testing.T) {
		store.SetMaxLogBytes(t, 10*store.MaxLog)
		s := open(t, t.TempDir())
		text := make([]byte, store.MaxLog)
		for i := range 20 {
			h := store.LogHead{Pod: fmt.Sprint("pod-", i), Reason: fmt.Sprint(i)}
			if err := s.KeepLog(h, text, 5); err != nil {
				t.Fatal(err)
			}
		}
		kept := s.Logs(anyLog)
		if len(kept) != 9 || kept[0].Reason != "19" { // the heads count too
			t.Fatalf("%d are kept, the newest is %s", len(kept), kept[0].Reason)
		}
	})
}

func slicesOf(begin string, middle []byte, end string) []byte {
	return append(append([]byte(begin), middle...), end...)
}
