package audit

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/containerd/log"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rekindle-dev/rekindle/agent"
	"github.com/rekindle-dev/rekindle/conf"
)

const (
	// queued is how many lines may wait for the disk: those of a node whose
	// containers are all created at once, several times over.
	queued = 1024
	// closeTimeout is how long the daemon's end waits for the disk.
	closeTimeout = 2 * time.Second
)

// Log is an open audit log. It may be used by many at the same time.
type Log struct {
	node    string
	lines   chan []byte
	dropped prometheus.Counter
	done    chan struct{}
	ctx     context.Context
	// behind is set from the first line that found the queue full until the
	// queue is empty again.
	behind atomic.Bool
}

var _ agent.Observer = (*Log)(nil)

// Open starts a log that writes to the file that cfg names; the path must not
// be empty. It touches the disk only later, so that a disk that fails keeps no
// daemon from starting. ctx is for messages; the log ends with Close.
func Open(ctx context.Context, cfg conf.Audit, node string, r prometheus.Registerer) *Log {
	l := newLog(ctx, node, r)
	f := &file{path: cfg.Path, size: int64(cfg.MaxSize), parts: cfg.MaxFiles}
	go func() {
		defer close(l.done)
		l.write(f.append)
		if err := f.close(); err != nil {
			log.G(ctx).WithError(err).Warn("close audit log")
		}
	}()
	return l
}

func newLog(ctx context.Context, node string, r prometheus.Registerer) *Log {
	l := &Log{
		node: node, ctx: ctx, lines: make(chan []byte, queued), done: make(chan struct{}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rekindle_audit_dropped_total", Help: "Lines that are missing in the audit log.",
		}),
	}
	r.MustRegister(l.dropped)
	return l
}

// Decided puts a decision into the queue; one that finds it full is dropped.
func (l *Log) Decided(f agent.Facts, d agent.Decision) {
	data, err := line(l.node, f, d)
	if err != nil {
		log.G(l.ctx).WithError(err).Error("audit")
		return
	}
	select {
	case l.lines <- data:
	default:
		l.dropped.Inc()
		if !l.behind.Swap(true) {
			log.G(l.ctx).Error("the audit log's disk does not keep up; lines are dropped until it does")
		}
	}
}

// write empties the queue into the file until Close. A failure is told when it
// begins and when it ends.
func (l *Log) write(appendLine func([]byte) error) {
	lost := 0
	for data := range l.lines {
		if data == nil {
			return
		}
		if err := appendLine(data); err != nil {
			l.dropped.Inc()
			if lost++; lost == 1 {
				log.G(l.ctx).WithError(err).Error("the audit log cannot be written; lines are dropped until it can")
			}
			continue
		}
		if lost > 0 {
			log.G(l.ctx).Warnf("the audit log is written again; %d lines are missing", lost)
			lost = 0
		}
		if len(l.lines) == 0 && l.behind.Swap(false) {
			log.G(l.ctx).Warn("the audit log's disk keeps up again")
		}
	}
}

// Close writes what is queued and returns, after a while even if the disk does
// not answer. Decisions after it are not kept.
func (l *Log) Close() {
	timeout := time.After(closeTimeout)
	select {
	case l.lines <- nil:
	case <-timeout:
		return
	}
	select {
	case <-l.done:
	case <-timeout:
		log.G(l.ctx).Warn("the audit log's disk does not answer; lines may be missing")
	}
}
