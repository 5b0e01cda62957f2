package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// file is the log on disk: path is the newest part, path.1 the one before, and
// so on. It has one user at a time.
type file struct {
	path string
	// size is how large a part may become, in bytes; parts is how many there
	// are, with the newest.
	size  int64
	parts int

	now     *os.File
	written int64
}

// append writes one line. After an error the file is opened anew the next time.
func (f *file) append(line []byte) error {
	err := f.ready(int64(len(line)))
	if err == nil {
		var n int
		n, err = f.now.Write(line)
		f.written += int64(n)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write audit log: %w", err), f.close())
	}
	return nil
}

// ready sees to it that the newest part is open, is still what stands at its
// path, and has room for n bytes.
func (f *file) ready(n int64) error {
	if f.now != nil && f.moved() {
		if err := f.close(); err != nil {
			return err
		}
	}
	if f.now == nil {
		if err := f.open(); err != nil {
			return err
		}
	}
	if f.written == 0 || f.written+n <= f.size {
		return nil
	}
	if err := errors.Join(f.close(), f.rotate()); err != nil {
		return err
	}
	return f.open()
}

// moved tells whether somebody else has renamed or removed the file.
func (f *file) moved() bool {
	ours, err := f.now.Stat()
	if err != nil {
		return true
	}
	there, err := os.Lstat(f.path)
	return err != nil || !os.SameFile(ours, there)
}

// open opens the newest part, and makes it if there is none. What is there has
// to be a regular file of ours: nothing is written through a link, and nothing
// waits for the other end of a pipe.
func (f *file) open() error {
	if err := os.MkdirAll(filepath.Dir(f.path), 0o700); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	now, err := os.OpenFile(f.path, os.O_RDWR|os.O_APPEND|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return err
	}
	info, err := now.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", f.path)
	}
	if err == nil && info.Mode().Perm() != 0o600 {
		err = now.Chmod(0o600)
	}
	if err == nil {
		err = endLine(now, info.Size())
	}
	if err != nil {
		return errors.Join(err, now.Close())
	}
	f.now, f.written = now, info.Size()
	return nil
}

// endLine ends a line that was cut off, by a full disk or a crash.
func endLine(now *os.File, size int64) error {
	if size == 0 {
		return nil
	}
	last := make([]byte, 1)
	if _, err := now.ReadAt(last, size-1); err != nil {
		return fmt.Errorf("read end of file: %w", err)
	}
	if last[0] == '\n' {
		return nil
	}
	_, err := now.Write([]byte{'\n'})
	return err
}

// rotate renames each part to the next older one; the oldest goes.
func (f *file) rotate() error {
	for i := f.parts - 1; i > 0; i-- {
		if err := os.Rename(f.part(i-1), f.part(i)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("rotate: %w", err)
		}
	}
	if f.parts == 1 {
		if err := os.Remove(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("rotate: %w", err)
		}
	}
	return nil
}

func (f *file) part(i int) string {
	if i == 0 {
		return f.path
	}
	return f.path + "." + strconv.Itoa(i)
}

func (f *file) close() error {
	if f.now == nil {
		return nil
	}
	err := f.now.Close()
	f.now, f.written = nil, 0
	if err != nil {
		return fmt.Errorf("close audit log: %w", err)
	}
	return nil
}
