package criu_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rekindle-dev/rekindle/criu"
)

// look returns what a preflight finds of these processes, by kind. The first is
// taken for the container's init.
func look(t *testing.T, proc string, processes ...int) map[string]criu.Finding {
	t.Helper()
	list, err := criu.Preflight(t.Context(), criu.Subject{Init: processes[0], Processes: processes, GhostLimit: 1 << 20, Proc: proc})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]criu.Finding{}
	for _, f := range list {
		found[f.Kind] = f
		if strings.ContainsFunc(f.What+f.Remedy, func(r rune) bool { return r < ' ' || r > '~' }) || len(f.What) > 2000 {
			t.Errorf("not fit for a terminal: %q", f.What)
		}
	}
	return found
}

// wants fails the test unless exactly one of the kinds that were not there
// before is there now, and names part.
func wants(t *testing.T, before, now map[string]criu.Finding, kind, part string) {
	t.Helper()
	for k := range now {
		if _, was := before[k]; !was && k != kind {
			t.Errorf("found %s too: %s", k, now[k])
		}
	}
	if f, found := now[kind]; kind != "" && (!found || !strings.Contains(f.What, part)) {
		t.Errorf("%s: %+v lacks %q", kind, f, part)
	}
}

// TestPreflightOfOurselves looks at this very process while it holds something.
func TestPreflightOfOurselves(t *testing.T) {
	self := os.Getpid()
	tests := map[string]struct {
		hold       func(t *testing.T)
		kind, part string
	}{
		"Nothing":      {func(*testing.T) {}, "", ""},
		"DeletedBig":   {func(t *testing.T) { deleted(t, 3<<20, 0) }, "deleted", `a\tb" of 3 MiB`},
		"DeletedSmall": {func(t *testing.T) { deleted(t, 1000, 0) }, "", ""},
		"DeletedHoles": {func(t *testing.T) { deleted(t, 1000, 1<<30) }, "", ""},
		"Null":         {func(t *testing.T) { open(t, "/dev/null") }, "", ""},
		"UnixInside":   {func(t *testing.T) { pair(t) }, "", ""},
		"UnixOutside":  {outside, "unix", "process"},
		"TCP":          {connect, "connection", "process"},
		"Signals":      {func(t *testing.T) { signals(t) }, "", ""},
		"Object": {func(t *testing.T) {
			fd, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
			closing(t, fd, err)
		}, "object", "fscontext"},
		"Netlink": {func(t *testing.T) {
			fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, 0)
			closing(t, fd, err)
		}, "", ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			before := look(t, "", self)
			tc.hold(t)
			wants(t, before, look(t, "", self), tc.kind, tc.part)
		})
	}
}

// TestPreflightOfChildren looks at a child as one process of a container, whose
// init this process is.
func TestPreflightOfChildren(t *testing.T) {
	tests := map[string]struct {
		attr       syscall.SysProcAttr
		signal     syscall.Signal
		kind, part string
	}{
		"Running": {},
		"Stopped": {signal: syscall.SIGSTOP, kind: "stopped", part: `"sleep"`},
		"User":    {attr: syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}, kind: "namespace", part: "user, process"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			before := look(t, "", os.Getpid())
			cmd := exec.CommandContext(t.Context(), "sleep", "60")
			cmd.SysProcAttr = &tc.attr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
			if tc.signal != 0 {
				_ = cmd.Process.Signal(tc.signal)
				await(t, func() bool { return strings.Contains(status(cmd.Process.Pid), "T (stopped)") })
			}
			// What the child may be dumped for depends on who runs this test.
			before["limits"] = criu.Finding{}
			wants(t, before, look(t, "", os.Getpid(), cmd.Process.Pid), tc.kind, tc.part)
		})
	}
}

