package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/api"
)

const (
	// queryTime is for calls that only look something up.
	queryTime = 30 * time.Second
	// inspectTime is for reading a whole checkpoint from a slow disk.
	inspectTime = 10 * time.Minute
	// checkpointTime covers the wait for other dumps, the dump and its commit.
	checkpointTime = 15 * time.Minute
)

func (a *app) checkpoint() *cobra.Command {
	return &cobra.Command{
		Use:   "checkpoint NAMESPACE/POD[/CONTAINER]",
		Short: "Make a checkpoint now and return when it is durable",
		Long: `Make a checkpoint of one container, or of all managed containers of a pod one
after the other. The containers run on. The pod must be annotated with
rekindle.dev/on and run on this node. Where it has rekindle.dev/consistency: pod,
all its containers are checkpointed together, also when one is named.`,
		Args: cobra.ExactArgs(1),
		RunE: a.verb(checkpointTime, func(ctx context.Context, _ *cobra.Command, args []string) error {
			t, err := parseTarget(args[0], true)
			if err != nil {
				return err
			}
			d, err := a.dial(ctx)
			if err != nil {
				return err
			}
			defer d.close()
			resp, err := d.Checkpoint(ctx, &api.CheckpointRequest{Namespace: t.namespace, Pod: t.pod, Container: t.container})
			if err != nil {
				return d.fault(err)
			}
			return a.writeCheckpoints(fromAPI(resp.Checkpoints))
		}),
	}
}
