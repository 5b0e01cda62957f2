package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/store"
)

// errUnsound is returned for a checkpoint that does not verify.
var errUnsound = errors.New("the checkpoint does not verify and will not be restored")

// inspection is what -o json shows. Manifest and Marks are the daemon's own
// text; docs/checkpoint-format.md describes them.
type inspection struct {
	Dir      string          `json:"dir"`
	Sound    bool            `json:"sound"`
	Problem  string          `json:"problem,omitempty"`
	Manifest json.RawMessage `json:"manifest"`
	Marks    json.RawMessage `json:"marks"`
}

func (a *app) inspect() *cobra.Command {
	return &cobra.Command{
		Use:   "inspect ID",
		Short: "Show everything about one checkpoint, and verify it",
		Long: `Show everything about one checkpoint. All of its files are read and compared with
its manifest; when they differ the exit status is 1. The id may be shortened to
its beginning, as long as no other one begins with the same.`,
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
			resp, err := d.Inspect(ctx, &api.InspectRequest{Id: args[0]})
			if err != nil {
				return d.fault(err)
			}
			if a.output == outputJSON {
				err = a.writeJSON(inspection{resp.Dir, resp.Problem == "", resp.Problem, resp.ManifestJson, resp.MarksJson})
			} else {
				err = a.writeInspection(resp)
			}
			if err == nil && resp.Problem != "" {
				err = fmt.Errorf("%w: %s", errUnsound, resp.Problem)
			}
			return err
		}),
	}
}

func (a *app) writeInspection(resp *api.InspectResponse) error {
	var m store.Manifest
	if err := json.Unmarshal(resp.ManifestJson, &m); err != nil {
		return fmt.Errorf("read manifest: %w", err)
	}
	var marks store.Marks
	if err := json.Unmarshal(resp.MarksJson, &marks); err != nil {
		return fmt.Errorf("read marks: %w", err)
	}
	t := newTable(a.stdout)
	t.row("Id", m.ID)
	t.row("Pod", m.Namespace+"/"+m.PodName)
	t.row("Container", m.Container)
	t.row("Workload", m.Workload)
	t.row("Image", m.ImageName)
	t.row("Digest", m.ImageDigest)
	t.row("Trigger", m.Trigger+": "+m.Reason)
	for _, member := range m.Set {
		t.row("Set", member.Container+" "+member.ID)
	}
	t.row("Created", fmt.Sprintf("%s (%s ago)", m.Created.UTC().Format(time.RFC3339), age(m.Created)))
	t.row("Pause", fmt.Sprintf("%s, of which CRIU took %s", pause(int64(m.Pause)), pause(int64(m.Dump))))
	t.row("Size", fmt.Sprintf("%s in %d files and directories", size(m.Bytes), len(m.Files)))
	if m.Encryption != nil {
		t.row("Encrypted", fmt.Sprintf("with key %s, %s in memory", m.Encryption.Key, size(m.Encryption.Bytes)))
	}
	t.row("Node", fmt.Sprintf("%s (kernel %s, %s)", m.Node, m.Kernel, m.Arch))
	t.row("Made with", fmt.Sprintf("CRIU %s, %s", m.CRIU, m.Runc))
	t.row("Restored from", m.RestoredFrom)
	t.row("Directory", resp.Dir)
	t.row("Claimed by", marks.ClaimedBy)
	t.row("Unsettled restores", fmt.Sprint(marks.Attempts))
	for _, f := range marks.Failures {
		t.row("Failed restore", fmt.Sprintf("%s ago: %s", age(f.Time), f.Reason))
	}
	if marks.Completed {
		t.row("Completed", "yes: its container ended by itself with exit code 0")
	}
	if resp.Problem == "" {
		t.row("Verified", "yes")
	} else {
		t.row("Verified", "NO: "+resp.Problem)
	}
	return t.flush()
}
