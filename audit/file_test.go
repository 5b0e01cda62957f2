package audit

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func appendAll(t *testing.T, f *file, lines ...string) {
	t.Helper()
	for _, l := range lines {
		if err := f.append([]byte(l + "\n")); err != nil {
			t.Fatal(err)
		}
	}
}

func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestRotation(t *testing.T) {
	for parts := 1; parts <= 3; parts++ {
		t.Run(fmt.Sprint(parts), func(t *testing.T) {
			dir := t.TempDir()
			f := &file{path: filepath.Join(dir, "audit.log"), size: 20, parts: parts}
			for i := range 10 {
				appendAll(t, f, fmt.Sprintf("line %03d", i)) // 9 bytes: two fit
			}
			entries, err := os.ReadDir(dir)
			if err != nil || len(entries) != parts {
				t.Fatalf("%v, %v: want %d files", entries, err, parts)
			}
			for i := range parts {
				want := fmt.Sprintf("line %03d\nline %03d\n", 8-2*i, 9-2*i)
				if got := content(t, f.part(i)); got != want {
					t.Errorf("part %d is %q, want %q", i, got, want)
				}
			}
		})
	}
}

func TestAnotherDaemonGoesOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	appendAll(t, &file{path: path, size: 100, parts: 2}, "one")
	if err := os.WriteFile(path, []byte("one\ncut of"), 0o644); err != nil {
		t.Fatal(err)
	}
	appendAll(t, &file{path: path, size: 100, parts: 2}, "two")
	if got, want := content(t, path), "one\ncut of\ntwo\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
}

func TestRenamedByOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	f := &file{path: path, size: 100, parts: 2}
	appendAll(t, f, "one")
	if err := os.Rename(path, path+"-20260102"); err != nil {
		t.Fatal(err)
	}
	appendAll(t, f, "two")
	if got := content(t, path); got != "two\n" {
		t.Errorf("got %q, want the second line only", got)
	}
}

// What is not a file of ours is not written to, and once it is out of the way
// the log goes on.
func TestNotAFile(t *testing.T) {
	tests := map[string]func(path string) error{
		"link":      func(path string) error { return os.Symlink(path+".elsewhere", path) },
		"pipe":      func(path string) error { return unix.Mkfifo(path, 0o600) },
		"directory": func(path string) error { return os.Mkdir(path, 0o700) },
	}
	for name, place := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "audit.log")
			if err := place(path); err != nil {
				t.Fatal(err)
			}
			f := &file{path: path, size: 100, parts: 2}
			if err := f.append([]byte("one\n")); err == nil || !strings.Contains(err.Error(), "audit log") {
				t.Fatalf("append=%v, want an error", err)
			}
			if _, err := os.Lstat(path + ".elsewhere"); err == nil {
				t.Error("the target of the link was made")
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			appendAll(t, f, "two")
		})
	}
}
