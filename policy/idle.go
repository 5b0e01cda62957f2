package policy

import (
	"errors"
	"strings"
	"time"

	"github.com/rekindle-dev/rekindle/conf"
)

// IdleAction is what is done with a container that is idle.
type IdleAction string

// The actions.
const (
	// SuspendIdle puts the container to sleep where it is.
	SuspendIdle IdleAction = "suspend"
	// CheckpointIdle makes one checkpoint, and the container runs on.
	CheckpointIdle IdleAction = "checkpoint"
)

// Idleness is when a container is idle, and what is done then.
type Idleness struct {
	// After is how long it has to be quiet.
	After time.Duration
	// Action is what is done.
	Action IdleAction
	// CPU is up to how much CPU time it is quiet, in thousandths of a processor.
	CPU int
	// Traffic is up to how much data it is quiet, in bytes per second.
	Traffic conf.Size
	// StayAwake is how long it stays awake at least after it was woken.
	StayAwake time.Duration
}

// idle reads when the trigger of that name fires.
func (r *resolver) idle() {
	d, b := r.cfg.Defaults, r.cfg.Bounds
	i := &r.policy.Idle
	longest := limit[conf.Duration]{"bounds.idle_max", b.IdleMax}
	i.After = r.duration(KeyIdleAfter, d.IdleAfter, limit[conf.Duration]{"bounds.idle_min", b.IdleMin}, longest)
	i.StayAwake = r.duration(KeyStayAwake, d.StayAwake, limit[conf.Duration]{"bounds.stay_awake_min", b.StayAwakeMin}, longest)
	i.CPU = bounded(r, KeyIdleCPU, d.IdleCPU, limit[int]{}, limit[int]{"bounds.idle_cpu_max", b.IdleCPUMax}, parseMilliCPU, milliCPU)
	i.Traffic = bounded(r, KeyIdleTraffic, d.IdleTraffic, limit[conf.Size]{}, limit[conf.Size]{"bounds.idle_traffic_max", b.IdleTrafficMax},
		parseSize, conf.Size.String)
	r.idleAction()
}

// idleAction reads what is done. An administrator who does not want containers
// to be suspended allows checkpoints only.
func (r *resolver) idleAction() {
	action := choose(r, KeyIdleAction, SourceConfig, IdleAction(r.cfg.Defaults.IdleAction), modes[IdleAction](conf.IdleActions))
	if o := r.policy.Origins[KeyIdleAction]; action == SuspendIdle && r.cfg.Bounds.IdleAction == string(CheckpointIdle) && o.Key != "" {
		r.problems = append(r.problems, Problem{
			Key: o.Key, Value: o.Raw, Reason: "is more than bounds.idle_action of the config file", Used: string(CheckpointIdle) + " is used",
		})
		o.Source = SourceBound
		r.policy.Origins[KeyIdleAction], action = o, CheckpointIdle
	}
	r.policy.Idle.Action = action
}

var (
	errMilliCPU = errors.New(`is not an amount of CPU; write a whole number and "m", such as "20m"`)
	errSize     = errors.New(`is not a size; write a whole number and one of B, KiB, MiB, GiB, such as "1KiB"`)
)

func parseMilliCPU(value string) (int, error) {
	digits, found := strings.CutSuffix(strings.Trim(value, " \t"), "m")
	n, ok := parseCount(digits)
	if !found || !ok || strings.Trim(digits, "0123456789") != "" {
		return 0, errMilliCPU
	}
	return n, nil
}

func parseSize(value string) (conf.Size, error) {
	var s conf.Size
	if err := s.UnmarshalText([]byte(strings.Trim(value, " \t"))); err != nil {
		return 0, errSize
	}
	return s, nil
}
