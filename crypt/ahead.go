package crypt

import (
	"errors"
	"io"
)

const (
	// pieceSize is how much is decrypted at a time, and pieces how many may wait
	// until they are written.
	pieceSize = 1 << 20
	pieces    = 4
)

// ahead reads on while what was read is being used: decrypting and writing take
// about as long as each other.
type ahead struct {
	full chan piece
	free chan []byte
	done chan struct{}
	now  piece
}

// piece is some of what was read, and what came after it.
type piece struct {
	data, buf []byte
	err       error
}

// readAhead begins to read. stop has to be called in the end.
func readAhead(r io.Reader) *ahead {
	a := &ahead{full: make(chan piece, pieces), free: make(chan []byte, pieces), done: make(chan struct{})}
	for range pieces {
		a.free <- make([]byte, pieceSize)
	}
	go a.fill(r)
	return a
}

func (a *ahead) fill(r io.Reader) {
	defer close(a.full)
	for {
		select {
		case <-a.done:
			return
		case buf := <-a.free:
			n, err := io.ReadFull(r, buf)
			if errors.Is(err, io.ErrUnexpectedEOF) {
				err = io.EOF
			}
			a.full <- piece{buf[:n], buf, err} // has room for all pieces
			if err != nil {
				return
			}
		}
	}
}

// Read returns what was read, and then the error that ended it.
func (a *ahead) Read(p []byte) (int, error) {
	for len(a.now.data) == 0 {
		if a.now.err != nil {
			return 0, a.now.err
		}
		if a.now.buf != nil {
			a.free <- a.now.buf // has room for all pieces
		}
		a.now = <-a.full
	}
	n := copy(p, a.now.data)
	a.now.data = a.now.data[n:]
	return n, nil
}

// stop ends the reading, and returns when it has.
func (a *ahead) stop() {
	close(a.done)
	for range a.full { // until it is closed
	}
}
