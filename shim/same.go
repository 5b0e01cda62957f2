package shim

import (
	"bytes"

	"golang.org/x/sys/unix"
)

// same returns an error unless an entry of two directories is the same in both:
// of one type, and a regular file of one content. Memory that was dumped
// together with one content must not meet another.
func same(to, from int, name string, want *unix.Stat_t) error {
	var got unix.Stat_t
	if err := unix.Fstatat(to, name, &got, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if got.Mode&unix.S_IFMT != want.Mode&unix.S_IFMT {
		return errDiffers
	}
	if want.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil
	}
	if got.Size != want.Size {
		return errDiffers
	}
	a, err := openFile(to, name)
	if err != nil {
		return err
	}
	defer unix.Close(a)
	b, err := openFile(from, name)
	if err != nil {
		return err
	}
	defer unix.Close(b)
	return sameData(a, b)
}

func sameData(a, b int) error {
	one, other := make([]byte, 1<<20), make([]byte, 1<<20)
	for pos := int64(0); ; {
		n, err := unix.Pread(a, one, pos)
		if err != nil {
			return err
		}
		m, err := unix.Pread(b, other, pos)
		if err != nil {
			return err
		}
		if !bytes.Equal(one[:n], other[:m]) {
			return errDiffers
		}
		if n == 0 {
			return nil
		}
		pos += int64(n)
	}
}

func openFile(dir int, name string) (int, error) {
	return unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
}
