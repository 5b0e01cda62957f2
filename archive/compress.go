package archive

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// Starts by which a compressed file is known.
var (
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
	gzipMagic = []byte{0x1f, 0x8b}
)

// zstdWindow bounds the memory that decompressing takes, in bytes. It is what the
// zstd program uses at most, unless it is asked for more.
const zstdWindow = 8 << 20

// plain returns a reader of what r holds, compressed or not. The ratio of limits
// holds for what comes out of it. Nothing is left when close has been called.
func plain(r io.Reader, limits Limits) (_ io.Reader, closed func(), err error) {
	in := &counted{r: r}
	buffered := bufio.NewReaderSize(in, 64<<10)
	start, err := buffered.Peek(4)
	if err != nil && len(start) < 2 {
		return nil, nil, fmt.Errorf("read: %w", err)
	}
	switch {
	case bytes.HasPrefix(start, zstdMagic):
		d, err := zstd.NewReader(buffered, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(zstdWindow), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, nil, fmt.Errorf("open zstd: %w", err)
		}
		return &unpacked{r: d, in: in, ratio: limits.Ratio}, d.Close, nil
	case bytes.HasPrefix(start, gzipMagic):
		d, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, nil, fmt.Errorf("open gzip: %w", err)
		}
		return &unpacked{r: d, in: in, ratio: limits.Ratio}, func() { _ = d.Close() }, nil
	}
	return buffered, func() {}, nil
}

// packed returns a writer that compresses, if asked, and what ends it.
func packed(w io.Writer, compress bool) (io.Writer, func() error, error) {
	if !compress {
		return w, func() error { return nil }, nil
	}
	// One goroutine: the same input has the same output, and the node has other
	// things to do.
	e, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(4<<20))
	if err != nil {
		return nil, nil, fmt.Errorf("open zstd: %w", err)
	}
	return e, e.Close, nil
}
