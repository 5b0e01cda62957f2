package agent

import (
	"sync"
	"time"

	"github.com/rekindle-dev/rekindle/policy"
)

// budget keeps the bytes of checkpoints that a node writes below a rate over
// time. It is a debt: what is written adds to it, the rate pays it off, and who
// can wait does so until there is none. So one checkpoint may be of any size,
// and the next pays for it.
type budget struct {
	mu sync.Mutex
	// debt is what was written before at, and is not paid off, in bytes.
	debt float64
	at   time.Time
}

// take adds bytes to a budget without debt. Otherwise it adds nothing, and
// returns when the debt will be paid off. A rate of 0 is no limit.
func (b *budget) take(rate, bytes int64, now time.Time) (wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pay(rate, now)
	if b.debt > 0 {
		return time.Duration(b.debt / float64(rate) * float64(time.Second))
	}
	b.add(rate, bytes)
	return 0
}

// charge adds bytes, whatever the debt; fewer than none are taken back.
func (b *budget) charge(rate, bytes int64, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pay(rate, now)
	b.add(rate, bytes)
}

func (b *budget) pay(rate int64, now time.Time) {
	b.debt = max(0, b.debt-float64(rate)*now.Sub(b.at).Seconds())
	b.at = now
	if rate == 0 {
		b.debt = 0
	}
}

func (b *budget) add(rate, bytes int64) {
	if rate > 0 {
		b.debt = max(0, b.debt+float64(bytes))
	}
}

// afford charges the bytes that a dump is going to write, about, to the node's
// budget. Only the interval trigger has to wait for it.
func (a *Agent) afford(trigger policy.Trigger, bytes int64) error {
	rate := int64(a.Config().Limits.Bandwidth)
	if trigger != policy.Interval {
		a.written.charge(rate, bytes, time.Now())
		return nil
	}
	if wait := a.written.take(rate, bytes, time.Now()); wait > 0 {
		return &skip{ClassBandwidth, "postponed: the node has written what limits.bandwidth allows", wait}
	}
	return nil
}

// correct puts right what a dump was charged for, when its size is known.
func (a *Agent) correct(bytes int64) {
	a.written.charge(int64(a.Config().Limits.Bandwidth), bytes, time.Now())
}
