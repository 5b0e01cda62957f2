package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/api"
)

// nap is a container that was suspended or resumed, as -o json shows it. TookNs
// is 0 when it slept, or was awake, already.
type nap struct {
	Name       string   `json:"name"`
	ID         string   `json:"id"`
	TookNs     int64    `json:"tookNs"`
	Checkpoint string   `json:"checkpoint,omitempty"`
	Sockets    []string `json:"sockets,omitempty"`
}

// suspension is how a container sleeps, or slept last. Since is when that began
// or ended; WakeNs is how long the last wake took, and HeldBack why it sleeps although
// it was to be woken.
type suspension struct {
	Asleep     bool      `json:"asleep"`
	Since      time.Time `json:"since"`
	Checkpoint string    `json:"checkpoint"`
	Sockets    []string  `json:"sockets"`
	Times      int64     `json:"times"`
	WokenBy    string    `json:"wokenBy,omitempty"`
	WakeNs     int64     `json:"wakeNs,omitempty"`
	HeldBack   string    `json:"heldBack,omitempty"`
}

func fromSuspension(s *api.SuspensionReport) *suspension {
	if s == nil {
		return nil
	}
	return &suspension{s.Asleep, moment(s.SinceNs), s.Checkpoint, append([]string{}, s.Sockets...), s.Times, s.WokenBy, s.WakeNs, s.HeldBack}
}

// String says it in a line for people.
func (s *suspension) String() string {
	line := fmt.Sprintf("awake for %s", age(s.Since))
	if s.Asleep {
		line = fmt.Sprintf("asleep for %s in checkpoint %s, %d sockets kept open", age(s.Since), printable(s.Checkpoint), len(s.Sockets))
	}
	line += fmt.Sprintf("; suspended %d times", s.Times)
	if s.WokenBy != "" {
		line += fmt.Sprintf(", woken last by %s within %s", printable(s.WokenBy), time.Duration(s.WakeNs).Round(time.Millisecond))
	}
	if s.HeldBack != "" {
		line += "; it was to be woken and sleeps on: " + printable(s.HeldBack)
	}
	return line
}

func (a *app) suspend() *cobra.Command {
	return &cobra.Command{
		Use:   "suspend NAMESPACE/POD[/CONTAINER]",
		Short: "Put containers to sleep now, and give their memory back",
		Long: `Put one container, or all managed containers of a pod, to sleep where they are.
Each is checkpointed and its processes end, but the pod stays as it is, Running
and with its address, until something wakes the container.`,
		Args: cobra.ExactArgs(1),
		RunE: a.verb(checkpointTime, func(ctx context.Context, _ *cobra.Command, args []string) error {
			t, d, err := a.meant(ctx, args[0])
			if err != nil {
				return err
			}
			defer d.close()
			resp, err := d.Suspend(ctx, &api.SuspendPodRequest{Namespace: t.namespace, Pod: t.pod, Container: t.container})
			if err != nil {
				return d.fault(err)
			}
			list := []nap{}
			for _, c := range resp.Containers {
				list = append(list, nap{c.Name, c.ContainerId, c.TookNs, c.Checkpoint, c.Sockets})
			}
			return a.writeNaps(list, "asleep")
		}),
	}
}

func (a *app) resume() *cobra.Command {
	return &cobra.Command{
		Use:   "resume NAMESPACE/POD[/CONTAINER]",
		Short: "Wake suspended containers now",
		Long: `Wake one container, or all managed containers of a pod, and return when they run.
One that is awake is left as it is. One that cannot be woken has ended, and is
created anew as after any fault.`,
		Args: cobra.ExactArgs(1),
		RunE: a.verb(checkpointTime, func(ctx context.Context, _ *cobra.Command, args []string) error {
			t, d, err := a.meant(ctx, args[0])
			if err != nil {
				return err
			}
			defer d.close()
			resp, err := d.Resume(ctx, &api.ResumePodRequest{Namespace: t.namespace, Pod: t.pod, Container: t.container})
			if err != nil {
				return d.fault(err)
			}
			list := []nap{}
			for _, c := range resp.Containers {
				list = append(list, nap{Name: c.Name, ID: c.ContainerId, TookNs: c.TookNs})
			}
			return a.writeNaps(list, "awake")
		}),
	}
}

// meant reads which containers are meant, and connects to the daemon.
func (a *app) meant(ctx context.Context, arg string) (target, *daemon, error) {
	t, err := parseTarget(arg, true)
	if err != nil {
		return target{}, nil, err
	}
	d, err := a.dial(ctx)
	return t, d, err
}

func (a *app) writeNaps(list []nap, state string) error {
	if a.output == outputJSON {
		return a.writeJSON(map[string]any{"containers": list})
	}
	t := newTable(a.stdout, "CONTAINER", "STATE", "TOOK", "CHECKPOINT")
	for _, n := range list {
		took := "already"
		if n.TookNs > 0 {
			took = time.Duration(n.TookNs).Round(time.Millisecond).String()
		}
		t.row(n.Name, state, took, n.Checkpoint)
	}
	return t.flush()
}
