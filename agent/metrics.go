package agent

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rekindle-dev/rekindle/policy"
	"github.com/rekindle-dev/rekindle/store"
)

// Metrics are the daemon's counters. Labels come from closed sets, so that no
// tenant can make their number grow.
type Metrics struct {
	registry  prometheus.Registerer
	decisions *prometheus.CounterVec
	pause     prometheus.Histogram
	dump      prometheus.Histogram
	commit    prometheus.Histogram
	restore   prometheus.Histogram
	suspend   prometheus.Histogram
	resume    prometheus.Histogram
	admit     prometheus.Histogram
	bytes     prometheus.Counter
	saved     *prometheus.CounterVec
	preflight prometheus.Histogram
	findings  *prometheus.CounterVec
	idleLook  prometheus.Histogram
}

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	seconds := prometheus.ExponentialBuckets(0.01, 2, 14)
	m := &Metrics{
		registry: r,
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rekindle_decisions_total",
			Help: "Decisions by action, trigger (of checkpoints), outcome and class of the reason.",
		}, []string{"action", "trigger", "outcome", "reason"}),
		pause: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "rekindle_pause_seconds", Help: "Time a container was frozen for a checkpoint.", Buckets: seconds,
		}),
		dump: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "rekindle_dump_seconds", Help: "Time CRIU took to write a container's state.", Buckets: seconds,
		}),
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "rekindle_commit_seconds", Help: "Time from the end of a dump to the durable checkpoint.", Buckets: seconds,
		}),
		restore: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "rekindle_restore_seconds", Help: "Time from the order to restore to the running container.", Buckets: seconds,
		}),
		suspend: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "rekindle_suspend_seconds", Help: "Time from the decision to suspend a container until its memory was given back.", Buckets: seconds,
		}),
		resume: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "rekindle_resume_seconds", Help: "Time from what woke a suspended container until it ran.", Buckets: seconds,
		}),
		admit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "rekindle_admit_seconds", Help: "Time the runtime waited for the answer about a new container.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 12),
		}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rekindle_checkpoint_bytes_total", Help: "Bytes of committed checkpoints.",
		}),
	}
	m.preflight = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "rekindle_preflight_seconds", Help: "Time a container was looked at before a dump, while it ran.",
		Buckets: prometheus.ExponentialBuckets(0.001, 2, 12),
	})
	m.findings = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "rekindle_preflight_findings_total",
		Help: "Containers in which a preflight found something new, by kind (a closed list) and severity.",
	}, []string{"kind", "severity"})
	m.saved = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "rekindle_saved_bytes_total", Help: "Bytes of checkpoints that were taken off the disk again, by how.",
	}, []string{"by"})
	m.idleLook = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "rekindle_idle_look_seconds", Help: "Time a container with the idle trigger was looked at, each time.",
		Buckets: prometheus.ExponentialBuckets(0.0001, 2, 12),
	})
	r.MustRegister(m.decisions, m.pause, m.dump, m.commit, m.restore, m.suspend, m.resume, m.admit, m.bytes, m.saved, m.preflight, m.findings, m.idleLook)
	return m
}

func (m *Metrics) decided(d Decision) {
	m.decisions.WithLabelValues(d.Action, triggerLabel(d.Trigger), d.Outcome, string(d.Class)).Inc()
}

// triggerLabel keeps the label within the known triggers.
func triggerLabel(t policy.Trigger) string {
	switch {
	case t == "":
		return ""
	case slices.Contains(policy.Triggers(), t):
		return string(t)
	}
	return string(ClassOther)
}

func (m *Metrics) committed(took time.Duration, c store.Manifest) {
	m.pause.Observe(c.Pause.Seconds())
	m.dump.Observe(c.Dump.Seconds())
	m.commit.Observe(took.Seconds())
	m.bytes.Add(float64(c.Bytes))
}

// packed counts what was saved by holes or sharing.
func (m *Metrics) packed(by string, bytes int64) { m.saved.WithLabelValues(by).Add(float64(bytes)) }

func (m *Metrics) restored(took time.Duration) { m.restore.Observe(took.Seconds()) }

func (m *Metrics) suspended(took time.Duration) { m.suspend.Observe(took.Seconds()) }

func (m *Metrics) resumed(took time.Duration) { m.resume.Observe(took.Seconds()) }

func (m *Metrics) admitted(took time.Duration) { m.admit.Observe(took.Seconds()) }

func (m *Metrics) lookedForIdle(took time.Duration) { m.idleLook.Observe(took.Seconds()) }

func (m *Metrics) lookedAt(took time.Duration) { m.preflight.Observe(took.Seconds()) }

func (m *Metrics) found(kind, severity string) { m.findings.WithLabelValues(kind, severity).Inc() }
