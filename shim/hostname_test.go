package shim

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// utsNamespace makes a UTS namespace with a name, and returns its path.
func utsNamespace(t *testing.T, name string) string {
	t.Helper()
	made, end := make(chan int), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		if unix.Unshare(unix.CLONE_NEWUTS) != nil || unix.Sethostname([]byte(name)) != nil {
			made <- 0
			return
		}
		made <- unix.Gettid()
		<-end
	}()
	tid := <-made
	if tid == 0 {
		t.Skip("needs root")
	}
	t.Cleanup(func() { close(end) })
	return fmt.Sprintf("/proc/self/task/%d/ns/uts", tid)
}

func nameIn(t *testing.T, path string) string {
	t.Helper()
	ns, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(ns)
	var names unix.Utsname
	must(t, inUTS(ns, func() error { return unix.Uname(&names) }))
	return unix.ByteSliceToString(names.Nodename[:])
}

func TestKeepHostname(t *testing.T) {
	mine, err := os.Hostname()
	must(t, err)
	path := utsNamespace(t, "clone")
	back, err := keepHostname(path)
	must(t, err)
	ns, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(ns)
	must(t, inUTS(ns, func() error { return unix.Sethostname([]byte("source")) }))
	must(t, back())
	if got := nameIn(t, path); got != "clone" {
		t.Errorf("the name in the namespace is %s, want clone", got)
	}
	if got, err := os.Hostname(); err != nil || got != mine {
		t.Errorf("our own name is %s, %v, want %s", got, err, mine)
	}
}

func TestKeepHostnameOfNothing(t *testing.T) {
	back, err := keepHostname("")
	must(t, err)
	must(t, back())
	if _, err := keepHostname("/proc/self/ns/none"); err == nil {
		t.Error("a namespace that is not there was accepted")
	}
}
