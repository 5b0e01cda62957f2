package handover

import (
	"context"
	"io"
	"net"
	"sync"
	"time"
)

// Answer looks at a connection of the node and answers it if it is a probe: it
// is closed then. If it is not, rest is what the client has sent and will send,
// from the first byte on. Answer returns in bounded time.
type Answer func(conn net.Conn) (answered bool, rest io.Reader)

const (
	// mostGuests is how many connections of the node are looked at or wait for the
	// container at a time. Further ones stay in the backlog.
	mostGuests = 32
	// dialTimeout bounds how long the woken container may take to accept one.
	dialTimeout = 10 * time.Second
)

// guests are connections that were accepted here because they come from the
// node, and are no probes. They are relayed to the container when it runs.
type guests struct {
	mu       sync.Mutex
	looking  int
	waiting  []guest
	relaying bool
	gone     bool
}

type guest struct {
	conn net.Conn
	rest io.Reader
}

func (g *guests) room() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.looking+len(g.waiting) < mostGuests
}

// admit has a connection looked at, and calls wake if it is no probe.
func (g *guests) admit(conn net.Conn, answer Answer, wake func()) {
	g.mu.Lock()
	g.looking++
	g.mu.Unlock()
	go func() {
		answered, rest := answer(conn)
		g.mu.Lock()
		g.looking--
		g.mu.Unlock()
		if answered {
			_ = conn.Close()
			return
		}
		g.keep(conn, rest)
		wake()
	}()
}

// keep has a connection wait for the container, or relays it if that runs
// already.
func (g *guests) keep(conn net.Conn, rest io.Reader) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.gone:
		_ = conn.Close()
	case g.relaying:
		go relay(conn, rest)
	default:
		g.waiting = append(g.waiting, guest{conn, rest})
	}
}

// relay connects those who wait with the container, which runs now.
func (g *guests) relay() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.relaying = true
	for _, one := range g.waiting {
		go relay(one.conn, one.rest)
	}
	g.waiting = nil
}

// dismiss cuts those who wait. Who is relayed goes on.
func (g *guests) dismiss() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.gone = !g.relaying
	for _, one := range g.waiting {
		_ = one.conn.Close()
	}
	g.waiting = nil
}

// relay connects a client with the address that it wanted, from the node as it
// did, and copies in both directions until both have ended.
func relay(client net.Conn, rest io.Reader) {
	defer func() { _ = client.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	server, err := (&net.Dialer{}).DialContext(ctx, "tcp", client.LocalAddr().String())
	if err != nil {
		return // the client sees its connection end, as without us
	}
	defer func() { _ = server.Close() }()
	_ = client.SetDeadline(time.Time{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		pour(server, rest)
	}()
	pour(client, server)
	<-done
}

// pour copies to the end and passes the end on.
func pour(to net.Conn, from io.Reader) {
	_, err := io.Copy(to, from)
	if half, ok := to.(interface{ CloseWrite() error }); ok && err == nil {
		_ = half.CloseWrite()
		return
	}
	// One direction is broken, and so is the connection.
	_ = to.Close()
}
