// Command containerd-shim-rekindle-v2 is containerd's runc shim with restore
// and dump added. containerd starts one for each pod of the rekindle runtime
// handler.
package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/manager"
	containerdshim "github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/containerd/v2/pkg/shutdown"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"

	"github.com/rekindle-dev/rekindle/shim"
)

// runtimeType is containerd's own: with any other, CRI treats the handler as a
// foreign one and sends options of a type that the runc shim does not read.
const runtimeType = "io.containerd.runc.v2"

func init() {
	registry.Register(&plugin.Registration{
		Type:     plugins.TTRPCPlugin,
		ID:       "task",
		Requires: []plugin.Type{plugins.EventPlugin, plugins.InternalPlugin},
		InitFn:   newService,
	})
}

func main() {
	containerdshim.Run(context.Background(), manager.NewShimManager(runtimeType))
}

func newService(ic *plugin.InitContext) (any, error) {
	publisher, err := ic.GetByID(plugins.EventPlugin, "publisher")
	if err != nil {
		return nil, err
	}
	stop, err := ic.GetByID(plugins.InternalPlugin, "shutdown")
	if err != nil {
		return nil, err
	}
	bundle, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	// The shim runs in the bundle of the container that it was started for,
	// the pod's sandbox; its socket is named after that one.
	sandbox := filepath.Base(bundle)
	address, err := containerdshim.SocketAddress(ic.Context, ic.Properties[plugins.PropertyGRPCAddress], sandbox, false)
	if err != nil {
		return nil, err
	}
	return shim.NewService(ic.Context, publisher.(containerdshim.Publisher), stop.(shutdown.Service), sandbox, address)
}