// TestPreflightOfText looks at a container that is only described.
func TestPreflightOfText(t *testing.T) {
	const (
		root = "20 1 0:30 / / rw,relatime - overlay overlay rw,lowerdir=/l\n"
		// The shim, without the capability that is bit 24.
		shim = "Name:\tshim\nCapEff:\t000001fffeffffff\n"
	)
	tests := map[string]struct {
		status, mounts, maps, shim string
		kind, part                 string
	}{
		"Plain":        {mounts: root},
		"User":         {status: "Uid:\t0\t1000\t0\t0\n", mounts: root, kind: "limits", part: `process 7 "a\x1b[2J"`},
		"Group":        {status: "Gid:\t0\t0\t5\t5\n", mounts: root, kind: "limits"},
		"UserMayBe":    {status: "Uid:\t0\t1000\t0\t0\n", mounts: root, shim: "CapEff:\t000001ffffffffff\n"},
		"ZombieOfUser": {status: "Uid:\t0\t1000\t0\t0\nState:\tZ (zombie)\n", mounts: root},
		"Traced":       {status: "TracerPid:\t12\n", mounts: root, kind: "traced"},
		"Waiting":      {status: "State:\tD (disk sleep)\n", mounts: root, kind: "uninterruptible"},
		"Nested":       {status: "NSpid:\t10\t7\t1\n", mounts: root, kind: "namespace", part: "pid"},
		"Volume":       {mounts: root + "21 20 8:1 /v /data\\040x rw - ext4 /dev/x rw\n", kind: "volume", part: `"/data\\040x"`},
		"VolumeRO":     {mounts: root + "21 20 8:1 /v /data ro - ext4 /dev/x rw\n"},
		"Hosts":        {mounts: root + "21 20 8:1 /v /etc/hosts rw - ext4 /dev/x rw\n"},
		"OwnTmpfs":     {mounts: root + "21 20 0:99 / /m rw - tmpfs tmpfs rw\n"},
		"NodesNetns":   {mounts: root + "21 20 0:4 net:[1] /v/netns rw - nsfs nsfs rw\n", kind: "mount", part: "/v/netns"},
		"NoOverlay":    {mounts: "20 1 8:1 /c / rw - ext4 /dev/x rw\n", kind: "rootfs", part: "ext4"},
		"Rings":        {mounts: root, maps: "7f-80 rw-s 00000000 00:0f 1051   anon_inode:[io_uring]\n", kind: "io_uring"},
		"SystemV":      {mounts: root, maps: "7f-80 rw-s 00000000 00:01 3    /SYSV00007265 (deleted)\n", kind: "sysv"},
		"HugePages":    {mounts: root, maps: "7f-80 rw-p 00000000 00:10 9    /anon_hugepage (deleted)\n", kind: "hugepages"},
		"Memory":       {mounts: root, maps: "7f-80 rw-p 00000000 00:00 0\n7f-80 r-xp 00000000 00:1e 9 /usr/bin/SYSV anon_inode:x\n"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			proc := t.TempDir()
			status := "Name:\ta\x1b[2J\nState:\tS (sleeping)\nPPid:\t9\nTracerPid:\t0\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nNSpid:\t10\t7\n"
			if tc.shim == "" {
				tc.shim = shim
			}
			for path, text := range map[string]string{
				"1/mountinfo": "1 0 8:1 / / rw - ext4 /dev/x rw\n", "9/status": tc.shim,
				// The process that is tried is not init, which the others are compared to.
				"10/status": status, "10/mountinfo": tc.mounts,
				"11/status": status + tc.status, "11/maps": tc.maps,
			} {
				write(t, filepath.Join(proc, path), text)
			}
			// There are no namespaces to enter.
			before := map[string]criu.Finding{"incomplete": {}}
			wants(t, before, look(t, proc, 10, 11), tc.kind, tc.part)
		})
	}
}

func TestPreflightIsBounded(t *testing.T) {
	proc := t.TempDir()
	processes := make([]int, 1500)
	for i := range processes {
		processes[i] = 10
	}
	write(t, filepath.Join(proc, "10/status"), "Name:\tx\nState:\tT (stopped)\n")
	found := look(t, proc, processes...)
	// On a slow machine the bound in time comes before the one in number.
	var seen int
	for part := range strings.SplitSeq(found["incomplete"].What, ", ") {
		_, _ = fmt.Sscanf(part, "only %d of 1500 processes", &seen)
	}
	if seen < 1 || seen > 1000 {
		t.Errorf("incomplete: %s", found["incomplete"].What)
	}
	if got, want := found["stopped"].What, fmt.Sprintf(`process 10 "x" and %d more`, seen-1); !strings.HasSuffix(got, want) {
		t.Errorf("stopped: %s, want %s", got, want)
	}
}

func TestPreflightOfNothing(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, ctx := range map[string]context.Context{"NoProcess": t.Context(), "Ended": ended} {
		_, err := criu.Preflight(ctx, criu.Subject{Init: 10, Proc: t.TempDir()})
		if !errors.Is(err, criu.ErrNoPreflight) {
			t.Errorf("%s: %v, want %v", name, err, criu.ErrNoPreflight)
		}
	}
}

func TestKinds(t *testing.T) {
	list := criu.Kinds()
	slices.Sort(list)
	if got := len(slices.Compact(list)); got != len(criu.Kinds()) {
		t.Error("a kind is there twice")
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func deleted(t *testing.T, data, length int64) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "a\tb"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	_, err = f.Write(make([]byte, data))
	if err := errors.Join(err, f.Truncate(max(data, length)), f.Sync(), os.Remove(f.Name())); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
}

func closing(t *testing.T, fd int, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
}

// pair returns two unix sockets that are connected with each other.
func pair(t *testing.T) [2]*os.File {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	files := [2]*os.File{os.NewFile(uintptr(fds[0]), "one"), os.NewFile(uintptr(fds[1]), "other")}
	t.Cleanup(func() { _, _ = files[0].Close(), files[1].Close() })
	return files
}

// outside gives one of them to a process that is not looked at.
func outside(t *testing.T) {
	t.Helper()
	files := pair(t)
	cmd := exec.CommandContext(t.Context(), "sleep", "60")
	cmd.ExtraFiles = []*os.File{files[1]}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	_ = files[1].Close()
}

func connect(t *testing.T) {
	t.Helper()
	var plain net.ListenConfig
	plain.SetMultipathTCP(false)
	l, err := plain.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
}

func signals(t *testing.T) {
	t.Helper()
	for _, call := range []func() (int, error){
		func() (int, error) { return unix.Eventfd(0, 0) },
		func() (int, error) { return unix.EpollCreate1(0) },
		func() (int, error) { return unix.TimerfdCreate(unix.CLOCK_MONOTONIC, 0) },
		func() (int, error) { return unix.PidfdOpen(os.Getpid(), 0) },
		func() (int, error) { return unix.MemfdCreate("x", 0) },
		func() (int, error) { return unix.InotifyInit1(0) },
	} {
		fd, err := call()
		closing(t, fd, err)
	}
}

func status(pid int) string {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return string(data)
}

func await(t *testing.T, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
	}
}
