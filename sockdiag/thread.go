package sockdiag

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// OnThread calls f on a thread that f may change for good: it ends afterwards.
func OnThread(f func()) {
	done := make(chan struct{})
	go func() {
		// A thread ends with a goroutine that is locked to it.
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			defer close(done)
			f()
			return
		}
		// But not the first one, which stands for the process in /proc. While it is
		// occupied here, another goroutine runs on another one.
		defer runtime.UnlockOSThread()
		defer close(done)
		OnThread(f)
	}()
	<-done
}

// In calls f on a thread of its own, in the network namespace of a process.
func In(pid int, f func() error) error {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	defer ns.Close()
	OnThread(func() {
		if err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			err = fmt.Errorf("enter network namespace: %w", err)
			return
		}
		err = f()
	})
	return err
}
