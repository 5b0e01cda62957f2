package criu

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Under cgroup version 2 a container has a cgroup namespace, and sees its own
// control group as /sys/fs/cgroup. With manage-cgroups=ignore CRIU restores no
// such namespace: the processes would see the node's root, and not find the files
// that they have open there, as every Go program has. So CRIU itself is put into
// one. It can be made only when runc has moved CRIU into the container's control
// group, which is just before it sends the order to restore: the executor stands
// in for criu on runc's PATH, waits for that, and becomes CRIU.

// Standin is the name by which the executor is run in the place of CRIU.
const Standin = "criu"

// The stand-in is told by these where CRIU is, and for which container.
const (
	standinCRIU = "REKINDLE_CRIU"
	standinFor  = "REKINDLE_CRIU_FOR"
)

var errNoStandin = errors.New("called as criu, but not by a restore")

// ownCgroupNamespace tells whether the spec of a bundle asks for a new one.
func ownCgroupNamespace(bundle string) (bool, error) {
	data, err := os.ReadFile(filepath.Join(bundle, "config.json"))
	if err != nil {
		return false, fmt.Errorf("read spec: %w", err)
	}
	var spec struct {
		Linux struct {
			Namespaces []struct{ Type, Path string }
		}
	}
	if err := json.Unmarshal(data, &spec); err != nil {
		return false, fmt.Errorf("read spec: %w", err)
	}
	for _, namespace := range spec.Linux.Namespaces {
		if namespace.Type == "cgroup" {
			return namespace.Path == "", nil
		}
	}
	return false, nil
}

// standIn has a runc command find this program as criu, if its container has a
// cgroup namespace of its own. The function that it returns takes away what it
// put into the work directory.
func standIn(cmd *exec.Cmd, call Call, work string) (undo func() error, err error) {
	nothing := func() error { return nil }
	wanted, err := ownCgroupNamespace(call.Bundle)
	if err != nil || !wanted {
		return nothing, err
	}
	path, err := exec.LookPath("criu")
	if err != nil {
		return nothing, fmt.Errorf("find criu: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return nothing, fmt.Errorf("find executor: %w", err)
	}
	dir, err := os.MkdirTemp(work, "path-")
	if err != nil {
		return nothing, fmt.Errorf("make folder for the stand-in: %w", err)
	}
	link := filepath.Join(dir, Standin)
	undo = func() error { return errors.Join(ignoreMissing(os.Remove(link)), os.Remove(dir)) }
	if err := os.Symlink(self, link); err != nil {
		return nothing, errors.Join(fmt.Errorf("make stand-in: %w", err), undo())
	}
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), standinCRIU+"="+path, standinFor+"="+call.ID)
	return undo, nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// BecomeCRIU is the stand-in: it replaces the process by CRIU, in a new cgroup
// namespace if runc wants a restore of it. The calling goroutine must be locked to
// its thread. It returns only an error.
func BecomeCRIU(args []string) error {
	path, id := os.Getenv(standinCRIU), os.Getenv(standinFor)
	if path == "" || id == "" {
		return errNoStandin
	}
	if len(args) == 3 && args[1] == "swrk" {
		if err := awaitOrder(args[2]); err != nil {
			return err
		}
		groups, err := os.ReadFile("/proc/self/cgroup")
		if err != nil {
			return fmt.Errorf("read control group: %w", err)
		}
		// runc also asks CRIU for its version; then it stays where it is.
		if mentions(string(groups), id) {
			if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
				return fmt.Errorf("make cgroup namespace: %w", err)
			}
		}
	}
	return fmt.Errorf("start %s: %w", path, syscall.Exec(path, args, os.Environ()))
}

// awaitOrder returns when runc has written to the socket with that number, or
// closed it. runc bounds how long that takes: it ends, or is ended, with us.
func awaitOrder(number string) error {
	fd, err := strconv.ParseInt(number, 10, 32)
	if err != nil {
		return fmt.Errorf("read number of the socket: %w", err)
	}
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
