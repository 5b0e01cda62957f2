package store

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Bounds of the logs of one node. The size of one is that of a dump of a few
// dozen processes at CRIU's highest verbosity.
const (
	// MaxLog is how many bytes of one log are kept: its beginning and its end.
	MaxLog  = 256 << 10
	maxLogs = 4096
	maxHead = 16 << 10
)

// maxLogBytes bounds all logs of a node together; a variable for tests.
var maxLogBytes int64 = 256 << 20

const (
	logsDir = "logs"
	logExt  = ".log"
)

// ErrNoLog means that there is no such log, or none any more.
var ErrNoLog = errors.New("no such log")

// LogHead says of which operation a log is. What is in it is never a path.
type LogHead struct {
	// ID is set by [Store.KeepLog]. It comes after the id of every earlier log.
	ID string `json:"id"`
	// Time is that of KeepLog unless another is given.
	Time time.Time `json:"time"`
	// Namespace, Pod and Container name the container over its restarts.
	Namespace   string `json:"namespace"`
	Pod         string `json:"pod"`
	Container   string `json:"container"`
	ContainerID string `json:"containerId"`
	// Action is checkpoint or restore.
	Action string `json:"action"`
	// Outcome is what came of it, and Reason why.
	Outcome string `json:"outcome"`
	Reason  string `json:"reason"`
	// Failed is set when the log says what went wrong.
	Failed bool `json:"failed,omitempty"`
	// Checkpoint is the id of the one that was made or restored; empty when a
	// checkpoint was not made.
	Checkpoint string `json:"checkpoint,omitempty"`

	size int64
}

// of tells whether two logs are of the same container.
func (h LogHead) of(o LogHead) bool {
	return h.Namespace == o.Namespace && h.Pod == o.Pod && h.Container == o.Container
}

// oplog knows the logs that are kept, the oldest first. Each is a file of its
// own, named by its id: the head as one line of JSON, then the text.
type oplog struct {
	mu    sync.Mutex
	heads []LogHead
	bytes int64
}

// KeepLog keeps the log of an operation, or its beginning and end when it is
// long. Of one container the last keep logs stay, which is at least 1, and
// beside them the last one that failed; of all containers the newest that fit
// the bounds of a node. Logs outlive the containers they are about. They are not
// synced: a power cut may take the last ones.
func (s *Store) KeepLog(h LogHead, text []byte, keep int) error {
	id, err := s.logID()
	if err != nil {
		return &Error{Op: "keep log", Err: err}
	}
	if h.ID = id; h.Time.IsZero() {
		h.Time = s.now()
	}
	h.Time = h.Time.UTC().Round(0)
	h.Reason = clip(h.Reason)
	head, err := json.Marshal(h)
	if err != nil {
		return &Error{Op: "keep log", Err: err}
	}
	data := append(append(head, '\n'), ends(text)...)
	h.size = int64(len(data))
	s.logs.mu.Lock()
	defer s.logs.mu.Unlock()
	if err := s.writeLog(id, data); err != nil {
		return &Error{Op: "keep log", ID: id, Err: err}
	}
	s.logs.heads = append(s.logs.heads, h)
	s.logs.bytes += h.size
	if err := s.dropLogs(s.logs.surplus(h, max(keep, 1))); err != nil {
		return &Error{Op: "keep log", ID: id, Err: err}
	}
	return nil
}

// Logs returns the heads of the logs that ok accepts, the newest first.
func (s *Store) Logs(ok func(LogHead) bool) []LogHead {
	s.logs.mu.Lock()
	defer s.logs.mu.Unlock()
	var found []LogHead
	for _, h := range slices.Backward(s.logs.heads) {
		if ok(h) {
			found = append(found, h)
		}
	}
	return found
}

// ReadLog returns the text of a log, or [ErrNoLog].
func (s *Store) ReadLog(id string) ([]byte, error) {
	if !validID(id) {
		return nil, &Error{Op: "read log", Err: fmt.Errorf("%.40q: %w", id, ErrBadID)}
	}
	_, text, err := s.openLog(id)
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrNoLog
	}
	if err != nil {
		return nil, &Error{Op: "read log", ID: id, Err: err}
	}
	return text, nil
}

// ExpireLogs removes the logs of operations before that time.
func (s *Store) ExpireLogs(before time.Time) error {
	s.logs.mu.Lock()
	defer s.logs.mu.Unlock()
	var old []string
	for _, h := range s.logs.heads {
		if h.Time.Before(before) {
			old = append(old, h.ID)
		}
	}
	if err := s.dropLogs(old); err != nil {
		return &Error{Op: "expire logs", Err: err}
	}
	return nil
}

