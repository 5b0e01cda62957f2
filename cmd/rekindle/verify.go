package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/errdefs"
	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/api"
)

// verification is what -o json shows of one checkpoint.
type verification struct {
	ID          string `json:"id"`
	Sound       bool   `json:"sound"`
	Problem     string `json:"problem,omitempty"`
	Quarantined bool   `json:"quarantined,omitempty"`
	Bytes       int64  `json:"bytes"`
	TookNs      int64  `json:"tookNs"`
}

func (a *app) verify() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "verify ID... | --all",
		Short: "Read checkpoints and compare them with their manifests",
		Long: `Read all files of checkpoints and compare them with their manifests. One that is
damaged goes into quarantine, and the exit status is 1. An id may be shortened to
its beginning.`,
	}
	cmd.Flags().BoolVar(&all, "all", false, "all checkpoints of this node")
	cmd.RunE = a.verb(verifyTime, func(ctx context.Context, _ *cobra.Command, args []string) error {
		if all == (len(args) > 0) {
			return fmt.Errorf("%w: give ids, or --all", errUsage)
		}
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
		list := []verification{}
		if all {
			if args, list, err = d.everything(ctx); err != nil {
				return err
			}
		}
		checked, failed := d.verifyEach(ctx, args, all)
		list = append(list, checked...)
		return errors.Join(a.writeVerifications(list), failed, unsound(list))
	})
	return cmd
}

// verifyTime is for reading all checkpoints of a node from a slow disk.
const verifyTime = 6 * time.Hour

// everything returns the ids of all checkpoints, and apart those whose manifest
// says already that they cannot be used.
func (d *daemon) everything(ctx context.Context) (ids []string, broken []verification, err error) {
	resp, err := d.List(ctx, &api.ListRequest{})
	if err != nil {
		return nil, nil, d.fault(err)
	}
	broken = []verification{}
	for _, b := range resp.Broken {
		broken = append(broken, verification{ID: b.Id, Problem: b.Problem})
	}
	for _, c := range resp.Checkpoints {
		ids = append(ids, c.Id)
	}
	return ids, broken, nil
}

// verifyEach verifies one after the other. With lenient, one that is gone by
// the time is passed over.
func (d *daemon) verifyEach(ctx context.Context, ids []string, lenient bool) (list []verification, failed error) {
	for _, id := range ids {
		resp, err := d.Verify(ctx, &api.VerifyRequest{Id: id})
		if err = d.fault(err); err != nil {
			if !lenient || !errdefs.IsNotFound(err) {
				failed = errors.Join(failed, err)
			}
			continue
		}
		list = append(list, verification{
			ID: resp.Id, Sound: resp.Problem == "", Problem: resp.Problem, Quarantined: resp.Quarantined, Bytes: resp.Bytes, TookNs: resp.TookNs,
		})
	}
	return list, failed
}

func (a *app) writeVerifications(list []verification) error {
	if a.output == outputJSON {
		return a.writeJSON(map[string]any{"checkpoints": list})
	}
	t := newTable(a.stdout, "ID", "SIZE", "TOOK", "RESULT")
	for _, v := range list {
		result := "sound"
		if !v.Sound {
			result = v.Problem
		}
		if v.Quarantined {
			result += " (now in quarantine)"
		}
		t.row(v.ID, size(v.Bytes), time.Duration(v.TookNs).Round(time.Millisecond).String(), result)
	}
	return t.flush()
}

func unsound(list []verification) error {
	bad := 0
	for _, v := range list {
		if !v.Sound {
			bad++
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d checkpoints do not verify and will not be restored", bad, len(list))
	}
	return nil
}
