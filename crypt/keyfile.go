package crypt

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// MaxKeyText bounds what is read of keys, in bytes.
const MaxKeyText = 64 << 10

// ErrKeyFile is returned for a file of keys that others could read or have written,
// or that is too long.
var ErrKeyFile = errors.New("a file of keys is a regular file of the superuser's with mode 0600 and at most 64 KiB")

// ReadKeyFile reads a file of keys; see [ParseKeys] for its form.
func ReadKeyFile(name string) (*Keys, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("read encryption keys: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read encryption keys: %w", err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 || st.Uid != uint32(os.Geteuid()) || info.Size() > MaxKeyText {
		return nil, fmt.Errorf("read encryption keys: %s: %w", name, ErrKeyFile)
	}
	text, err := io.ReadAll(io.LimitReader(f, MaxKeyText))
	defer clear(text)
	if err != nil {
		return nil, fmt.Errorf("read encryption keys: %w", err)
	}
	return ParseKeys(text)
}
