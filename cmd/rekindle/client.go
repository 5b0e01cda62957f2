package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/ttrpc"

	"github.com/rekindle-dev/rekindle/api"
)

// errUnreachable is returned when nothing answers on the daemon's socket.
var errUnreachable = errors.New("the daemon cannot be reached")

// dial connects to the daemon; the caller closes the client.
func (a *app) dial(ctx context.Context) (*daemon, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", a.socket)
	if err != nil {
		return nil, fmt.Errorf("%w on %s: %w; %s", errUnreachable, a.socket, cause(err), remedy(err))
	}
	client := ttrpc.NewClient(conn)
	return &daemon{api.NewRekindleClient(client), client, a.socket}, nil
}

// daemon is a connection to the daemon.
type daemon struct {
	api.RekindleClient

	client *ttrpc.Client
	socket string
}

func (d *daemon) close() { _ = d.client.Close() }

// fault turns what a call returned into an error that errdefs can classify.
func (d *daemon) fault(err error) error {
	switch {
	case err == nil || errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, ttrpc.ErrClosed):
		hint := "it may have been stopped; see its log"
		if os.Geteuid() != 0 {
			hint = "it answers only its own user, which is root"
		}
		return fmt.Errorf("%w on %s: the connection was closed; %s", errUnreachable, d.socket, hint)
	}
	return errgrpc.ToNative(err)
}

// cause is the error without the parts that repeat the socket's path.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	var call *os.SyscallError
	if errors.As(err, &call) {
		err = call.Err
	}
	return err
}

func remedy(err error) string {
	switch {
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return "only root may talk to it"
	case errors.Is(err, syscall.ENOENT):
		return "is rekindled running on this node (systemctl status rekindled), and is this its socket? --socket or " + socketVariable + " name another one"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "rekindled has ended and left its socket; start it (systemctl start rekindled) and see its log"
	}
	return "is --socket right?"
}
