package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	// maxLogLine is how many bytes of a line are looked at together.
	maxLogLine = 64 << 10
	// maxLogRead bounds one look, in bytes, so that a container which logs
	// without end costs the daemon little.
	maxLogRead = 4 << 20
)

// logSearch looks for a text in the log of a container, which grows and is
// rotated meanwhile. Its lines are those of CRI: time, stream, tag, text. What
// the runtime has cut into several lines is looked at line by line.
type logSearch struct {
	path string
	text []byte

	file *os.File
	// line is what has been read of a line that is not complete.
	line []byte
	// cut is set when the beginning of that line was dropped.
	cut bool
}

// seen reads on, and tells whether the text has been found.
func (s *logSearch) seen() (bool, error) {
	if s.file == nil {
		if err := s.open(); err != nil {
			return false, err
		}
	}
	buf := make([]byte, 64<<10)
	for read := 0; read < maxLogRead; {
		n, err := s.file.Read(buf)
		if s.feed(buf[:n]) {
			return true, nil
		}
		read += n
		if errors.Is(err, io.EOF) {
			return false, s.follow()
		}
		if err != nil {
			return false, fmt.Errorf("read log: %w", err)
		}
	}
	return false, nil
}

// open opens the log; only a plain file is one.
func (s *logSearch) open() error {
	if !filepath.IsAbs(s.path) {
		return fmt.Errorf("open log: %q is not an absolute path", s.path)
	}
	f, err := os.OpenFile(s.path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	if err != nil {
		return errors.Join(fmt.Errorf("open log %s: %w", s.path, err), f.Close())
	}
	s.file, s.line, s.cut = f, nil, false
	return nil
}

// follow goes over to a new file when the log was rotated.
func (s *logSearch) follow() error {
	now, err := os.Lstat(s.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil // in the middle of the rotation
	}
	if err != nil {
		return fmt.Errorf("examine log: %w", err)
	}
	mine, err := s.file.Stat()
	if err != nil {
		return fmt.Errorf("examine log: %w", err)
	}
	if !os.SameFile(mine, now) {
		s.close()
	}
	return nil
}

func (s *logSearch) close() {
	if s.file != nil {
		_ = s.file.Close()
		s.file = nil
	}
}

// feed takes the next bytes of the log.
func (s *logSearch) feed(data []byte) bool {
	for len(data) > 0 {
		part, rest, ended := bytes.Cut(data, []byte("\n"))
		data = rest
		s.line = append(s.line, part...)
		if !ended && len(s.line) < maxLogLine {
			continue
		}
		if bytes.Contains(s.message(), s.text) {
			return true
		}
		s.line, s.cut = s.line[:0], !ended
	}
	return false
}

// message returns the line without time, stream and tag.
func (s *logSearch) message() []byte {
	text := s.line
	if s.cut {
		return text
	}
	for range 3 {
		_, rest, found := bytes.Cut(text, []byte(" "))
		if !found {
			return nil
		}
		text = rest
	}
	return text
}
