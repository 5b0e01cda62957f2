package activity

import "time"

// What a probe of the kubelet looks like: it has a connection of its own, which is
// closed when the answer is there, and asks the same each time.
const (
	// longestProbe is how long a probe may take; one that takes longer is traffic.
	longestProbe = 10 * time.Second
	// mostAsked and mostAnswered bound the data of a probe, in bytes.
	mostAsked, mostAnswered = 4 << 10, 64 << 10
	// rarest is the longest time between two probes that are known to be alike.
	rarest = 5 * time.Minute
	// perSecond is how many probes of one port are made in a second at most: the
	// kubelet makes each of its three kinds once a second at most.
	perSecond = 3
	// mostKinds bounds how many kinds of probes are remembered.
	mostKinds = 64
)

// kind is what probes alike have in common: the port that is asked, and how many
// bytes were asked. What is answered may have a time in it.
type kind struct {
	port  uint16
	asked uint64
	// client is set for the asking end of a connection within the pod.
	client bool
}

// kindOf sorts a connection. The end that asks has the higher port, for it was
// given one that nobody chose.
func kindOf(s socket) kind {
	local, remote := s.local.Port(), s.remote.Port()
	if within(s) && local > remote {
		return kind{remote, s.sent, true}
	}
	return kind{local, s.received, false}
}

// within tells whether a connection is one of the pod with itself.
func within(s socket) bool {
	return s.remote.Addr().IsLoopback() || s.remote.Addr() == s.local.Addr()
}

// probable tells whether a connection is small enough for a probe.
func probable(s socket) bool {
	k := kindOf(s)
	return k.asked <= mostAsked && s.bytes()-k.asked <= mostAnswered
}

// probes knows which short connections from where probes come from are probes: those
// like which there were some before, and not more often than the kubelet makes them.
type probes struct {
	last map[kind]time.Time
	// left is how many more may be taken for probes of a port before the next look.
	left map[uint16]float64
	// allowed is what each port has at first.
	allowed float64
	at      time.Time
}

func newProbes() probes { return probes{last: map[kind]time.Time{}} }

// advance begins a look at what happened since the one before.
func (p *probes) advance(now time.Time) {
	for k, last := range p.last {
		if now.Sub(last) > rarest {
			delete(p.last, k)
		}
	}
	p.left = map[uint16]float64{}
	// Both ends of a connection within the pod are counted.
	p.allowed = 2 * perSecond * (1 + now.Sub(p.at).Seconds())
	p.at = now
}

// is tells whether a connection that has ended was a probe. The first of a kind is
// not, for it may be anything.
func (p *probes) is(now time.Time, s socket) bool {
	if !probable(s) {
		return false
	}
	k := kindOf(s)
	_, known := p.last[k]
	if known || len(p.last) < mostKinds {
		p.last[k] = now
	}
	return known && p.spend(k.port)
}

// spend takes one from what a port may have.
func (p *probes) spend(port uint16) bool {
	left, known := p.left[port]
	if !known {
		left = p.allowed
	}
	p.left[port] = left - 1
	return left >= 1
}
