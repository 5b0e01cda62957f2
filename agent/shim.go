package agent

import (
	"context"
	"fmt"
	"net"
	"strings"

	"github.com/containerd/ttrpc"

	"github.com/rekindle-dev/rekindle/api"
)

// shim is a connection to the shim of a container's pod.
type shim struct {
	api.ShimService

	client *ttrpc.Client
}

// dialShim connects to the shim; the caller closes the connection.
func dialShim(ctx context.Context, t *tracked) (*shim, error) {
	var attach api.Attach
	if err := t.dir.Read(&attach); err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrNoShim, err)
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", strings.TrimPrefix(attach.Address, "unix://"))
	if err != nil {
		return nil, fmt.Errorf("reach the shim: %w", err)
	}
	client := ttrpc.NewClient(conn)
	return &shim{api.NewShimClient(client), client}, nil
}

func (s *shim) close() { _ = s.client.Close() }
