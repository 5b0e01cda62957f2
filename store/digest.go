package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"
)

// errChanged is about a file that is not the one that was scanned.
var errChanged = errors.New("changed while it was read")

// digestChunk is how much is read between two looks at the context.
const digestChunk = 1 << 20

// reading says how a file is read; the zero value: as fast as it goes.
type reading struct {
	// pace bounds the bytes a second; its burst is at least digestChunk.
	pace *rate.Limiter
	// cold has the file read from the disk, and not left in the page cache.
	cold bool
}

// digestFile returns the SHA-256 of a regular file found by a scan, and makes
// sure that it is that file and has the size it had.
func digestFile(ctx context.Context, root *os.Root, e entry, r reading) (string, error) {
	f, err := root.OpenFile(e.Path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", fmt.Errorf("open file: %w", err)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return "", fmt.Errorf("examine file: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Dev != e.dev || st.Ino != e.ino || st.Size != e.Size {
		return "", errChanged
	}
	if r.cold {
		dropCache(f)
		defer dropCache(f)
	}
	h := sha256.New()
	var total int64
	buf := make([]byte, min(digestChunk, e.Size+1))
	for {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		if r.pace != nil {
			if err := r.pace.WaitN(ctx, len(buf)); err != nil {
				return "", err
			}
		}
		n, err := f.Read(buf)
		h.Write(buf[:n])
		if total += int64(n); total > e.Size {
			return "", errChanged
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", fmt.Errorf("read file: %w", err)
		}
	}
	if total != e.Size {
		return "", errChanged
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// dropCache is advice; a page that is dirty or in use stays.
func dropCache(f *os.File) { _ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) }
