package archive

import (
	"errors"
	"fmt"
	"io"
)

// ErrRefused is returned for a file that no tool would write, or that is larger
// than it may be.
var ErrRefused = errors.New("refused")

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrRefused}, args...)...)
}

// Limits bound what reading an archive may take.
type Limits struct {
	// Bytes is how much may be unpacked in all.
	Bytes int64
	// Entries is how many files and directories there may be, of all kinds.
	Entries int
	// Ratio is how many times its size a compressed file may unpack to.
	Ratio int64
}

// ratioSlack is what is unpacked before the ratio counts: a few zeroes shrink to
// almost nothing.
const ratioSlack = 64 << 20

const (
	// maxText bounds a file that is read into memory: a spec, or claims.
	maxText = 4 << 20
	// maxPath bounds a name in a tree, in bytes.
	maxPath = 4096
)

// budget is what is left of the limits.
type budget struct {
	bytes   int64
	entries int
}

func (b *budget) entry() error {
	if b.entries--; b.entries < 0 {
		return refuse("it has too many entries")
	}
	return nil
}

func (b *budget) spend(n int64) error {
	if n < 0 || n > b.bytes {
		return refuse("it unpacks to more than is allowed")
	}
	b.bytes -= n
	return nil
}

// counted counts what is read through it, of the file as it is.
type counted struct {
	r io.Reader
	n int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// unpacked bounds what comes out of a decompressor by what went into it.
type unpacked struct {
	r     io.Reader
	in    *counted
	out   int64
	ratio int64
}

func (u *unpacked) Read(p []byte) (int, error) {
	n, err := u.r.Read(p)
	u.out += int64(n)
	if u.out > ratioSlack && u.out > u.in.n*u.ratio {
		return n, refuse("it unpacks to more than %d times its size", u.ratio)
	}
	return n, err
}
