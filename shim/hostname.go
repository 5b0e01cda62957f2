package shim

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// keepHostname remembers the host and domain name in a UTS namespace, that of
// the pod: CRIU joins it and sets in it what the names were at the dump, for the
// pod's other containers too. The returned function brings the names back. An
// empty path stands for no namespace to keep.
func keepHostname(path string) (back func() error, err error) {
	if path == "" {
		return func() error { return nil }, nil
	}
	ns, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the pod's UTS namespace: %w", err)
	}
	var names unix.Utsname
	if err := inUTS(ns, func() error { return unix.Uname(&names) }); err != nil {
		_ = unix.Close(ns)
		return nil, fmt.Errorf("read the pod's host name: %w", err)
	}
	return func() error {
		defer unix.Close(ns)
		err := inUTS(ns, func() error {
			if err := unix.Sethostname([]byte(unix.ByteSliceToString(names.Nodename[:]))); err != nil {
				return err
			}
			return unix.Setdomainname([]byte(unix.ByteSliceToString(names.Domainname[:])))
		})
		if err != nil {
			return fmt.Errorf("bring the pod's host name back: %w", err)
		}
		return nil
	}, nil
}

// inUTS calls f on a thread that is in a UTS namespace, and that ends with it.
func inUTS(ns int, f func() error) error {
	done := make(chan error)
	go func() {
		// Never unlocked, so that no other goroutine gets the thread.
		runtime.LockOSThread()
		err := unix.Setns(ns, unix.CLONE_NEWUTS)
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}
