package store

import (
	"context"
	"fmt"
	"os"
	"sync"
	"syscall"
)

// syncPath syncs one file or directory. An error means that what was written
// may be lost although it can still be read: nothing may be built on it, and
// asking again proves nothing.
func syncPath(root *os.Root, name string) (err error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("open to sync: %w", err)
	}
	defer func() {
		if cerr := f.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("close after sync: %w", cerr)
		}
	}()
	if err := syncFile(f); err != nil {
		return fmt.Errorf("sync %s: %w", f.Name(), err)
	}
	return nil
}

// syncFile is a variable for the test that leaves one out.
var syncFile = (*os.File).Sync

// workers is how many files are digested or synced at once: enough to overlap
// reading with computing, few enough to leave the node to its workloads.
const workers = 2

// each calls fn for every item from two goroutines until one fails or ctx is
// done, and returns the first error.
func each[T any](ctx context.Context, items []T, fn func(context.Context, T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan T)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for item := range next {
				if err := fn(ctx, item); err != nil {
					cancel(err)
				}
			}
		})
	}
feed:
	for _, item := range items {
		select {
		case next <- item:
		case <-ctx.Done():
			break feed
		}
	}
	close(next)
	wg.Wait()
	return context.Cause(ctx)
}
