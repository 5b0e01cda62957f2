package activity

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rekindle-dev/rekindle/sockdiag"
)

// Watch looks at the network of one container. It holds sockets of the pod's network
// namespace, which stays until Close. It is not for concurrent use.
type Watch struct {
	init int
	// ask is for questions; told has what the kernel tells by itself, and is closed
	// while so much happens that nobody needs to be told.
	ask      sockdiag.Conn
	told     sockdiag.Events
	ledger   *ledger
	owners   owners
	last     counters
	lastLook time.Time
	// listed is set once the sockets were listed.
	listed bool
}

// Open begins to watch the container with that init. processes lists the processes
// of the container; it is asked for when a socket is new.
func Open(init int, processes func() ([]int, error)) (*Watch, error) {
	w := &Watch{
		init: init, ledger: newLedger(),
		owners: owners{processes: processes, inodes: map[uint32]bool{}, ports: map[uint16]bool{}},
	}
	var err error
	if w.ask, err = sockdiag.Open(init); err != nil {
		return nil, err
	}
	return w, nil
}

// Close gives the sockets free.
func (w *Watch) Close() {
	w.ask.Close()
	w.told.Close()
}

// listen has the kernel tell of connections that end.
func (w *Watch) listen() (err error) {
	if !w.told.IsOpen() {
		w.told, err = sockdiag.Listen(w.init, destroyed, keptEvents)
	}
	return err
}

// Network is what happened in the network since the last look.
type Network struct {
	Traffic
	// Datagrams is how many UDP packets the pod has sent and received, whichever of
	// its containers did.
	Datagrams uint64
	// Many is set when so many connections were opened, or there are so many, that
	// they were not looked at one by one.
	Many bool
}

// Look tells what happened since the last look; the first one tells nothing. node
// has the addresses of the node, from where the kubelet's probes come. sessions is
// set when an exec session was begun in the container lately, for an exec probe may
// connect to the container from within.
//
// The kernel's counters of the pod say at little cost whether anything happened at
// all. Only if so, and there are connections, are they listed.
func (w *Watch) Look(node map[netip.Addr]bool, sessions bool) (Network, error) {
	now := time.Now()
	c, err := readCounters(w.init)
	if err != nil {
		return Network{}, err
	}
	before, first := w.last, w.lastLook.IsZero()
	passed := now.Sub(w.lastLook)
	w.last, w.lastLook = c, now
	if first {
		return Network{}, errors.Join(w.listen(), w.account(now, nil, surroundings{node: node}, &Network{}))
	}
	n := Network{Datagrams: c.datagrams - min(before.datagrams, c.datagrams)}
	if c.segments == before.segments && c.opened == before.opened {
		return n, w.listen()
	}
	// Each probe opens one connection, or two when both its ends are in the pod.
	// Who has more has traffic, and telling of each would cost the node.
	if opened := c.opened - min(before.opened, c.opened); opened > uint64(2*perSecond*(1+passed.Seconds()))*mostPorts {
		w.told.Close()
		n.Many = true
		return n, nil
	}
	gone, err := w.gone()
	if errors.Is(err, sockdiag.ErrTooMany) {
		n.Many = true
		return n, w.listen()
	}
	if err != nil {
		return n, err
	}
	return n, w.account(now, gone, surroundings{node: node, sessions: sessions}, &n)
}

// mostPorts is of how many ports the probes are expected, when it is only counted
// how many connections were opened.
const mostPorts = 4

// gone returns the connections that have ended since the last look. When nobody
// listened, they are not known.
func (w *Watch) gone() (gone []socket, err error) {
	if !w.told.IsOpen() {
		return nil, sockdiag.ErrTooMany
	}
	err = w.told.Read(func(message []byte) {
		if s, ok := parseSocket(message); ok && s.remote.Port() != 0 { // that one was never connected
			gone = append(gone, s)
		}
	})
	return gone, err
}

// account lists the connections, if there may be any, and compares.
func (w *Watch) account(now time.Time, gone []socket, around surroundings, n *Network) error {
	var live []socket
	if !w.listed || w.last.established > 0 || len(w.ledger.known) > 0 || w.strange(gone) {
		var listening []socket
		err := w.list(func(s socket) {
			if s.state == stateListen {
				listening = append(listening, s)
			} else {
				live = append(live, s)
			}
		})
		if errors.Is(err, sockdiag.ErrTooMany) {
			n.Many = true
			return nil
		}
		if err != nil {
			return err
		}
		w.listed = true
		w.owners.begin(live, listening)
	}
	around.owns = w.owners.owns
	n.Traffic = w.ledger.account(now, gone, live, around)
	return nil
}

// strange tells whether one of the connections was to a port of which is not known
// who listens there.
func (w *Watch) strange(gone []socket) bool {
	for _, s := range gone {
		if _, known := w.owners.ports[s.local.Port()]; !known {
			return true
		}
	}
	return false
}

func (w *Watch) list(visit func(socket)) error {
	if inUse(w.init, "sockstat", "TCP:") {
		if err := list(w.ask, unix.AF_INET, visit); err != nil {
			return err
		}
	}
	if inUse(w.init, "sockstat6", "TCP6:") {
		return list(w.ask, unix.AF_INET6, visit)
	}
	return nil
}

// NodeAddresses returns the addresses of the network namespace that the caller is
// in, which is the node's, but for those that every pod has too.
func NodeAddresses() (map[netip.Addr]bool, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	addresses := map[netip.Addr]bool{}
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil && !p.Addr().IsLoopback() {
			addresses[p.Addr().Unmap()] = true
		}
	}
	return addresses, nil
}
