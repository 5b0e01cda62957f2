package criu

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// onThread calls f on a thread that f may change for good: it ends afterwards.
func onThread(f func()) {
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
		onThread(f)
	}()
	<-done
}
