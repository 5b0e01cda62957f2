package shim

import (
	"errors"
	"fmt"
	"os"

	"github.com/containerd/fifo"
	"golang.org/x/sys/unix"
)

// holdLogs opens the FIFOs into which a container writes its log, so that
// containerd does not take the end of the processes for the end of the log. They
// are opened for reading too: then a writer that is opened later need not wait
// for containerd, which may be restarting. They must be closed when the container
// runs again or has ended, or its end would never be seen.
func holdLogs(paths ...string) (held []*os.File, err error) {
	defer func() {
		if err != nil {
			(&sleep{logs: held}).free()
		}
	}()
	for _, path := range paths {
		is, err := fifo.IsFifo(path)
		if errors.Is(err, os.ErrNotExist) || err == nil && !is {
			continue // a file, a program, or nothing at all
		}
		if err != nil {
			return held, fmt.Errorf("look at the log: %w", err)
		}
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return held, fmt.Errorf("hold the log open: %w", err)
		}
		held = append(held, os.NewFile(uintptr(fd), path))
	}
	return held, nil
}
