package fail_test

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/fail"
)

// TestEveryPointIsPassed reads the sources: a point that nobody passes tests
// nothing.
func TestEveryPointIsPassed(t *testing.T) {
	list, err := os.ReadFile("points.go")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`(?m)^\t(\w+) += define\(`).FindAllStringSubmatch(string(list), -1)
	if len(names) != len(fail.Points()) {
		t.Fatalf("%d names for %d points", len(names), len(fail.Points()))
	}
	used := map[string]bool{}
	err = filepath.WalkDir("..", func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range regexp.MustCompile(`\bfail(?:point)?\.(\w+)\b`).FindAllStringSubmatch(string(text), -1) {
			used[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, n := range names {
		if !used[n[1]] {
			t.Errorf("nothing passes %s", n[1])
		}
	}
	for _, p := range fail.Points() {
		if seen[p.String()] || p.Where() == "" {
			t.Errorf("point %s is there twice, or nowhere", p)
		}
		seen[p.String()] = true
	}
}

// TestMain passes a point for TestFile, and says how that ended.
func TestMain(m *testing.M) {
	if os.Getenv("REKINDLE_TEST_CHILD") == "" {
		os.Exit(m.Run())
	}
	if err := fail.CommitPlace.Hit(); err != nil {
		os.Stdout.WriteString(err.Error())
	}
	os.Stdout.WriteString(" through")
}

// child runs one with a file of points.
func child(t *testing.T, file string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "REKINDLE_TEST_CHILD=1", fail.Variable+"="+file)
	return cmd
}

func TestFile(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: points are for root alone")
	}
	tests := map[string]struct {
		text string
		mode os.FileMode
		want string // empty: killed
	}{
		"NotArmed":       {"commit.digest kill\n", 0o600, " through"},
		"Kill":           {"commit.digest eio\ncommit.place kill\n", 0o600, ""},
		"EIO":            {"commit.place eio\n", 0o600, "failpoint commit.place: input/output error through"},
		"ENOSPC":         {" commit.place   enospc \n", 0o600, "failpoint commit.place: no space left on device through"},
		"Unknown":        {"commit.place explode", 0o600, `failpoint commit.place: "explode": no action of a failpoint: kill, eio, enospc or wait through`},
		"WritableByAll":  {"commit.place kill\n", 0o666, " through"},
		"PartOfTheNames": {"commit.placement kill\ncommit kill\n", 0o600, " through"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "points")
			if err := errors.Join(os.WriteFile(file, []byte(tc.text), 0o600), os.Chmod(file, tc.mode)); err != nil {
				t.Fatal(err)
			}
			out, err := child(t, file).Output()
			var exit *exec.ExitError
			if tc.want == "" {
				if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
					t.Fatalf("it said %q, %v; want it killed", out, err)
				}
				return
			}
			if err != nil || string(out) != tc.want {
				t.Fatalf("it said %q, %v; want %q", out, err, tc.want)
			}
		})
	}
	t.Run("NoFile", func(t *testing.T) {
		if out, err := child(t, filepath.Join(t.TempDir(), "none")).Output(); err != nil || string(out) != " through" {
			t.Fatalf("it said %q, %v", out, err)
		}
	})
	t.Run("Wait", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "points")
		if err := os.WriteFile(file, []byte("commit.place wait\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := child(t, file)
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
			if text, err := os.ReadFile(file + ".reached"); err == nil && strings.HasPrefix(string(text), "commit.place ") {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("it was not reached")
			}
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		text, _ := bufio.NewReader(out).ReadString(0)
		if err := cmd.Wait(); err != nil || text != " through" {
			t.Fatalf("it said %q, %v", text, err)
		}
	})
}
