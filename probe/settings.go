package probe

import (
	"encoding/binary"
	"io"
)

// headerSize is that of the head of an HTTP/2 frame: 3 bytes of length, a type,
// flags, and a stream.
const headerSize = 9

// unacknowledged reads what an HTTP/2 client says without the first
// acknowledgement of settings, and from then on as it is.
type unacknowledged struct {
	from io.Reader
	// left is how much of what was begun is still to be passed on.
	left int
	// head is the head of a frame, or what is left of it.
	head []byte
	done bool
}

func (u *unacknowledged) Read(p []byte) (int, error) {
	for u.left == 0 && len(u.head) == 0 && !u.done {
		if err := u.next(); err != nil {
			return 0, err
		}
	}
	if len(u.head) > 0 {
		n := copy(p, u.head)
		u.head = u.head[n:]
		return n, nil
	}
	if !u.done {
		p = p[:min(len(p), u.left)]
	}
	n, err := u.from.Read(p)
	if !u.done {
		u.left -= n
	}
	return n, err
}

// next reads the head of a frame, and drops an acknowledgement.
func (u *unacknowledged) next() error {
	const settings, ack = 0x4, 0x1
	head := make([]byte, headerSize)
	if n, err := io.ReadFull(u.from, head); err != nil {
		u.head, u.done = head[:n], true
		if n > 0 {
			return nil
		}
		return err
	}
	length := int(binary.BigEndian.Uint32(head) >> 8)
	if head[3] == settings && head[4]&ack != 0 && length == 0 {
		u.done = true
		return nil
	}
	u.head, u.left = head, length
	return nil
}
