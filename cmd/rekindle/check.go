package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/conf"
)

// errMissing is returned when a check finds something missing.
var errMissing = errors.New("something that Rekindle needs is missing")

// checkTime is for all checks together; `criu check` forks and probes a lot.
const checkTime = time.Minute

// The values of a finding's status.
const (
	statusOK      = "ok"
	statusWarn    = "warn"    // works, with a loss that is told
	statusMissing = "missing" // does not work
)

// finding is the outcome of one check.
type finding struct {
	Name   string `json:"name"`
	Status string `json:"status"`
	// Found is what there is, Advice what to do about it.
	Found  string `json:"found"`
	Advice string `json:"advice,omitempty"`
}

func good(found string) finding { return finding{Status: statusOK, Found: found} }
func poor(found, advice string) finding {
	return finding{Status: statusWarn, Found: found, Advice: advice}
}

func bad(found, advice string) finding {
	return finding{Status: statusMissing, Found: found, Advice: advice}
}

func failed(err error, advice string) finding { return bad(err.Error(), advice) }

// is names the check that a finding is of.
func (f finding) is(name string) finding {
	f.Name = name
	return f
}

// node is where the checks look.
type node struct {
	config           string // rekindle.toml
	containerdConfig string // empty: containerd's own default
	criuConfigs      string // directory of CRIU's global configuration
	runDir           string // where CRIU keeps its kernel probes
	euid             int
}

func (a *app) check() *cobra.Command {
	n := node{criuConfigs: "/etc/criu", runDir: "/run"}
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check whether this node has what is needed",
		Long: `Check whether this node has what is needed, and say what to do about what is
missing. Run it as root, on the node, with the PATH that containerd has. Nothing is
changed. The exit status is 5 when something is missing; warnings do not count.`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&n.config, "config", configFile, "the daemon's configuration file")
	cmd.Flags().StringVar(&n.containerdConfig, "containerd-config", "", "containerd's configuration file (default: where containerd looks)")
	cmd.RunE = a.verb(checkTime, func(ctx context.Context, cmd *cobra.Command, _ []string) error {
		n.euid = os.Geteuid()
		findings := a.checkAll(ctx, n, cmd.Flags().Changed("socket"))
		if err := a.writeFindings(findings); err != nil {
			return err
		}
		missing := 0
		for _, f := range findings {
			if f.Status == statusMissing {
				missing++
			}
		}
		if missing > 0 {
			return &failure{exitMissing, fmt.Errorf("%w (%d of %d checks)", errMissing, missing, len(findings))}
		}
		return nil
	})
	return cmd
}

// checkAll makes every check, whatever the others find. The socket of the
// configuration file counts unless the user named one.
func (a *app) checkAll(ctx context.Context, n node, socketNamed bool) []finding {
	cfg, config := checkConfig(n.config)
	if !socketNamed && a.socket == defaultSocket {
		a.socket = cfg.Sockets.Control
	}
	engine, dirty := checkCRIU(ctx)
	handler, containerd := checkContainerd(ctx, n.containerdConfig)
	return []finding{
		checkUser(n.euid).is("user"),
		checkKernel(n.runDir).is("kernel"),
		engine.is("criu"),
		dirty.is("dirty tracking"),
		checkCRIUConfigs(n.criuConfigs).is("criu config"),
		checkRunc(ctx).is("runc"),
		checkTar(ctx).is("tar"),
		containerd.is("containerd"),
		checkHandler(handler).is("runtime handler"),
		checkShim(handler).is("shim"),
		checkNRI(handler, cfg.Sockets.NRI).is("nri"),
		config.is("config"),
		checkStore(cfg.Store).is("store"),
		checkEncryption(cfg.Encryption, "/proc/swaps").is("encryption"),
		a.checkDaemon(ctx).is("daemon"),
	}
}

// checkConfig reads the file as the daemon does; with one that is wrong the
// other checks go on with the defaults.
func checkConfig(path string) (conf.Config, finding) {
	cfg, err := conf.Load(path)
	if err != nil {
		advice := "the daemon does not start with it"
		if errors.Is(err, fs.ErrNotExist) {
			advice = "copy the shipped conf/rekindle.toml there; every key in it has its default"
		}
		return conf.Default(), failed(err, advice)
	}
	return cfg, good(path)
}

func (a *app) writeFindings(findings []finding) error {
	if a.output == outputJSON {
		ok := true
		for _, f := range findings {
			ok = ok && f.Status != statusMissing
		}
		return a.writeJSON(map[string]any{"ok": ok, "checks": findings})
	}
	t := newTable(a.stdout, "CHECK", "STATUS", "FOUND")
	for _, f := range findings {
		t.row(f.Name, f.Status, f.Found)
	}
	if err := t.flush(); err != nil {
		return err
	}
	for _, f := range findings {
		if f.Advice != "" {
			fmt.Fprintf(a.stdout, "\n%s: %s\n", f.Name, printable(f.Advice))
		}
	}
	return nil
}
