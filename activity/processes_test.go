package activity_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rekindle-dev/rekindle/activity"
)

func TestParseProcess(t *testing.T) {
	const rest = " S 7 1 1 0 -1 4194560 1 2 3 4 150 50 20 10 20 0 1 0 100 1 2"
	tests := map[string]struct {
		line   string
		parent int
		cpu    time.Duration
		fails  bool
	}{
		"plain":             {"1 (sh)" + rest, 7, 2300 * time.Millisecond, false},
		"a name that lies":  {"1 (a) S 9 9 9 (b)" + rest, 7, 2300 * time.Millisecond, false},
		"a name with lines": {"1 (a\n1 (b) R 3)" + rest, 7, 2300 * time.Millisecond, false},
		"cut off":           {"1 (sh) S 7 1", 0, 0, true},
		"no name":           {"", 0, 0, true},
		"not a number":      {strings.Replace("1 (sh)"+rest, "150", "many", 1), 0, 0, true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			parent, cpu, err := activity.ParseProcess(tc.line)
			if (err != nil) != tc.fails || !tc.fails && (parent != tc.parent || cpu != tc.cpu) {
				t.Errorf("parent %d, %s, %v", parent, cpu, err)
			}
		})
	}
}

// child runs a shell until the test ends, and returns its process id.
func child(t *testing.T, script string) int {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	return cmd.Process.Pid
}

func use(t *testing.T, init int, pids ...int) activity.Use {
	t.Helper()
	u, err := activity.UseOf(init, pids)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestUseOf(t *testing.T) {
	worker := child(t, "while :; do :; done")
	idle := child(t, "sleep 100; :")
	deadline := time.Now().Add(20 * time.Second)
	for use(t, worker, worker, idle).CPU < 50*time.Millisecond {
		if time.Now().After(deadline) {
			t.Fatal("a process that works uses no CPU time")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if got := use(t, idle, worker, idle); got.CPU > 50*time.Millisecond {
		t.Errorf("what does not descend from init counts: %s", got.CPU)
	}
	self := os.Getpid()
	if got := use(t, self, self, worker, idle); got.CPU < 50*time.Millisecond {
		t.Errorf("a child of init does not count: %s", got.CPU)
	}
	if _, err := activity.UseOf(1, make([]int, 300)); err == nil {
		t.Error("300 processes are looked at")
	}
}

func TestUseOfCountsTheDisk(t *testing.T) {
	self := os.Getpid()
	before := use(t, self, self).Disk
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "file"), os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &fs); err != nil {
		t.Fatal(err)
	}
	if got := use(t, self, self).Disk - before; got < 1<<20 && fs.Type != unix.TMPFS_MAGIC {
		t.Errorf("1 MiB was written, %d bytes are counted", got)
	}
}

func timer(t *testing.T, first, again time.Duration) {
	t.Helper()
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	spec := &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(first)), Interval: unix.NsecToTimespec(int64(again))}
	if err := unix.TimerfdSettime(fd, 0, spec, nil); err != nil {
		t.Fatal(err)
	}
}

func TestNextTimer(t *testing.T) {
	self := []int{os.Getpid()}
	if due, found := activity.NextTimer(self); found {
		t.Fatalf("a timer is due in %s before there is one", due)
	}
	timer(t, time.Second, time.Second)
	timer(t, 0, 0)
	if due, found := activity.NextTimer(self); found {
		t.Errorf("one that goes off again and again, or not at all, is due in %s", due)
	}
	timer(t, time.Hour, 0)
	timer(t, time.Minute, 0)
	if due, found := activity.NextTimer(self); !found || due > time.Minute || due < 50*time.Second {
		t.Errorf("due in %s, %v, want a minute", due, found)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("it_value: (5, 3)\nit_interval: (0, 0)\n"))
	f.Add([]byte("it_value: (9223372036854775807, 999999999)\n"))
	f.Add([]byte("1 (sh) S 7 1 1 0 -1 4194560 1 2 3 4 150 50 20 10"))
	f.Add(make([]byte, 80))
	f.Fuzz(func(t *testing.T, data []byte) {
		activity.ParseSocket(data)
		if left, _ := activity.ParseTimer(string(data)); left < 0 && !strings.Contains(string(data), "-") {
			t.Errorf("a timer has %s left", left)
		}
		if _, cpu, err := activity.ParseProcess(string(data)); err == nil && cpu != 0 && cpu%(10*time.Millisecond) != 0 {
			t.Errorf("%s of CPU time", fmt.Sprint(cpu))
		}
	})
}
