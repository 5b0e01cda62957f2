package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/api"
)

func (a *app) remove() *cobra.Command {
	return &cobra.Command{
		Use:     "remove ID...",
		Aliases: []string{"rm"},
		Short:   "Remove checkpoints",
		Long: `Remove checkpoints. An id may be shortened to its beginning, as long as no other
one begins with the same. One that is being restored is not removed. When one
cannot be removed the others are all the same.`,
		Args: cobra.MinimumNArgs(1),
		RunE: a.verb(inspectTime, func(ctx context.Context, _ *cobra.Command, args []string) error {
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
			removed, failed := a.removeAll(ctx, d, args)
			if a.output == outputJSON {
				return errors.Join(failed, a.writeJSON(map[string]any{"removed": removed}))
			}
			return failed
		}),
	}
}

// removeAll tells of each removed checkpoint as soon as it is gone. Of several
// errors, one that is not "no such checkpoint" decides the exit code.
func (a *app) removeAll(ctx context.Context, d *daemon, ids []string) ([]string, error) {
	removed := []string{}
	var missing, failed error
	for _, id := range ids {
		resp, err := d.Remove(ctx, &api.RemoveRequest{Id: id})
		if err = d.fault(err); err != nil {
			if errdefs.IsNotFound(err) {
				missing = errors.Join(missing, err)
			} else {
				failed = errors.Join(failed, err)
			}
			continue
		}
		removed = append(removed, resp.Id)
		if a.output == outputTable {
			fmt.Fprintln(a.stdout, "removed", printable(resp.Id))
		}
	}
	if failed != nil && missing != nil {
		failed = fmt.Errorf("%w; %v", failed, missing) //nolint:errorlint // its class must not count
	}
	if failed != nil {
		return removed, failed
	}
	return removed, missing
}
