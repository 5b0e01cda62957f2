package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/api"
)

func (a *app) explain() *cobra.Command {
	var dry dryRun
	cmd := &cobra.Command{
		Use:   "explain NAMESPACE/POD | explain --dry-run -f FILE",
		Short: "Say what is done with a pod's containers, and why",
		Long: `Say for each container of a pod whether it is managed and why, which settings
hold and where they come from, what was decided lately and last for each trigger,
what the preflight of the last dump found, which checkpoint would be restored now
at a restart in this pod and in a successor pod, and why not the others.

With --dry-run, say the same of the manifests in a file, as far as it can be told
before they are applied: the policy of each container, what is wrong with the
annotations, and what in the manifest prevents checkpoints or is worth knowing.
That needs neither a daemon nor a cluster. The exit status is 6 when a container
that asks to be managed would not be.`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case dry.enabled && dry.file == "":
				return errors.New("--dry-run needs a manifest: -f FILE, or -f - for standard input")
			case dry.enabled:
				return cobra.NoArgs(cmd, args)
			case dry.file != "":
				return errors.New("-f is for --dry-run")
			}
			return cobra.ExactArgs(1)(cmd, args)
		},
	}
	dry.flags(cmd)
	cmd.RunE = a.verb(queryTime, func(ctx context.Context, cmd *cobra.Command, args []string) error {
		if dry.enabled {
			return a.explainManifests(dry, cmd.InOrStdin())
		}
		return a.explainPod(ctx, args[0])
	})
	return cmd
}

func (a *app) explainPod(ctx context.Context, arg string) error {
	t, err := parseTarget(arg, false)
	if err != nil {
		return err
	}
	d, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer d.close()
	resp, err := d.Explain(ctx, &api.ExplainRequest{Namespace: t.namespace, Pod: t.pod})
	if err != nil {
		return d.fault(err)
	}
	list := reports(resp.Containers)
	if a.output == outputJSON {
		return a.writeJSON(map[string]any{"containers": list})
	}
	return a.writeReports(list)
}

// writeReports writes reports for people, and above those of a manifest what
// they are of.
func (a *app) writeReports(list []report) error {
	object := ""
	for i, r := range list {
		if i > 0 {
			fmt.Fprintln(a.stdout)
		}
		if r.Object != object {
			object = r.Object
			fmt.Fprintln(a.stdout, printable(object))
		}
		if err := a.writeReport(r); err != nil {
			return err
		}
	}
	return nil
}
