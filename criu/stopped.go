package criu

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"syscall"
)

// leaveStopped makes CRIU restore processes without letting them run.
const leaveStopped = "leave-stopped\n"

// onlyForRestore adds lines to a file of CRIU options. The returned function
// takes them out again, since the same file is read at dumps, after which
// nothing may stand still.
func onlyForRestore(config string, lines []byte) (undo func() error, err error) {
	options, err := os.ReadFile(config)
	if err != nil {
		return nil, fmt.Errorf("read CRIU options: %w", err)
	}
	if err := os.WriteFile(config, append(slices.Clone(options), lines...), 0o600); err != nil {
		return nil, fmt.Errorf("write CRIU options: %w", err)
	}
	return func() error {
		if err := os.WriteFile(config, options, 0o600); err != nil {
			return fmt.Errorf("write CRIU options: %w", err)
		}
		return nil
	}, nil
}

// Continue lets the processes of a restored container run, which were left
// stopped. They get the OOM score adjustment of the new spec, when there is one;
// CRIU has brought the old one back.
func Continue(id string, oomScoreAdj *int) error {
	pids, err := inCgroup(id)
	if err != nil {
		return err
	}
	if len(pids) == 0 {
		return fmt.Errorf("continue container %.12s: it has no processes", id)
	}
	for _, pid := range pids {
		if err := adjustOOMScore(pid, oomScoreAdj); err != nil {
			return err
		}
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("continue process %d: %w", pid, err)
		}
	}
	return nil
}

// adjustOOMScore may not be allowed to lower a score, without CAP_SYS_RESOURCE;
// the process then keeps the one it has.
func adjustOOMScore(pid int, adj *int) error {
	if adj == nil {
		return nil
	}
	err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte(strconv.Itoa(*adj)), 0)
	if err == nil || errors.Is(err, os.ErrPermission) || errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return fmt.Errorf("adjust OOM score of process %d: %w", pid, err)
}
