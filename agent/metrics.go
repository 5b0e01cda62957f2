package agent

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the daemon's counters. Labels come from closed sets, so that no
// tenant can make their number grow.
type Metrics struct {
	decisions *prometheus.CounterVec
	pause     prometheus.Histogram
	dump      prometheus.Histogram
	restore   prometheus.Histogram
	admit     prometheus.Histogram
	bytes     prometheus.Counter
}

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	seconds := prometheus.ExponentialBuckets(0.01, 2, 14)
	m := &Metrics{
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rekindle_decisions_total",
			Help: "Decisions by action and outcome.",
		}, []string{"action", "outcome"}),
		pause: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "rekindle_pause_seconds", Help: "Time a container was frozen for a checkpoint.", Buckets: seconds,
		}),
		dump: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "rekindle_dump_seconds", Help: "Time CRIU took to write a container's state.", Buckets: seconds,
		}),
		restore: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "rekindle_restore_seconds", Help: "Time from the order to restore to the running container.", Buckets: seconds,
		}),
		admit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "rekindle_admit_seconds", Help: "Time the runtime waited for the answer about a new container.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 12),
		}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rekindle_checkpoint_bytes_total", Help: "Bytes of committed checkpoints.",
		}),
	}
	r.MustRegister(m.decisions, m.pause, m.dump, m.restore, m.admit, m.bytes)
	return m
}

func (m *Metrics) decided(d Decision) { m.decisions.WithLabelValues(d.Action, d.Outcome).Inc() }

func (m *Metrics) committed(pause, dump time.Duration, bytes int64) {
	m.pause.Observe(pause.Seconds())
	m.dump.Observe(dump.Seconds())
	m.bytes.Add(float64(bytes))
}

func (m *Metrics) restored(took time.Duration) { m.restore.Observe(took.Seconds()) }

func (m *Metrics) admitted(took time.Duration) { m.admit.Observe(took.Seconds()) }
