package handover

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rekindle-dev/rekindle/sockdiag"
)

// ErrClosed is returned by Wait when the sockets were closed meanwhile.
var ErrClosed = errors.New("held sockets are closed")

// Held are the sockets of a suspended container, open in this process. Its
// methods may be called from several goroutines; Wait from one at a time.
type Held struct {
	sockets []*socket
	diag    sockdiag.Conn
	// ready is an epoll of the sockets. It stands in the runtime's own poller,
	// so that waiting takes no thread.
	ready  *os.File
	poller syscall.RawConn
	byFD   map[int32]*socket

	// waiting is held by Wait, so that nothing is closed while it is used.
	waiting sync.Mutex

	mu     sync.Mutex
	woken  *Wake
	closed bool
	guests guests
}

func hold(t *taking, frozen time.Time) (_ *Held, err error) {
	h := &Held{diag: t.diag, byFD: make(map[int32]*socket, len(t.sockets))}
	for _, s := range t.sockets {
		h.sockets = append(h.sockets, s)
		h.byFD[int32(s.fd)] = s
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.Close())
		}
	}()
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("wait for sockets: %w", err)
	}
	if err := unix.SetNonblock(epoll, true); err != nil {
		return nil, errors.Join(fmt.Errorf("wait for sockets: %w", err), unix.Close(epoll))
	}
	h.ready = os.NewFile(uintptr(epoll), "epoll")
	if h.poller, err = h.ready.SyscallConn(); err != nil {
		return nil, fmt.Errorf("wait for sockets: %w", err)
	}
	for _, s := range h.sockets {
		if err := watch(epoll, s); err != nil {
			return nil, err
		}
	}
	return h, h.settle(epoll, frozen)
}

// watch has the epoll tell of a change of the socket, once for each.
func watch(epoll int, s *socket) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(s.fd)}
	if s.kind == stream {
		poll := []unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLOUT}}
		if n, err := unix.Poll(poll, 0); err == nil && n == 0 {
			s.blocked = true
			event.Events |= unix.EPOLLOUT
		}
	}
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, s.fd, &event); err != nil {
		return fmt.Errorf("wait for socket %d: %w", s.inode, err)
	}
	return nil
}

// settle looks at what is ready already. A container that is idle although a
// connection has something for it does not want it; the next packet counts.
func (h *Held) settle(epoll int, frozen time.Time) error {
	events := make([]unix.EpollEvent, max(1, len(h.sockets)))
	n, err := unix.EpollWait(epoll, events, 0)
	if err != nil {
		return fmt.Errorf("wait for sockets: %w", err)
	}
	for _, event := range events[:n] {
		s := h.byFD[event.Fd]
		if s.kind == stream && stale(s.fd, frozen) {
			continue
		}
		// Once more, for Wait to see.
		if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_DEL, s.fd, nil); err != nil {
			return fmt.Errorf("wait for socket %d: %w", s.inode, err)
		}
		if err := watch(epoll, s); err != nil {
			return err
		}
	}
	return nil
}

// unreadFor is how long before the freeze a connection has to have received what
// it has unread: somewhat longer than a busy program takes to read it.
const unreadFor = time.Second

// stale tells whether what a connection has unread has been there for long, or
// it is no connection (any more). It is read after the epoll was asked, so that
// what arrives meanwhile counts.
func stale(fd int, frozen time.Time) bool {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return false
	}
	received := time.Duration(info.Last_ack_recv) * time.Millisecond
	return info.State == stateClosed || received > time.Since(frozen)+unreadFor
}

// Sockets returns what is held.
func (h *Held) Sockets() []Socket {
	list := make([]Socket, 0, len(h.sockets))
	for _, s := range h.sockets {
		list = append(list, Socket{Inode: s.inode, FD: s.fd})
	}
	return list
}

// Describe says in words what is held, at most so many of them, listeners first.
func (h *Held) Describe(most int) []string {
	var list []string
	for _, s := range slices.SortedFunc(slices.Values(h.sockets), func(a, b *socket) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.inode, b.inode))
	}) {
		if len(list) == most {
			return append(list, fmt.Sprintf("%d more", len(h.sockets)-most))
		}
		list = append(list, s.words())
	}
	return list
}

// HandedOver ends the holding after the restored container has the sockets, and
// begins to relay the connections that were accepted here. It does not wait for
// their end.
func (h *Held) HandedOver() {
	_ = h.release()
	h.guests.relay()
}

// Close ends the holding. Connections that nobody else has open are cut.
// Closing again, or after HandedOver, does nothing.
func (h *Held) Close() error {
	err := h.release()
	h.guests.dismiss()
	return err
}

// release closes the sockets, after a Wait under way has returned.
func (h *Held) release() error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	if h.ready != nil {
		h.interrupt()
	}
	h.mu.Unlock()
	h.waiting.Lock()
	defer h.waiting.Unlock()
	var err error
	if h.ready != nil {
		err = h.ready.Close()
	}
	for _, s := range h.sockets {
		err = errors.Join(err, unix.Close(s.fd))
	}
	h.diag.Close()
	return err
}
