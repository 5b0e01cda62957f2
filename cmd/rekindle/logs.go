package main

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/api"
)

// operationLog is one log as -o json shows it.
type operationLog struct {
	Time        time.Time `json:"time"`
	Namespace   string    `json:"namespace"`
	Pod         string    `json:"pod"`
	Container   string    `json:"container"`
	ContainerID string    `json:"containerId"`
	Action      string    `json:"action"`
	Outcome     string    `json:"outcome"`
	Reason      string    `json:"reason"`
	Checkpoint  string    `json:"checkpoint,omitempty"`
	// Text is left out with --list.
	Text *string `json:"text,omitempty"`
}

func (a *app) logs() *cobra.Command {
	var headsOnly bool
	cmd := &cobra.Command{
		Use:   "logs ID | NAMESPACE/POD[/CONTAINER]",
		Short: "Show what CRIU and runc wrote in the last dumps and restores",
		Long: `Show what CRIU and runc wrote in the last operations on a pod's containers, or in
the dump and the restores of one checkpoint, the newest first. The logs of the
last few operations are kept (limits.logs_kept), and of each container the last
one that failed, also when the container and the checkpoint are gone.

Each log begins with a line that says when it was, what was done and what came of
it. 'rekindle explain' says the same without logs, and of decisions for which
CRIU was not run.`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().BoolVar(&headsOnly, "list", false, "only say which logs there are")
	cmd.RunE = a.verb(queryTime, func(ctx context.Context, _ *cobra.Command, args []string) error {
		request, err := logsRequest(args[0])
		if err != nil {
			return err
		}
		d, err := a.dial(ctx)
		if err != nil {
			return err
		}
		defer d.close()
		resp, err := d.Logs(ctx, request)
		if err != nil {
			return d.fault(err)
		}
		if headsOnly {
			return a.writeHeads(resp.Logs)
		}
		return a.writeLogs(ctx, d, resp.Logs)
	})
	return cmd
}

// logsRequest takes what has a slash for a pod, and all else for a checkpoint.
func logsRequest(arg string) (*api.LogsRequest, error) {
	if !strings.Contains(arg, "/") {
		return &api.LogsRequest{Checkpoint: arg}, checkID(arg)
	}
	t, err := parseTarget(arg, true)
	return &api.LogsRequest{Namespace: t.namespace, Pod: t.pod, Container: t.container}, err
}

func operation(l *api.OperationLog) operationLog {
	return operationLog{
		Time: moment(l.TimeNs), Namespace: l.Namespace, Pod: l.Pod, Container: l.Container, ContainerID: l.ContainerId,
		Action: l.Action, Outcome: l.Outcome, Reason: l.Reason, Checkpoint: l.Checkpoint,
	}
}

func (a *app) writeHeads(logs []*api.OperationLog) error {
	if a.output == outputJSON {
		all := []operationLog{}
		for _, l := range logs {
			all = append(all, operation(l))
		}
		return a.writeJSON(map[string]any{"logs": all})
	}
	t := newTable(a.stdout, "TIME", "POD", "CONTAINER", "OPERATION", "OUTCOME", "CHECKPOINT", "REASON")
	for _, l := range logs {
		t.row(moment(l.TimeNs).Format(time.RFC3339), l.Namespace+"/"+l.Pod, l.Container, l.Action, l.Outcome, l.Checkpoint, l.Reason)
	}
	return t.flush()
}

// writeLogs fetches the logs one by one: all together may not fit into a message.
func (a *app) writeLogs(ctx context.Context, d *daemon, logs []*api.OperationLog) error {
	all := []operationLog{}
	for i, l := range logs {
		resp, err := d.Log(ctx, &api.LogRequest{Id: l.Id})
		if err != nil {
			return d.fault(err)
		}
		if a.output == outputJSON {
			text, o := string(resp.Text), operation(l)
			o.Text = &text
			all = append(all, o)
			continue
		}
		if i > 0 {
			fmt.Fprintln(a.stdout)
		}
		if err := a.writeLog(l, string(resp.Text)); err != nil {
			return err
		}
	}
	if a.output == outputJSON {
		return a.writeJSON(map[string]any{"logs": all})
	}
	return nil
}

func (a *app) writeLog(l *api.OperationLog, text string) error {
	head := []string{moment(l.TimeNs).Format(time.RFC3339)}
	if l.Pod != "" {
		head = append(head, l.Namespace+"/"+l.Pod+"/"+l.Container)
	}
	head = append(head, l.Action, l.Outcome)
	if l.Checkpoint != "" {
		head = append(head, l.Checkpoint)
	}
	_, err := fmt.Fprintf(a.stdout, "%s: %s\n%s", printable(strings.Join(head, " ")), printable(l.Reason), printableLines(text))
	if err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// printableLines replaces what could harm a terminal, and keeps lines and tabs:
// in a log stand file names and program names of the workload.
func printableLines(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}
