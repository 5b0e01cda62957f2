package main

import (
	"context"
	"fmt"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/criu"
	"github.com/rekindle-dev/rekindle/handover"
	"github.com/rekindle-dev/rekindle/rights"
	"github.com/rekindle-dev/rekindle/store"
)

// restore executes the shim's order. The images may not give a new container more
// than its spec allows, and have to be what was dumped.
func restore(ctx context.Context, call criu.Call, order api.Restore) error {
	from := criu.Source{Images: order.Images, Work: order.Work, Config: order.Config, AtOnce: order.AtOnce}
	if order.Handover != nil {
		inherited, err := inherit(order.Handover)
		if err != nil {
			return err
		}
		from.Images, from.Inherited = order.Handover.Images, inherited
	}
	if order.AtOnce {
		// The container is resumed where it was: what its images have it had until a
		// moment ago, in this very bundle, and they have not left the node since.
		return criu.Restore(ctx, order.Runc, call, from, criu.Checks{
			Before: func() error { return nil },
			During: func(ctx context.Context) error { return verify(ctx, order) },
		})
	}
	allowed, err := rights.Of(call.Bundle)
	if err != nil {
		return err
	}
	return criu.Restore(ctx, order.Runc, call, from, criu.Checks{
		Before: func() error { return allowed.Images(order.Images) },
		During: func(ctx context.Context) error { return verify(ctx, order) },
		After:  allowed.Restored,
	})
}

// verify makes sure that a checkpoint is what was dumped, while CRIU reads it. The
// daemon has verified the manifest, all sizes and everything small before it
// gave the order; the memory pages, and the files that the shim has put back, are
// read here, unless they were verified before and the daemon says so.
func verify(ctx context.Context, order api.Restore) error {
	if order.Trusted {
		return nil
	}
	return store.VerifyDir(ctx, order.Checkpoint, order.Manifest)
}

// inherit opens the sockets that are handed over in this process, for runc and
// CRIU to inherit. They are closed when it ends.
func inherit(h *api.Handover) ([]criu.Inherited, error) {
	held := make([]handover.Socket, 0, len(h.Sockets))
	for _, s := range h.Sockets {
		held = append(held, handover.Socket(s))
	}
	fetched, err := handover.Fetch(h.Holder, held)
	if err != nil {
		return nil, fmt.Errorf("take sockets over: %w", err)
	}
	inherited := make([]criu.Inherited, 0, len(fetched))
	for _, s := range fetched {
		inherited = append(inherited, criu.Inherited(s))
	}
	return inherited, nil
}
