package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/store"
)

func (a *app) key() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "The keys that this node seals its checkpoints with",
		Long: `Each checkpoint is sealed with a key of the node that made it, and is restored only
while that key is there. The keys themselves are never shown.`,
	}
	cmd.AddCommand(a.keyList(), a.keyRotate(), a.keyRetire())
	return cmd
}

func (a *app) keyList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the keys, the newest first",
		Args:  cobra.NoArgs,
		RunE: a.verb(queryTime, func(ctx context.Context, _ *cobra.Command, _ []string) error {
			d, err := a.dial(ctx)
			if err != nil {
				return err
			}
			defer d.close()
			resp, err := d.Keys(ctx, &api.KeysRequest{})
			if err != nil {
				return d.fault(err)
			}
			if a.output == outputJSON {
				list := []store.Key{}
				for _, k := range resp.Keys {
					list = append(list, store.Key{ID: k.Id, Created: moment(k.CreatedNs), Current: k.Current, Checkpoints: int(k.Checkpoints)})
				}
				return a.writeJSON(map[string]any{"keys": list})
			}
			t := newTable(a.stdout, "ID", "CREATED", "CHECKPOINTS", "USE")
			for _, k := range resp.Keys {
				use := "verifies"
				if k.Current {
					use = "seals new checkpoints"
				}
				t.row(k.Id, moment(k.CreatedNs).Format(time.RFC3339), fmt.Sprint(k.Checkpoints), use)
			}
			return t.flush()
		}),
	}
}

func (a *app) keyRotate() *cobra.Command {
	return &cobra.Command{
		Use:   "rotate",
		Short: "Make a new key for the checkpoints made from now on",
		Long: `Make a new key for the checkpoints made from now on. The former keys go on verifying
what they have sealed, until they are retired.`,
		Args: cobra.NoArgs,
		RunE: a.verb(queryTime, func(ctx context.Context, _ *cobra.Command, _ []string) error {
			d, err := a.dial(ctx)
			if err != nil {
				return err
			}
			defer d.close()
			resp, err := d.RotateKey(ctx, &api.RotateKeyRequest{})
			if err != nil {
				return d.fault(err)
			}
			if a.output == outputJSON {
				return a.writeJSON(map[string]any{"current": resp.Id})
			}
			fmt.Fprintln(a.stdout, "current key", printable(resp.Id))
			return nil
		}),
	}
}

func (a *app) keyRetire() *cobra.Command {
	return &cobra.Command{
		Use:   "retire ID",
		Short: "Remove a former key, and with it all use of what it has sealed",
		Long: `Remove a former key. What it has sealed is not restored any more; "rekindle key list"
says how many checkpoints those are.`,
		Args: cobra.ExactArgs(1),
		RunE: a.verb(queryTime, func(ctx context.Context, _ *cobra.Command, args []string) error {
			if len(args[0]) != 26 || !idForm.MatchString(args[0]) {
				return fmt.Errorf("%w: %.80q is not the id of a key; see 'rekindle key list'", errUsage, args[0])
			}
			d, err := a.dial(ctx)
			if err != nil {
				return err
			}
			defer d.close()
			if _, err := d.RetireKey(ctx, &api.RetireKeyRequest{Id: args[0]}); err != nil {
				return d.fault(err)
			}
			if a.output == outputJSON {
				return a.writeJSON(map[string]any{"retired": args[0]})
			}
			fmt.Fprintln(a.stdout, "retired", printable(args[0]))
			return nil
		}),
	}
}
