// Command rekindle asks the daemon of this node about checkpoints, makes and
// removes them, and checks whether the node has what is needed. Under the name
// kubectl-rekindle it is a kubectl plugin.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/spf13/cobra"
)

// version is set by the build.
var version = "dev"

// Exit codes; help tells them to the user.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitUnreachable = 4
	exitMissing     = 5
	exitMissed      = 6
)

const long = `Rekindle checkpoints the containers of annotated pods and restores them when
they are created again. This program talks to the daemon of the node it runs on.

Exit status:
  0  done
  1  it failed
  2  wrong usage
  3  there is no such pod, container or checkpoint
  4  the daemon cannot be reached
  5  check: something that is needed is missing
  6  explain --dry-run: a container that asks to be managed would not be`

const (
	defaultSocket  = "/run/rekindle/rekindled.sock"
	socketVariable = "REKINDLE_SOCKET"
)

// failure is an error with which a command ends that was called rightly.
type failure struct {
	code int
	err  error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// app holds the global flags and the streams.
type app struct {
	stdout, stderr io.Writer

	socket  string
	output  string
	timeout time.Duration
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := run(ctx, filepath.Base(os.Args[0]), os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run executes one command line and returns the exit code.
func run(ctx context.Context, name string, args []string, stdout, stderr io.Writer) int {
	a := &app{stdout: stdout, stderr: stderr}
	root := a.command(name)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	var f *failure
	if errors.As(err, &f) {
		fmt.Fprintln(stderr, "rekindle:", printable(err.Error()))
		return f.code
	}
	// What does not come from a command is a mistake in the command line.
	fmt.Fprintf(stderr, "rekindle: %s; see '%s --help'\n", printable(err.Error()), root.CommandPath())
	return exitUsage
}

func (a *app) command(name string) *cobra.Command {
	root := &cobra.Command{
		Use:           "rekindle",
		Short:         "Checkpoints of this node's containers",
		Long:          long,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if a.output != outputTable && a.output != outputJSON {
				return fmt.Errorf("--output is %q: use table or json", a.output)
			}
			if a.timeout < 0 {
				return fmt.Errorf("--timeout is negative: %s", a.timeout)
			}
			return nil
		},
	}
	if plugin, found := strings.CutPrefix(name, "kubectl-"); found {
		root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl " + plugin}
	}
	socket := defaultSocket
	if s := os.Getenv(socketVariable); s != "" {
		socket = s
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.socket, "socket", socket, "control socket of the daemon (environment: "+socketVariable+")")
	flags.StringVarP(&a.output, "output", "o", outputTable, "table for people, json for programs")
	flags.DurationVar(&a.timeout, "timeout", 0, "give up after this long (default 30s; inspect 10m; export and import 1h; checkpoint, suspend and resume 15m)")
	root.AddCommand(a.list(), a.inspect(), a.checkpoint(), a.suspend(), a.resume(), a.explain(), a.logs(), a.preflight(), a.remove(), a.verify(),
		a.pin(), a.unpin(), a.gc(), a.quarantine(), a.key(), a.export(), a.imports(), a.check(), a.version())
	return root
}

// outOfTime says whether err comes of the command's own deadline. The daemon is
// told that deadline, and its answer may be here a moment before it has passed.
func outOfTime(ctx context.Context, err error) bool {
	deadline, ok := ctx.Deadline()
	return ok && errdefs.IsDeadlineExceeded(err) && time.Until(deadline) < time.Second
}

// command is what a verb does once its arguments are found to be right.
type command func(ctx context.Context, cmd *cobra.Command, args []string) error

// verb runs a command within the given time, unless --timeout says another,
// and gives its error an exit code.
func (a *app) verb(within time.Duration, do command) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if a.timeout > 0 {
			within = a.timeout
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), within)
		defer cancel()
		err := do(ctx, cmd, args)
		var f *failure
		switch {
		case err == nil || errors.As(err, &f):
			return err
		case errors.Is(err, errUsage), errdefs.IsInvalidArgument(err):
			return &failure{exitUsage, err}
		case errdefs.IsNotFound(err):
			return &failure{exitNotFound, err}
		case errors.Is(err, errUnreachable):
			return &failure{exitUnreachable, err}
		case outOfTime(ctx, err):
			return &failure{exitFailed, fmt.Errorf("no answer within %s; the daemon may go on with it: %w", within, err)}
		}
		return &failure{exitFailed, err}
	}
}
