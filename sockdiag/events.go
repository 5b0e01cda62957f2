package sockdiag

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// Events are what the kernel tells by itself of the sockets of a network namespace. The
// zero value is closed.
type Events struct{ fd int }

// Listen has the kernel tell, in the network namespace of a process, of what groups
// say, a bit for each; kept is how much is kept until it is read, in bytes.
func Listen(pid int, groups uint32, kept int) (e Events, err error) {
	err = In(pid, func() (err error) {
		e, err = listenHere(groups, kept)
		return err
	})
	return e, err
}

func listenHere(groups uint32, kept int) (Events, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return Events{}, fmt.Errorf("listen to sockets: %w", err)
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, kept),
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}))
	if err != nil {
		return Events{}, errors.Join(fmt.Errorf("listen to sockets: %w", err), unix.Close(fd))
	}
	return Events{fd}, nil
}

// IsOpen tells whether it was opened and not closed.
func (e Events) IsOpen() bool { return e.fd != 0 }

// Close closes it; closing again does nothing.
func (e *Events) Close() {
	if e.fd != 0 {
		_ = unix.Close(e.fd)
		e.fd = 0
	}
}

// Read calls each with every socket that the kernel has told of since, as
// [Conn.Ask] does. It does not wait. When more was told than is kept, it fails with
// ErrTooMany.
func (e Events) Read(each func(message []byte)) error {
	buffer := buffers.Get().(*[answerSize]byte)
	defer buffers.Put(buffer)
	for {
		n, _, err := unix.Recvfrom(e.fd, buffer[:], unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case errors.Is(err, unix.ENOBUFS):
			return ErrTooMany
		case err != nil:
			return fmt.Errorf("hear of sockets: %w", err)
		}
		messages, err := syscall.ParseNetlinkMessage(buffer[:n])
		if err != nil {
			return fmt.Errorf("hear of sockets: %w", err)
		}
		for _, m := range messages {
			if m.Header.Type == byFamily {
				each(m.Data)
			}
		}
	}
}
