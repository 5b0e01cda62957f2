package shim

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rekindle-dev/rekindle/api"
)

var someNote = api.Restored{Checkpoint: "01KKNTQ2CNDSB0KFK8NV23KZV7", Restore: 2, Namespace: "shop", Pod: "web-1", PodUID: "uid"}

func readNote(t *testing.T, upper string) api.Restored {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(upper, api.RestoredFile))
	must(t, err)
	if len(data) != restoredSize || data[len(data)-1] != '\n' {
		t.Errorf("the file has %d bytes, want %d and a newline at the end", len(data), restoredSize)
	}
	var got api.Restored
	must(t, json.Unmarshal(data, &got))
	return got
}

func TestNoteRestored(t *testing.T) {
	defer unix.Umask(unix.Umask(0o077))
	upper := t.TempDir()
	undo, err := noteRestored(upper, someNote)
	must(t, err)
	first := readNote(t, upper)
	if len(first.Random) != 64 || first.Time.IsZero() {
		t.Errorf("random %q at %s, want 32 bytes and the time", first.Random, first.Time)
	}
	if st := stat(t, filepath.Join(upper, api.RestoredFile)); st.Mode&0o7777 != 0o444 {
		t.Errorf("mode %o, want 444", st.Mode&0o7777)
	}
	_, err = noteRestored(upper, someNote)
	must(t, err)
	if second := readNote(t, upper); second.Random == first.Random {
		t.Error("two restores have the same random value")
	}
	first.Random, first.Time = "", someNote.Time
	if first != someNote {
		t.Errorf("got %+v, want %+v", first, someNote)
	}
	must(t, undo())
	if _, err := os.Lstat(filepath.Join(upper, api.RestoredFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
	must(t, undo())
}

// I8: what a tenant left under that name in a checkpoint leads nowhere.
func TestNoteRestoredFollowsNothing(t *testing.T) {
	victim := filepath.Join(t.TempDir(), "victim")
	must(t, os.WriteFile(victim, []byte("as it was"), 0o600))
	tests := map[string]struct {
		make func(path string) error
		ok   bool
	}{
		"symlink":   {func(p string) error { return os.Symlink(victim, p) }, true},
		"file":      {func(p string) error { return os.WriteFile(p, []byte("old"), 0o600) }, true},
		"FIFO":      {func(p string) error { return unix.Mkfifo(p, 0o600) }, true},
		"whiteout":  {func(p string) error { return unix.Mknod(p, unix.S_IFCHR, 0) }, true},
		"directory": {func(p string) error { return os.Mkdir(p, 0o700) }, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			upper := t.TempDir()
			must(t, tt.make(filepath.Join(upper, api.RestoredFile)))
			undo, err := noteRestored(upper, someNote)
			if (err == nil) != tt.ok {
				t.Errorf("error %v", err)
			}
			if tt.ok {
				readNote(t, upper)
			}
			must(t, undo())
			if data, err := os.ReadFile(victim); err != nil || string(data) != "as it was" {
				t.Errorf("the file outside is %q, %v", data, err)
			}
		})
	}
}

func TestNoteRestoredTooLong(t *testing.T) {
	note := someNote
	note.Pod = strings.Repeat("x", restoredSize)
	upper := t.TempDir()
	if _, err := noteRestored(upper, note); err == nil {
		t.Error("a text longer than the file was accepted")
	}
	if entries, err := os.ReadDir(upper); err != nil || len(entries) > 0 {
		t.Errorf("something was left: %v, %v", entries, err)
	}
}
