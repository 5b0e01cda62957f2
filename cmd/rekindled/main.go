// Command rekindled is the node daemon: it is registered with NRI, decides from
// what new containers are restored, and makes checkpoints through the shims.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/containerd/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/agent"
	"github.com/rekindle-dev/rekindle/audit"
	"github.com/rekindle-dev/rekindle/conf"
	"github.com/rekindle-dev/rekindle/kube"
	"github.com/rekindle-dev/rekindle/plugin"
	"github.com/rekindle-dev/rekindle/store"
)

// stopTimeout bounds the wait for checkpoints that are being made. What is cut
// off is swept by the next daemon.
const stopTimeout = 20 * time.Second

// version is set by the build.
var version = "dev"

func main() {
	var path string
	cmd := &cobra.Command{
		Use:           "rekindled",
		Short:         "Checkpoint the containers of this node, and restore them when they are created again",
		Version:       version,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), path) },
	}
	cmd.Flags().StringVar(&path, "config", "/etc/rekindle/rekindle.toml", "configuration file")
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := cmd.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "rekindled:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, path string) error {
	cfg, err := conf.Load(path)
	if err != nil {
		return err
	}
	if err := setLog(cfg.Log); err != nil {
		return err
	}
	log.G(ctx).WithField("version", version).Info("starting")
	// NRI lets a second instance register, and then every create fails on
	// conflicting annotations. So the lock comes before anything else.
	unlock, err := awaitTurn(ctx)
	if err != nil {
		return err
	}
	defer unlock()

	s, err := store.Open(cfg.Store.Path, store.WithMinFree(int64(cfg.Store.MinFree)), store.WithKeys(cfg.Store.Keys),
		store.WithReport(func(path string, err error) {
			log.G(ctx).WithError(err).WithField("path", path).Warn("passed over in the store")
		}))
	if err != nil {
		return err
	}
	defer s.Close()
	node, err := inspectNode(ctx)
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	a := agent.New(ctx, cfg, s, node, agent.NewMetrics(registry))
	a.BeginPlain(ctx)
	useKeys(ctx, a)
	go askForKeys(ctx, a)
	if cfg.Audit.Path != "" {
		trail := audit.Open(ctx, cfg.Audit, node.Name, registry)
		defer trail.Close()
		a.Observe(trail)
	}
	if face := kube.New(ctx, cfg.Kubernetes, a, node.Name, registry); face != nil {
		a.Observe(face)
		a.UseProbes(face)
		go face.Run(ctx)
	}
	go reloadOnHangup(ctx, path, a)
	go a.PruneAlways(ctx)
	go a.ScrubAlways(ctx)
	go a.PackAlways(ctx)
	serveMetrics(ctx, cfg.Metrics.Address, registry)
	closeControl, err := serveControl(ctx, cfg.Sockets.Control, agent.NewControl(a))
	if err != nil {
		return err
	}
	defer closeControl()

	runtime := &containers{address: cfg.Sockets.Containerd}
	a.UseLogs(runtime)
	a.UseSpecs(runtime)
	plugin.New(a, runtime).Run(ctx, cfg.Sockets.NRI)
	log.G(ctx).Info("stopping; running containers go on")
	a.Wait(stopTimeout)
	return nil
}

func setLog(c conf.Log) error {
	format := log.TextFormat
	if c.Format == "json" {
		format = log.JSONFormat
	}
	return errors.Join(log.SetLevel(c.Level), log.SetFormat(format))
}

// reloadOnHangup puts a changed configuration file in force at SIGHUP. A file
// that is wrong changes nothing.
func reloadOnHangup(ctx context.Context, path string, a *agent.Agent) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
		}
		cfg, err := conf.Load(path)
		if err != nil {
			log.G(ctx).WithError(err).Error("configuration not reloaded, the former one stays in force")
			continue
		}
		if err := setLog(cfg.Log); err != nil {
			log.G(ctx).WithError(err).Error("set log")
		}
		a.Reload(cfg)
		useKeys(ctx, a)
	}
}
