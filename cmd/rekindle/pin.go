package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/api"
)

func (a *app) pin() *cobra.Command {
	return a.pinning("pin", "Keep a checkpoint until it is unpinned", `Keep a checkpoint until it is unpinned. It is not removed when newer ones are made,
when it gets old, when space is short, or by "rekindle remove". Pinning does not
make it be restored any sooner.`, true)
}

func (a *app) unpin() *cobra.Command {
	return a.pinning("unpin", "Let a pinned checkpoint go its way", "Let a pinned checkpoint be removed again like any other.", false)
}

func (a *app) pinning(verb, short, long string, pinned bool) *cobra.Command {
	return &cobra.Command{
		Use:   verb + " ID...",
		Short: short,
		Long:  long,
		Args:  cobra.MinimumNArgs(1),
		RunE: a.verb(queryTime, func(ctx context.Context, _ *cobra.Command, args []string) error {
			for _, id := range args {
				if err := checkID(id); err != nil {
					return err
				}
			}
			d, err := a.dial(ctx)
			if err != nil {
				return err
			}
			defer d.close()
			done := []string{}
			for _, id := range args {
				resp, err := d.Pin(ctx, &api.PinRequest{Id: id, Pinned: pinned})
				if err != nil {
					return d.fault(err)
				}
				done = append(done, resp.Id)
				if a.output == outputTable {
					fmt.Fprintln(a.stdout, verb+"ned", printable(resp.Id))
				}
			}
			if a.output == outputJSON {
				return a.writeJSON(map[string]any{verb + "ned": done})
			}
			return nil
		}),
	}
}
