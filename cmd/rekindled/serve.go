package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/log"
	"github.com/containerd/ttrpc"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sys/unix"

	"github.com/rekindle-dev/rekindle/agent"
	"github.com/rekindle-dev/rekindle/api"
)

// serveControl answers the command line on a unix socket that only the
// superuser can open. A socket left by an earlier daemon is replaced; the lock
// says that nobody serves it.
func serveControl(ctx context.Context, path string, control *agent.Control) (stop func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make directory of control socket: %w", err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("replace control socket: %w", err)
	}
	// The mode is right from the first moment on.
	mask := unix.Umask(0o177)
	listener, err := net.Listen("unix", path)
	unix.Umask(mask)
	if err != nil {
		return nil, fmt.Errorf("listen on control socket: %w", err)
	}
	server, err := ttrpc.NewServer(ttrpc.WithServerHandshaker(ttrpc.UnixSocketRequireSameUser()))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("serve control socket: %w", err), listener.Close())
	}
	api.RegisterRekindleService(server, control)
	api.RegisterHooksService(server, control)
	go func() {
		if err := server.Serve(ctx, listener); err != nil && !errors.Is(err, ttrpc.ErrServerClosed) {
			log.G(ctx).WithError(err).Error("serve control socket")
		}
	}()
	return func() { _ = server.Close() }, nil
}

// serveMetrics answers Prometheus; an empty address means that nobody asked for
// it. Metrics that cannot be served are no reason not to run.
func serveMetrics(ctx context.Context, address string, registry *prometheus.Registry) {
	if address == "" {
		return
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	server := &http.Server{Addr: address, Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			log.G(ctx).WithError(err).WithField("address", address).Error("serve metrics")
		}
	}()
	context.AfterFunc(ctx, func() { _ = server.Close() })
}
