package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/api"
)

// quarantined is what -o json shows of a checkpoint in quarantine.
type quarantined struct {
	ID        string    `json:"id"`
	Namespace string    `json:"namespace,omitempty"`
	Pod       string    `json:"pod,omitempty"`
	Container string    `json:"container,omitempty"`
	Reason    string    `json:"reason"`
	Since     time.Time `json:"since"`
	Bytes     int64     `json:"bytes"`
	Dir       string    `json:"dir"`
}

func (a *app) quarantine() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "quarantine",
		Short: "List what is in quarantine, and why",
		Long: `List the checkpoints in quarantine, the newest first. They failed verification or
a restore and are never restored. The last eight are kept.`,
		Args: cobra.NoArgs,
		RunE: a.verb(queryTime, func(ctx context.Context, _ *cobra.Command, _ []string) error {
			d, err := a.dial(ctx)
			if err != nil {
				return err
			}
			defer d.close()
			resp, err := d.Quarantine(ctx, &api.QuarantineRequest{})
			if err != nil {
				return d.fault(err)
			}
			return a.writeQuarantine(resp.Checkpoints)
		}),
	}
	cmd.AddCommand(a.release())
	return cmd
}

func (a *app) writeQuarantine(list []*api.Quarantined) error {
	if a.output == outputJSON {
		out := []quarantined{}
		for _, q := range list {
			out = append(out, quarantined{q.Id, q.Namespace, q.Pod, q.Container, q.Reason, moment(q.SinceNs), q.Bytes, q.Dir})
		}
		return a.writeJSON(map[string]any{"checkpoints": out})
	}
	t := newTable(a.stdout, "ID", "NAMESPACE", "POD", "CONTAINER", "SINCE", "REASON")
	for _, q := range list {
		t.row(q.Id, q.Namespace, q.Pod, q.Container, age(moment(q.SinceNs)), q.Reason)
	}
	return t.flush()
}

func (a *app) release() *cobra.Command {
	return &cobra.Command{
		Use:   "release ID",
		Short: "Bring a checkpoint back from quarantine",
		Long: `Bring a checkpoint back from quarantine, if all of it verifies. It may be restored
then like any other, and goes back into quarantine if that fails again.`,
		Args: cobra.ExactArgs(1),
		RunE: a.verb(inspectTime, func(ctx context.Context, _ *cobra.Command, args []string) error {
			if err := checkID(args[0]); err != nil {
				return err
			}
			d, err := a.dial(ctx)
			if err != nil {
				return err
			}
			defer d.close()
			resp, err := d.Release(ctx, &api.ReleaseRequest{Id: args[0]})
			if err != nil {
				return d.fault(err)
			}
			if a.output == outputJSON {
				return a.writeJSON(map[string]any{"released": resp.Id})
			}
			fmt.Fprintln(a.stdout, "released", printable(resp.Id))
			return nil
		}),
	}
}
