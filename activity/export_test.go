package activity

import (
	"net/netip"
	"time"
)

// Ledger, Socket and the parsers are tested without a kernel to fill them.
type (
	Ledger = ledger
	Socket = socket
)

var NewLedger = newLedger

func NewSocket(cookie uint64, local, remote string, received, sent uint64) Socket {
	return socket{
		cookie: cookie, inode: uint32(cookie), state: stateEstablished,
		local: netip.MustParseAddrPort(local), remote: netip.MustParseAddrPort(remote), received: received, sent: sent,
	}
}

func (s socket) HalfClosed() Socket {
	s.state = stateCloseWait
	return s
}

// Account is a look at which the node has the address 10.0.0.1.
func (l *ledger) Account(now time.Time, gone, live []Socket, sessions bool) Traffic {
	return l.account(now, gone, live, surroundings{
		node: map[netip.Addr]bool{netip.MustParseAddr("10.0.0.1"): true}, sessions: sessions,
		owns: func(s socket) bool { return s.local.Port() != 9999 },
	})
}

func ParseSocket(data []byte) bool {
	_, ok := parseSocket(data)
	return ok
}

func ParseProcess(line string) (int, time.Duration, error) {
	p, err := parseProcess([]byte(line))
	return p.parent, p.cpu, err
}

var ParseTimer = parseTimer
