package agent

import (
	"github.com/containerd/log"
	"github.com/prometheus/client_golang/prometheus"
)

// gauges tell the present state when Prometheus asks. It is read then: the
// containers from memory, the checkpoints from the store's directories.
type gauges struct{ agent *Agent }

var (
	keptGauge        = gauge("rekindle_checkpoints", "Checkpoints in the store.")
	quarantinedGauge = gauge("rekindle_checkpoints_quarantined", "Checkpoints in quarantine.")
	managedGauge     = gauge("rekindle_containers_managed", "Managed containers that run; those that sleep are not among them.")
	asleepGauge      = gauge("rekindle_containers_asleep", "Managed containers that are suspended.")
	unsettledGauge   = gauge("rekindle_containers_unsettled", "Containers that were restored and have not settled yet.")
)

func gauge(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, nil, nil) }

// Describe names the gauges.
func (g gauges) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{keptGauge, quarantinedGauge, managedGauge, asleepGauge, unsettledGauge} {
		out <- d
	}
}

// Collect reads them. A store that cannot be read costs its own two only.
func (g gauges) Collect(out chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, n int) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n))
	}
	managed, asleep, unsettled := g.agent.watched()
	send(managedGauge, managed)
	send(asleepGauge, asleep)
	send(unsettledGauge, unsettled)
	kept, quarantined, err := g.agent.store.Count()
	if err != nil {
		log.G(g.agent.ctx).WithError(err).Warn("count checkpoints for the metrics")
		return
	}
	send(keptGauge, kept)
	send(quarantinedGauge, quarantined)
}

// watched counts the managed containers that run, those that sleep, and among the
// running ones those whose restore is not known to be sound yet.
func (a *Agent) watched() (running, asleep, unsettled int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range a.containers {
		if t.asleep() {
			asleep++
		}
		if t.running() == 0 {
			continue
		}
		running++
		if !t.settled.Load() {
			unsettled++
		}
	}
	return running, asleep, unsettled
}
