package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/api"
)

func (a *app) list() *cobra.Command {
	var namespace string
	cmd := &cobra.Command{
		Use:     "list [-n NAMESPACE]",
		Aliases: []string{"ls"},
		Short:   "List the checkpoints of this node, the newest first",
		Long: `List the checkpoints of this node, the newest first. STATE is
  ready      may be restored
  claimed    belongs to a pod that was restored from it
  suspect    was restored too often without the container settling; the next
             start in its place puts it into quarantine
  completed  its container has ended by itself, with exit code 0
  unknown    what is noted about it cannot be read
and "pinned" beside it, if it is.
SIZE is that of its files. REAL is what it takes on the disk: without pages of
zeroes, and without what it shares with a newer checkpoint of the container.
SET is the same for checkpoints of the containers of one pod that were made in
one pause (rekindle.dev/consistency: pod), and are restored together.`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVarP(&namespace, "namespace", "n", "", "only those of this namespace")
	cmd.RunE = a.verb(queryTime, func(ctx context.Context, _ *cobra.Command, _ []string) error {
		if namespace != "" {
			if err := checkNamespace(namespace); err != nil {
				return err
			}
		}
		d, err := a.dial(ctx)
		if err != nil {
			return err
		}
		defer d.close()
		resp, err := d.List(ctx, &api.ListRequest{Namespace: namespace})
		if err != nil {
			return d.fault(err)
		}
		return a.writeCheckpoints(fromAPI(resp.Checkpoints))
	})
	return cmd
}
