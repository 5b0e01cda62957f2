package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/api"
)

// collected is what -o json shows of a checkpoint that was, or would be, removed.
type collected struct {
	ID        string `json:"id"`
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	Container string `json:"container"`
	Bytes     int64  `json:"bytes"`
	Reason    string `json:"reason"`
}

func (a *app) gc() *cobra.Command {
	var dry bool
	cmd := &cobra.Command{
		Use:   "gc [--dry-run]",
		Short: "Remove what nobody will be restored from",
		Long: `Remove the checkpoints that nobody will be restored from: those of runs that have
completed, and those of pods that have been gone for longer than store.max_age. When
there is more than the quotas allow, or less than store.min_free is free, remove
also what newer checkpoints have superseded: of pods that are gone first, the oldest
first. The newest good checkpoint of a container stays, and so does what is pinned
or in use. The daemon does this by itself every ten minutes, and before a
checkpoint that needs room.`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "tell only what would be removed")
	cmd.RunE = a.verb(inspectTime, func(ctx context.Context, _ *cobra.Command, _ []string) error {
		d, err := a.dial(ctx)
		if err != nil {
			return err
		}
		defer d.close()
		resp, err := d.Collect(ctx, &api.CollectRequest{DryRun: dry})
		if err != nil {
			return d.fault(err)
		}
		list := []collected{}
		for _, c := range resp.Removed {
			list = append(list, collected{c.Id, c.Namespace, c.Pod, c.Container, c.Bytes, c.Reason})
		}
		if a.output == outputJSON {
			return a.writeJSON(map[string]any{"dryRun": dry, "bytes": resp.Bytes, "removed": list})
		}
		t := newTable(a.stdout, "ID", "NAMESPACE", "POD", "CONTAINER", "SIZE", "REASON")
		for _, c := range list {
			t.row(c.ID, c.Namespace, c.Pod, c.Container, size(c.Bytes), c.Reason)
		}
		if err := t.flush(); err != nil {
			return err
		}
		verb := "removed"
		if dry {
			verb = "would be removed"
		}
		fmt.Fprintf(a.stdout, "%d checkpoints, %s, %s\n", len(list), size(resp.Bytes), verb)
		return nil
	})
	return cmd
}
