package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/containerd/log"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/criu"
)

// shimAnswers bounds the look whether a shim is still there, shimPoll is the pause
// between two.
const (
	shimAnswers = 2 * time.Second
	shimPoll    = 20 * time.Millisecond
)

// errOtherProcess is about an id that was given to another process meanwhile.
var errOtherProcess = errors.New("the process is not the container's any more")

// thawLeftover lets a container go on that its shim froze and did not live to
// thaw, while no daemon was there to see it. A shim that lives thaws what it has
// frozen itself, as soon as it finds that nobody waits for the dump.
func (a *Agent) thawLeftover(ctx context.Context, t *tracked) {
	var freeze api.Freeze
	if err := t.dir.Read(&freeze); err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			log.G(ctx).WithError(err).WithField("container", t.ID).Warn("learn whether the container was left frozen")
		}
		return
	}
	if a.shimThaws(ctx, t) {
		return
	}
	err := thawProcess(freeze.Pid, t.ID)
	switch {
	case err == nil:
		a.decide(t.Facts, Decision{
			Action: ActionThaw, Outcome: Taken, Class: ClassEnded,
			Reason: "its shim died in a dump " + time.Since(freeze.At).Round(time.Second).String() + " ago and left it frozen",
		})
	default:
		log.G(ctx).WithError(err).WithField("container", t.ID).Info("nothing to thaw")
	}
	if err := t.dir.Discard(&freeze); err != nil {
		log.G(ctx).WithError(err).WithField("container", t.ID).Warn("note that the container is thawed")
	}
}

// shimThaws tells whether a container's shim lives. One that is just dying may
// still be reached, so it is given a moment to thaw what it has frozen.
func (a *Agent) shimThaws(ctx context.Context, t *tracked) bool {
	ctx, cancel := context.WithTimeout(ctx, shimAnswers)
	defer cancel()
	for {
		shim, err := dialShim(ctx, t)
		if err != nil {
			return false
		}
		shim.close()
		if t.dir.Read(&api.Freeze{}) != nil {
			return true // it has
		}
		select {
		case <-ctx.Done():
			return true // it is busy with a dump
		case <-time.After(shimPoll):
		}
	}
}

// thawProcess thaws the control group of a process, if it is the container's.
func thawProcess(pid int, container string) error {
	freezer, err := criu.FreezerOf(pid)
	if err != nil {
		return err
	}
	if !strings.Contains(freezer.String(), container) {
		return fmt.Errorf("thaw process %d: %w", pid, errOtherProcess)
	}
	return freezer.Thaw()
}