// logID takes the next id. The lock order is mu before logs.mu, so it is
// released again.
func (s *Store) logID() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return "", ErrClosed
	}
	id, err := nextID(s.last, s.now())
	if err != nil {
		return "", err
	}
	s.last = id
	return id.String(), nil
}

// surplus names the logs that have to go for the newest one, which is of h's
// container.
func (l *oplog) surplus(newest LogHead, keep int) []string {
	var ids []string
	count, failed := 0, false
	for _, h := range slices.Backward(l.heads) {
		if !h.of(newest) {
			continue
		}
		count++
		if count > keep && (failed || !h.Failed) {
			ids = append(ids, h.ID)
		}
		failed = failed || h.Failed
	}
	left, bytes := len(l.heads), l.bytes
	for _, h := range l.heads {
		if left <= maxLogs && bytes <= maxLogBytes {
			break
		}
		ids = append(ids, h.ID)
		left, bytes = left-1, bytes-h.size
	}
	return ids
}

// dropLogs removes logs. The caller holds logs.mu.
func (s *Store) dropLogs(ids []string) error {
	var failed error
	for _, id := range ids {
		if err := s.root.Remove(logPath(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = errors.Join(failed, fmt.Errorf("remove log: %w", err))
			continue
		}
		if i := slices.IndexFunc(s.logs.heads, func(h LogHead) bool { return h.ID == id }); i >= 0 {
			s.logs.bytes -= s.logs.heads[i].size
			s.logs.heads = slices.Delete(s.logs.heads, i, i+1)
		}
	}
	return failed
}

func logPath(id string) string { return path.Join(logsDir, id+logExt) }

// writeLog makes the file in one step, so that none is ever seen in part by
// another process.
func (s *Store) writeLog(id string, data []byte) error {
	name := logPath(id)
	f, err := s.root.OpenFile(name+tempExt, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return fmt.Errorf("create file: %w", err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = s.root.Rename(name+tempExt, name)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write file: %w", err), s.root.Remove(name+tempExt))
	}
	return nil
}

// openLog reads a log.
func (s *Store) openLog(id string) (h LogHead, text []byte, err error) {
	f, err := s.root.OpenFile(logPath(id), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return h, nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxLog+maxHead))
	if err != nil {
		return h, nil, fmt.Errorf("read file: %w", err)
	}
	head, text, _ := bytes.Cut(data, []byte("\n"))
	if err := json.Unmarshal(head, &h); err != nil || h.ID != id {
		return h, nil, fmt.Errorf("%w: head is not readable", ErrNoLog)
	}
	h.size = int64(len(data))
	return h, text, nil
}

// recoverLogs learns of the logs that earlier processes have kept. What is none
// is removed.
func (s *Store) recoverLogs() error {
	names, err := s.names(logsDir)
	if err != nil {
		return err
	}
	slices.Sort(names)
	sound := map[string]bool{}
	for _, name := range names {
		id, isLog := strings.CutSuffix(name, logExt)
		if !isLog || !validID(id) {
			continue
		}
		h, err := s.readHead(id)
		if err != nil {
			s.report(logPath(id), err)
			continue
		}
		sound[name] = true
		s.logs.heads = append(s.logs.heads, h)
		s.logs.bytes += h.size
	}
	if n := len(s.logs.heads); n > 0 {
		if id, err := parseID(s.logs.heads[n-1].ID); err == nil && id.Compare(s.last) > 0 {
			s.last = id
		}
	}
	return s.sweep(logsDir, func(name string) bool { return sound[name] })
}

// readHead reads no more than the first line.
func (s *Store) readHead(id string) (h LogHead, err error) {
	f, err := s.root.OpenFile(logPath(id), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return h, fmt.Errorf("open log: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return h, fmt.Errorf("examine log: %w", err)
	}
	line, err := bufio.NewReaderSize(io.LimitReader(f, maxHead), maxHead).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &h)
	}
	if err != nil || h.ID != id || !info.Mode().IsRegular() {
		return h, fmt.Errorf("%w: head is not readable", ErrNoLog)
	}
	h.size = info.Size()
	return h, nil
}

// ends cuts the middle out of a text that is too long: what was asked for
// stands at the beginning of a log, and what went wrong at the end.
func ends(text []byte) []byte {
	if len(text) <= MaxLog {
		return text
	}
	gap := fmt.Appendf(nil, "\n[… %d bytes are left out …]\n", len(text)-MaxLog)
	half := (MaxLog - len(gap)) / 2
	return slices.Concat(text[:half], gap, text[len(text)-half:])
}
