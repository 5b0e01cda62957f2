package criu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Checks are what a restore must pass. The first that fails ends it, is noted in
// CRIU's log, and leaves nothing of the container.
type Checks struct {
	// Before is called before CRIU opens the images.
	Before func() error
	// During is called while CRIU restores, and ends when ctx does.
	During func(ctx context.Context) error
	// After is called when the processes are there and stand still: with init's id
	// and those of all, init's included. It is not called for processes that run
	// at once, which may be anywhere by then.
	After func(init int, all []int) error
}

// before makes the first check; what it finds is written where CRIU's errors are.
func (c Checks) before(call Call, log string) error {
	err := c.Before()
	if err == nil {
		return nil
	}
	return errors.Join(explain("restore", call.ID, log, "", errors.Join(err, NoteInLog(log, err))))
}

// after makes the last check.
func (c Checks) after(call Call) error {
	data, err := os.ReadFile(call.PidFile)
	if err != nil {
		return fmt.Errorf("read init's id: %w", err)
	}
	init, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return fmt.Errorf("read init's id: %w", err)
	}
	freezer, err := FreezerOf(init)
	if err != nil {
		return err
	}
	all, err := freezer.Processes()
	if err != nil {
		return err
	}
	return c.After(init, all)
}
