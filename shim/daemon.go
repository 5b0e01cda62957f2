package shim

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/containerd/ttrpc"

	"github.com/rekindle-dev/rekindle/api"
)

// dialTimeout bounds the connection to the daemon, which is on the same node
// or does not run.
const dialTimeout = time.Second

// ask calls the daemon once. ctx bounds the whole of it.
func ask(ctx context.Context, socket string, call func(api.HooksService) error) error {
	conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("reach the daemon: %w", err)
	}
	client := ttrpc.NewClient(conn)
	defer client.Close()
	return call(api.NewHooksClient(client))
}

// awaitTicket returns when the daemon has written a ticket, or found that there
// will be none.
func awaitTicket(ctx context.Context, socket, id string) error {
	return ask(ctx, socket, func(daemon api.HooksService) error {
		_, err := daemon.AwaitTicket(ctx, &api.AwaitTicketRequest{ContainerId: id})
		return err
	})
}
