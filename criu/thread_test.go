package criu_test

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"github.com/rekindle-dev/rekindle/criu"
)

// TestPreflightLeavesTheProcessWhereItIs: a preflight enters the container's
// namespaces, and the process, which /proc shows by its first thread, does not.
func TestPreflightLeavesTheProcessWhereItIs(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sleep", "60")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	before := namespaces(t)
	subject := criu.Subject{Init: cmd.Process.Pid, Processes: []int{cmd.Process.Pid}, GhostLimit: 1 << 20}
	// Often enough for the first thread to get its turn.
	for range 50 {
		runtime.Gosched()
		if _, err := criu.Preflight(context.Background(), subject); err != nil {
			t.Fatal(err)
		}
		if now := namespaces(t); now != before {
			t.Fatalf("the process is in %s now, and was in %s", now, before)
		}
	}
}

func namespaces(t *testing.T) string {
	t.Helper()
	var names string
	for _, kind := range []string{"net", "ipc"} {
		name, err := os.Readlink("/proc/self/ns/" + kind)
		if err != nil {
			t.Fatal(err)
		}
		names += " " + name
	}
	return names
}
