package agent

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/containerd/log"

	"github.com/rekindle-dev/rekindle/activity"
	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/conf"
	"github.com/rekindle-dev/rekindle/criu"
	"github.com/rekindle-dev/rekindle/policy"
)

// eye looks at one running container, and remembers what it saw last.
type eye struct {
	agent *Agent
	t     *tracked
	pid   int
	// watch is nil until the first look.
	watch *activity.Watch

	at time.Time
	// cpu is the container's CPU time but for dumps, own that of its own processes.
	cpu, own time.Duration
	disk     uint64
	sessions uint64
	// open is set while an exec session is open.
	open bool
	// probed is when an exec session was begun last, as far as it was seen.
	probed time.Time
}

func newEye(a *Agent, t *tracked) *eye { return &eye{agent: a, t: t, pid: t.running()} }

func (e *eye) close() {
	if e.watch != nil {
		e.watch.Close()
		e.watch = nil
	}
}

// look tells what was seen since the last look; the first one sees nothing.
func (e *eye) look(now time.Time, idle policy.Idleness) ([]seen, error) {
	first := e.watch == nil
	if first {
		w, err := activity.Open(e.pid, e.processes)
		if err != nil {
			return nil, err
		}
		e.watch = w
	}
	passed := now.Sub(e.at)
	e.at = now
	session := e.session(now, min(longProbe, idle.After))
	network, err := e.watch.Look(e.agent.nodeAddresses(), now.Sub(e.probed) < rarestProbe)
	if err != nil {
		return nil, err
	}
	cpu, disk, err := e.use(passed, idle)
	if err != nil || first {
		return nil, err
	}
	return []seen{cpu, connections(network, passed, idle.Traffic), datagrams(network), disk, session}, nil
}

// rarestProbe is how long after an exec session exec probes are still expected.
const rarestProbe = 5 * time.Minute

func (e *eye) processes() ([]int, error) {
	f, err := criu.FreezerOf(e.pid)
	if err != nil {
		return nil, err
	}
	return f.Processes()
}

// use tells how much CPU time and disk I/O there was. Exec probes are in the
// container's control group, too; when there are any, only the container's own
// processes count. A dump runs within the container, and does not count either.
func (e *eye) use(passed time.Duration, idle policy.Idleness) (cpu, disk seen, err error) {
	total, err := criu.CPUTime(e.pid)
	if err != nil {
		return cpu, disk, err
	}
	total -= e.t.dumpCost()
	pids, err := e.processes()
	if err != nil {
		return cpu, disk, err
	}
	own, err := activity.UseOf(e.pid, pids)
	counted := err == nil
	if !counted { // there are too many of them
		own = activity.Use{CPU: total, Disk: e.disk}
	}
	own.CPU -= e.t.dumpCost()
	used := permille(total-e.cpu, passed)
	if counted && used > idle.CPU && e.at.Sub(e.probed) < rarestProbe {
		used = permille(own.CPU-e.own, passed)
	}
	rate := perSecond(own.Disk-min(e.disk, own.Disk), passed)
	e.cpu, e.own, e.disk = total, own.CPU, own.Disk
	return seen{signalCPU, fmt.Sprintf("%dm", used), fmt.Sprintf("up to %dm", idle.CPU), used > idle.CPU},
		seen{signalDisk, bytesPerSecond(rate), "up to " + bytesPerSecond(quietDisk), rate > quietDisk}, nil
}

// session tells whether an exec session is open that is none of a probe, for it is
// open for long, and notes whether one was begun.
func (e *eye) session(now time.Time, long time.Duration) seen {
	var s api.Sessions
	_ = e.t.dir.Read(&s) // there is none before the first session
	if s.Begun != e.sessions {
		e.sessions, e.probed = s.Begun, now
	}
	value, loud := "none", false
	if e.open = s.Open > 0; e.open {
		open := now.Sub(s.Since)
		value, loud = fmt.Sprintf("open for %s", rounded(open)), open >= long
	}
	return seen{signalSession, value, "none for " + words(long), loud}
}

// timer tells whether a timer is due within that time.
func (e *eye) timer(within time.Duration) seen {
	pids, _ := e.processes()
	due, found := activity.NextTimer(pids)
	value := "none seen"
	if found {
		value = fmt.Sprintf("due in %s", rounded(due))
	}
	return seen{signalTimer, value, "none within " + words(within), found && due < within}
}

func connections(n activity.Network, passed time.Duration, most conf.Size) seen {
	s := seen{name: signalConnections, most: "up to " + bytesPerSecond(most.Bytes())}
	rate := perSecond(n.Bytes, passed)
	switch {
	case n.Many:
		s.value, s.loud = "more of them than are looked at", true
	case n.Bytes == 0 && n.Connections == 0:
		s.value = "nothing"
	default:
		s.value = fmt.Sprintf("%s, %d new, the busiest %s", bytesPerSecond(rate), n.Connections, n.Busiest)
		s.loud = rate > most.Bytes() || most == 0
	}
	if n.Probes > 0 {
		s.value += fmt.Sprintf(", beside %d of probes", n.Probes)
	}
	return s
}

func datagrams(n activity.Network) seen {
	return seen{signalDatagrams, fmt.Sprintf("%d in the pod", n.Datagrams), "none", n.Datagrams > 0}
}

func permille(used, passed time.Duration) int {
	if passed <= 0 {
		return 0
	}
	return int(max(0, used) * 1000 / passed)
}

func perSecond(n uint64, passed time.Duration) int64 {
	if passed <= 0 {
		return 0
	}
	return int64(float64(n) / passed.Seconds())
}

func bytesPerSecond(n int64) string {
	if n >= 10<<10 {
		return fmt.Sprintf("%d KiB/s", n>>10)
	}
	return fmt.Sprintf("%d B/s", n)
}

// addresses are those of the node, as they were a short while ago.
type addresses struct {
	mu   sync.Mutex
	at   time.Time
	list map[netip.Addr]bool
}

// addressesKept is how long they are taken to be the same.
const addressesKept = 10 * time.Second

// nodeAddresses returns the addresses from which the kubelet's probes come.
func (a *Agent) nodeAddresses() map[netip.Addr]bool {
	a.addresses.mu.Lock()
	defer a.addresses.mu.Unlock()
	if time.Since(a.addresses.at) < addressesKept {
		return a.addresses.list
	}
	list, err := activity.NodeAddresses()
	if err != nil {
		log.G(a.ctx).WithError(err).Warn("learn the node's addresses; probes are taken for traffic")
	}
	a.addresses.list, a.addresses.at = list, time.Now()
	return list
}
