package sockdiag

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// answerTimeout bounds the wait for each answer of the kernel.
	answerTimeout = 500 * time.Millisecond
	// answerSize is what the kernel puts into one answer at most, in bytes.
	answerSize = 32 << 10
	// byFamily is the kernel's SOCK_DIAG_BY_FAMILY: the type of the one question that
	// there is, and of each socket in the answers and events.
	byFamily = 20
)

// ErrTooMany is returned when there are more sockets than were to be listed.
var ErrTooMany = errors.New("list sockets: there are too many")

// buffers are few, for namespaces are looked at one after the other mostly.
var buffers = sync.Pool{New: func() any { return new([answerSize]byte) }}

// Conn asks for the sockets of one network namespace, whatever the thread does that
// uses it. The zero value is closed. One question is asked at a time.
type Conn struct{ fd int }

// Open opens one in the network namespace of a process.
func Open(pid int) (c Conn, err error) {
	err = In(pid, func() (err error) {
		c, err = OpenHere()
		return err
	})
	return c, err
}

// OpenHere opens one in the network namespace of the calling thread.
func OpenHere() (Conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return Conn{}, fmt.Errorf("ask for sockets: %w", err)
	}
	timeout := unix.NsecToTimeval(int64(answerTimeout))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return Conn{}, errors.Join(fmt.Errorf("ask for sockets: %w", err), unix.Close(fd))
	}
	return Conn{fd}, nil
}

// IsOpen tells whether it was opened and not closed.
func (c Conn) IsOpen() bool { return c.fd != 0 }

// Close closes it; closing again does nothing.
func (c *Conn) Close() {
	if c.fd != 0 {
		_ = unix.Close(c.fd)
		c.fd = 0
	}
}

// Ask sends a request, a struct of the kernel's, and calls each with every socket of
// the answer, of which most bytes are read: each is such a struct and its attributes,
// valid until the call returns.
func (c Conn) Ask(request []byte, most int, each func(message []byte)) error {
	header := make([]byte, unix.SizeofNlMsghdr, unix.SizeofNlMsghdr+len(request))
	binary.NativeEndian.PutUint32(header[0:], uint32(len(header)+len(request)))
	binary.NativeEndian.PutUint16(header[4:], byFamily)
	binary.NativeEndian.PutUint16(header[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	if err := unix.Sendto(c.fd, append(header, request...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("ask for sockets: %w", err)
	}
	buffer := buffers.Get().(*[answerSize]byte)
	defer buffers.Put(buffer)
	for total := 0; ; {
		n, _, err := unix.Recvfrom(c.fd, buffer[:], 0)
		if err != nil {
			return fmt.Errorf("list sockets: %w", err)
		}
		if total += n; total > most {
			return ErrTooMany
		}
		messages, err := syscall.ParseNetlinkMessage(buffer[:n])
		if err != nil {
			return fmt.Errorf("list sockets: %w", err)
		}
		for _, m := range messages {
			switch m.Header.Type {
			case unix.NLMSG_DONE:
				return nil
			case unix.NLMSG_ERROR:
				return fmt.Errorf("list sockets: %w", errnoOf(m.Data))
			}
			each(m.Data)
		}
	}
}

func errnoOf(data []byte) error {
	if len(data) < 4 {
		return unix.EPROTO
	}
	return unix.Errno(-int32(binary.NativeEndian.Uint32(data)))
}

// Attributes goes through the attributes behind a struct of the kernel's: their kinds
// and values. It ends at the first that is cut off.
func Attributes(rest []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(rest) >= unix.SizeofNlAttr {
			length, kind := int(binary.NativeEndian.Uint16(rest)), binary.NativeEndian.Uint16(rest[2:])
			if length < unix.SizeofNlAttr || length > len(rest) || !yield(kind, rest[unix.SizeofNlAttr:length]) {
				return
			}
			rest = rest[min(len(rest), (length+3)&^3):]
		}
	}
}
