package handover

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rekindle-dev/rekindle/sockdiag"
)

// Bounds of what is looked at in one container.
const (
	// mostSockets is how many sockets are held at most; each takes a descriptor
	// here, and in the executor and CRIU while the container is being restored.
	mostSockets = 4096
	// mostFiles is how many descriptors of all processes are looked at.
	mostFiles = 65536
)

// Terms say how sockets are taken.
type Terms struct {
	// Frozen is when the freeze of the container began. What a connection had
	// received unread by then is no news for [Held.Wait].
	Frozen time.Time
	// CloseConnections: established TCP connections are closed rather than held,
	// and what cannot be held and can be closed is no reason not to.
	CloseConnections bool
}

// Take duplicates the sockets of processes that are frozen, those of a whole
// container, each once, however many processes and descriptors share it. The
// processes are not changed. The error is a *Refusal when there is a socket that
// cannot be handed over. The caller closes what it gets.
func Take(ctx context.Context, pids []int, terms Terms) (*Held, error) {
	t, err := collect(ctx, pids)
	if err != nil {
		return nil, err
	}
	if terms.CloseConnections {
		t.closeConnections()
	}
	if len(t.left) > 0 {
		t.close()
		return nil, &Refusal{t.left}
	}
	return hold(t, terms.Frozen)
}

// Look says which sockets of the processes Take would leave. It changes nothing,
// and the processes may run.
func Look(ctx context.Context, pids []int, terms Terms) ([]Left, error) {
	t, err := collect(ctx, pids)
	if err != nil {
		return nil, err
	}
	defer t.close()
	if terms.CloseConnections {
		t.closeConnections()
	}
	return t.left, nil
}

// closeConnections lets go of what need not be held.
func (t *taking) closeConnections() {
	for inode, s := range t.sockets {
		if s.kind == stream {
			_ = unix.Close(s.fd)
			delete(t.sockets, inode)
		}
	}
	t.left = slices.DeleteFunc(t.left, func(l Left) bool { return l.Reason.Closes() })
}

// taking is the look through the processes.
type taking struct {
	sockets map[uint64]*socket
	left    []Left
	files   int
	diag    sockdiag.Conn
}

func collect(ctx context.Context, pids []int) (_ *taking, err error) {
	t := &taking{sockets: map[uint64]*socket{}}
	defer func() {
		if err != nil {
			t.close()
		}
	}()
	for _, pid := range pids {
		if !t.diag.IsOpen() {
			// All processes of a container are in one network namespace.
			if t.diag, err = sockdiag.Open(pid); gone(err) {
				continue
			} else if err != nil {
				return nil, err
			}
		}
		if err := t.process(ctx, pid); err != nil {
			return nil, err
		}
	}
	if err := t.settleUnix(); err != nil {
		return nil, err
	}
	// What remains for CRIU's image need not stay open here.
	for inode, s := range t.sockets {
		if s.kind == inImage {
			_ = unix.Close(s.fd)
			delete(t.sockets, inode)
		}
	}
	return t, nil
}

func (t *taking) close() {
	for _, s := range t.sockets {
		_ = unix.Close(s.fd)
	}
	t.diag.Close()
}

// gone tells whether a process, or one of its descriptors, has ended meanwhile.
func gone(err error) bool {
	return errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EBADF)
}

// process takes the sockets of one process.
func (t *taking) process(ctx context.Context, pid int) error {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if gone(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open process %d: %w", pid, err)
	}
	defer func() { _ = unix.Close(pidfd) }()
	dir, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), "fd"))
	if gone(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list descriptors of process %d: %w", pid, err)
	}
	defer func() { _ = dir.Close() }()
	names, err := dir.Readdirnames(mostFiles - t.files + 1)
	if err != nil && len(names) == 0 {
		return nil // it has none, or has ended
	}
	if t.files += len(names); t.files > mostFiles {
		t.leave(TooMany, where(pid))
		return nil
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("take sockets of process %d: %w", pid, context.Cause(ctx))
		}
		if err := t.descriptor(pid, pidfd, dir, name); err != nil {
			return fmt.Errorf("take socket of process %d: %w", pid, err)
		}
	}
	return nil
}

// descriptor takes a descriptor if it is a socket that has not been seen.
func (t *taking) descriptor(pid, pidfd int, dir *os.File, name string) error {
	target := make([]byte, 64)
	n, err := unix.Readlinkat(int(dir.Fd()), name, target)
	if err != nil {
		return nil // closed meanwhile
	}
	inode, ok := inodeOf(string(target[:n]))
	if !ok || t.sockets[inode] != nil {
		return nil
	}
	theirs, err := strconv.Atoi(name)
	if err != nil {
		return nil
	}
	if len(t.sockets) >= mostSockets {
		t.leave(TooMany, where(pid))
		return nil
	}
	fd, err := unix.PidfdGetfd(pidfd, theirs, 0)
	if gone(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("duplicate descriptor %d: %w", theirs, err)
	}
	s := &socket{fd: fd, where: where(pid)}
	var reason Reason
	if s.inode, err = inodeOfFD(fd); err == nil {
		s.kind, reason, err = classify(fd)
	}
	if err != nil || s.inode != inode {
		_ = unix.Close(fd)
		return err
	}
	if reason != "" {
		t.leave(reason, s.where)
	}
	s.passing = passing(pid, name)
	t.sockets[inode] = s
	return nil
}

// mostLeft bounds how many sockets are told of that are left.
const mostLeft = 16

func (t *taking) leave(reason Reason, where string) {
	l := Left{Reason: reason, Where: where}
	for _, known := range t.left {
		if known == l {
			return
		}
	}
	if len(t.left) < mostLeft {
		t.left = append(t.left, l)
	}
}

// inodeOf reads "socket:[inode]".
func inodeOf(target string) (uint64, bool) {
	number, ok := strings.CutPrefix(target, "socket:[")
	if !ok {
		return 0, false
	}
	inode, err := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 64)
	return inode, err == nil
}

func inodeOfFD(fd int) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, fmt.Errorf("read socket's inode: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return 0, errors.New("not a socket")
	}
	return st.Ino, nil
}

// where names a process; its command is the tenant's and may be anything.
func where(pid int) string {
	comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return fmt.Sprintf("process %d (%.32q)", pid, strings.TrimSpace(string(comm)))
}

// passing tells whether descriptors are on their way through a unix socket.
func passing(pid int, fd string) bool {
	info, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%s", pid, fd))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(info)) {
		if number, ok := strings.CutPrefix(line, "scm_fds:"); ok {
			return strings.TrimSpace(number) != "0"
		}
	}
	return false
}
