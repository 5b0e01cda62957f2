package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"time"

	"github.com/rekindle-dev/rekindle/fail"
)

const (
	marksExt    = ".json"
	maxMarks    = 64 << 10
	maxFailures = 16
	maxReason   = 1024
)

// Marks is what changes about a checkpoint after it was committed. The zero
// value is that of a new one.
type Marks struct {
	// ClaimedBy is the sandbox or pod that the checkpoint was given to, if it
	// may be given only once.
	ClaimedBy string `json:"claimedBy,omitempty"`
	// Attempts counts the restores that have not settled.
	Attempts int `json:"attempts,omitempty"`
	// Failures are the last restores that failed, oldest first; 16 at most.
	Failures []Failure `json:"failures,omitempty"`
	// Completed means that the container ended as it should after this
	// checkpoint, so that there is nothing to come back to.
	Completed bool `json:"completed,omitempty"`
	// Restores counts all restores that were ordered from this checkpoint.
	Restores int `json:"restores,omitempty"`
	// Shared means that the pod it was taken from lets others be cloned from it.
	Shared bool `json:"shared,omitempty"`
	// Pinned keeps the checkpoint from being removed.
	Pinned bool `json:"pinned,omitempty"`
}

// Failure is one failed restore.
type Failure struct {
	Time   time.Time `json:"time"`
	Reason string    `json:"reason"`
}

// Marks returns the marks of a checkpoint, the zero value if it has none, and
// [ErrNotFound] if there is no such checkpoint. Marks that cannot be read are
// [ErrCorrupt]: a checkpoint of unknown history is better not used.
func (s *Store) Marks(id string) (Marks, error) {
	if err := s.exists(id); err != nil {
		return Marks{}, &Error{Op: "read marks", ID: id, Err: err}
	}
	m, err := s.readMarks(id)
	if err != nil {
		return Marks{}, &Error{Op: "read marks", ID: id, Err: err}
	}
	return m, nil
}

// Update changes the marks of a checkpoint and syncs them. fn gets the present
// marks and changes them in place; calls for all checkpoints run one after the
// other, so fn may read and decide, and must not call the store. If fn fails,
// nothing changes and its error is returned.
func (s *Store) Update(id string, fn func(*Marks) error) error {
	s.marksMu.Lock()
	defer s.marksMu.Unlock()
	if err := s.exists(id); err != nil {
		return &Error{Op: "update marks", ID: id, Err: err}
	}
	m, err := s.readMarks(id)
	if err != nil {
		return &Error{Op: "update marks", ID: id, Err: err}
	}
	if err := fn(&m); err != nil {
		return err
	}
	m.bound()
	data, err := json.Marshal(m)
	if err == nil {
		err = fail.MarksWrite.Hit()
	}
	if err == nil {
		err = s.writeFile(marksPath(id), append(data, '\n'))
	}
	if err != nil {
		return &Error{Op: "update marks", ID: id, Err: err}
	}
	return nil
}

// bound keeps marks small, however often a restore fails.
func (m *Marks) bound() {
	m.Failures = m.Failures[max(len(m.Failures)-maxFailures, 0):]
	for i := range m.Failures {
		m.Failures[i].Reason = clip(m.Failures[i].Reason)
	}
	m.ClaimedBy = clip(m.ClaimedBy)
	m.Attempts = max(m.Attempts, 0)
}

func marksPath(id string) string { return path.Join(marksDir, id+marksExt) }

func (s *Store) exists(id string) error {
	if _, err := parseID(id); err != nil {
		return err
	}
	_, err := s.locate(id)
	return err
}

func (s *Store) readMarks(id string) (Marks, error) {
	f, err := s.root.Open(marksPath(id))
	if errors.Is(err, fs.ErrNotExist) {
		return Marks{}, nil
	}
	if err != nil {
		return Marks{}, fmt.Errorf("open marks: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxMarks+1))
	if err != nil {
		return Marks{}, fmt.Errorf("read marks: %w", err)
	}
	return parseMarks(data)
}

// parseMarks reads what Update wrote, and refuses what it cannot have written.
func parseMarks(data []byte) (Marks, error) {
	var m Marks
	if len(data) > maxMarks {
		return Marks{}, fmt.Errorf("%w: marks are too large", ErrCorrupt)
	}
	if err := json.Unmarshal(data, &m); err != nil || m.Attempts < 0 {
		return Marks{}, fmt.Errorf("%w: marks are not readable", ErrCorrupt)
	}
	m.bound()
	return m, nil
}

// dropMarks removes the marks of a checkpoint that is gone.
func (s *Store) dropMarks(id string) error {
	s.marksMu.Lock()
	defer s.marksMu.Unlock()
	if err := s.root.Remove(marksPath(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove marks: %w", err)
	}
	return nil
}
