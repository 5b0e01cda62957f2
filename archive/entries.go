package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
)

// entries reads a tar file, and knows its end from where it was cut off: a file
// that ends between two entries is a whole one to the library.
type entries struct {
	*tar.Reader

	from *counted
}

func newEntries(r io.Reader) *entries {
	c := &counted{r: r}
	return &entries{tar.NewReader(c), c}
}

// endMark is the length of the zeroes with which a tar file ends.
const endMark = 1024

// Next goes on to the next entry; it returns io.EOF at the end alone.
func (e *entries) Next() (*tar.Header, error) {
	// What is left of the entry before is read here, so that what Next reads is
	// less than a block of padding, and a header or the end.
	if _, err := io.Copy(io.Discard, e.Reader); err != nil {
		return nil, fmt.Errorf("read entry: %w", err)
	}
	before := e.from.n
	head, err := e.Reader.Next()
	if errors.Is(err, io.EOF) && e.from.n-before < endMark {
		return nil, refuse("it is cut off")
	}
	return head, err
}
