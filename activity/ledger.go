package activity

import (
	"fmt"
	"net/netip"
	"time"
)

// Traffic is what connections carried between two looks, without probes.
type Traffic struct {
	// Bytes is the data, in both directions together.
	Bytes uint64
	// Connections is how many connections were opened; Probes is how many more
	// were taken for probes.
	Connections, Probes int
	// Busiest describes the connection that carried most of it; empty when there
	// was none.
	Busiest string

	most uint64
}

// add counts data of one connection.
func (t *Traffic) add(s socket, bytes uint64) {
	t.Bytes += bytes
	if t.Busiest == "" || bytes > t.most {
		t.most, t.Busiest = bytes, describe(s)
	}
}

// open counts a connection that was not there before, with its data.
func (t *Traffic) open(s socket) {
	t.Connections++
	t.add(s, s.bytes())
}

func describe(s socket) string {
	return fmt.Sprintf("between %s and port %d here", s.remote, s.local.Port())
}

// connection is one that was seen at an earlier look.
type connection struct {
	socket
	first, last time.Time
	// trial is set while it may still turn out to be a probe.
	trial bool
}

// ledger keeps the connections of a container from look to look.
type ledger struct {
	known  map[uint64]*connection
	probes probes
	// started is set once there was a look to compare with.
	started bool
}

func newLedger() *ledger { return &ledger{known: map[uint64]*connection{}, probes: newProbes()} }

// surroundings are what tells a probe apart.
type surroundings struct {
	// node has the addresses of the node.
	node map[netip.Addr]bool
	// sessions is set when an exec session was begun lately, so that a connection
	// within the pod may be that of an exec probe.
	sessions bool
	// owns tells whether a connection is one of the container's.
	owns func(socket) bool
}

// mayProbe tells whether a connection comes from where probes come from.
func (s surroundings) mayProbe(c socket) bool {
	return s.node[c.remote.Addr()] || within(c) && s.sessions
}

// account compares the connections there are, and those that have ended since,
// with what is known from before.
func (l *ledger) account(now time.Time, gone, live []socket, around surroundings) Traffic {
	var t Traffic
	l.probes.advance(now)
	for _, s := range gone {
		l.close(now, s, around, &t)
	}
	seen := map[uint64]bool{}
	for _, s := range live {
		seen[s.cookie] = true
		l.see(now, s, around, &t)
	}
	for cookie, c := range l.known {
		// What became of it was lost, or is still to be told.
		if !seen[cookie] && now.Sub(c.last) > forgotten {
			delete(l.known, cookie)
		}
	}
	if !l.started {
		l.started = true
		return Traffic{}
	}
	return t
}

// forgotten is how long a connection is kept of which nothing is known any more.
const forgotten = time.Minute

// close accounts for a connection that has ended.
func (l *ledger) close(now time.Time, s socket, around surroundings, t *Traffic) {
	c := l.known[s.cookie]
	delete(l.known, s.cookie)
	switch {
	case c != nil && !c.trial:
		t.add(s, s.bytes()-min(s.bytes(), c.bytes()))
	case c != nil && l.probes.is(now, s), c == nil && around.mayProbe(s) && l.probes.is(now, s):
		t.Probes++
	case c != nil || around.owns(s):
		t.open(s)
	}
}

// see accounts for a connection that there is.
func (l *ledger) see(now time.Time, s socket, around surroundings, t *Traffic) {
	c := l.known[s.cookie]
	if c == nil {
		if !around.owns(s) {
			return
		}
		c = &connection{socket: s, first: now, last: now, trial: l.started && around.mayProbe(s)}
		l.known[s.cookie] = c
		if !c.trial {
			t.open(s)
		}
		return
	}
	switch {
	case c.trial && probable(s) && (now.Sub(c.first) < longestProbe || s.state != stateEstablished):
	case c.trial:
		c.trial = false
		t.open(s)
	case s.bytes() > c.bytes():
		t.add(s, s.bytes()-c.bytes())
	}
	c.socket, c.last = s, now
}
