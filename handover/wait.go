package handover

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Cause is what a socket had to say.
type Cause string

// Causes.
const (
	// Connection: somebody waits in the backlog of a listener.
	Connection Cause = "connection"
	// Data on a connection, or a datagram or message.
	Data Cause = "data"
	// Ended: the other end of a connection has closed it.
	Ended Cause = "end of connection"
	// Failed: a connection was reset, or timed out.
	Failed Cause = "failed connection"
	// Writable: the container waited for room to write, and there is some.
	Writable Cause = "room to write"
)

// Wake is the first socket that had something to say.
type Wake struct {
	Cause Cause
	// Local and Remote are the addresses, where the socket has such.
	Local, Remote netip.AddrPort
}

// String returns what a person should read.
func (w Wake) String() string {
	s := string(w.Cause)
	if w.Remote.IsValid() {
		s += " from " + w.Remote.String()
	}
	if w.Local.IsValid() {
		s += " to " + w.Local.String()
	}
	return s
}

// Wait returns the first event that the container has to be woken for. From then
// on it returns the same one at once. With probes it answers what they say
// meanwhile, and leaves everybody else's connections where they are. While
// nothing happens it costs nothing.
func (h *Held) Wait(ctx context.Context, probes *Probes) (Wake, error) {
	h.waiting.Lock()
	defer h.waiting.Unlock()
	defer context.AfterFunc(ctx, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.interrupt()
	})()
	events := make([]unix.EpollEvent, 16)
	for {
		switch wake, err := h.state(ctx); {
		case err != nil:
			return Wake{}, err
		case wake != nil:
			return *wake, nil
		}
		n, err := h.poll(events)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, os.ErrClosed):
			continue // state knows why
		case err != nil:
			return Wake{}, fmt.Errorf("wait for sockets: %w", err)
		}
		for _, event := range events[:n] {
			h.look(h.byFD[event.Fd], event.Events, probes)
		}
	}
}

func (h *Held) state(ctx context.Context) (*Wake, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return nil, ErrClosed
	case h.woken != nil:
		return h.woken, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	}
	// An earlier interruption is over.
	return nil, h.ready.SetReadDeadline(time.Time{})
}

// interrupt has a Wait under way look at the state again. The caller has changed
// that, and holds the lock.
func (h *Held) interrupt() { _ = h.ready.SetReadDeadline(time.Unix(1, 0)) }

// wake ends the wait; the first cause is kept.
func (h *Held) wake(w Wake) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.woken == nil {
		h.woken = &w
	}
	h.interrupt()
}

// poll waits for events of the epoll.
func (h *Held) poll(events []unix.EpollEvent) (n int, err error) {
	waited := h.poller.Read(func(fd uintptr) bool {
		for {
			n, err = unix.EpollWait(int(fd), events, 0)
			if !errors.Is(err, unix.EINTR) {
				return n > 0 || err != nil
			}
		}
	})
	return n, errors.Join(err, waited)
}

// look decides what an event of a socket means.
func (h *Held) look(s *socket, events uint32, probes *Probes) {
	if s.kind == listener {
		h.knock(s, probes)
		return
	}
	w := Wake{Cause: causeOf(s, events)}
	if s.kind == stream || s.kind == datagram {
		w.Local, w.Remote = ends(s.fd)
	}
	h.wake(w)
}

func causeOf(s *socket, events uint32) Cause {
	switch {
	case s.kind == unixListener:
		return Connection
	case events&unix.EPOLLERR != 0:
		return Failed
	case events&(unix.EPOLLRDHUP|unix.EPOLLHUP) != 0:
		return Ended
	case events&unix.EPOLLIN != 0:
		return Data
	}
	return Writable
}
