package criu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Names of CRIU's files below a dump's directory.
const (
	// ImagesDir is the CRIU directory, exactly as dumped.
	ImagesDir = "criu"
	// DumpLog is the log of the dump.
	DumpLog = "dump.log"
	// RestoreLog is the log of a restore, in its work directory.
	RestoreLog = "restore.log"
	// RuncLog is what runc said of a dump or restore that failed, beside CRIU's log.
	RuncLog = "runc.log"
)

// Runtime is the runc that owns a container, as containerd drives it.
type Runtime struct {
	// Binary is runc's path or name.
	Binary string
	// Root is its state directory, containerd's namespace included.
	Root string
	// SystemdCgroup is set for the systemd cgroup driver.
	SystemdCgroup bool
}

// Dump writes the state of a running container into dir/criu and its log into
// dir. The container keeps running; it may be frozen, and then stays so. ctx
// bounds the dump. A failure is an *Error with the first lines of the logs.
func Dump(ctx context.Context, start Starter, r Runtime, id, dir string) error {
	args := []string{"--root", r.Root, "--log-format", "json"}
	if r.SystemdCgroup {
		args = append(args, "--systemd-cgroup")
	}
	args = append(args, "checkpoint",
		"--image-path", filepath.Join(dir, ImagesDir), "--work-path", dir,
		"--leave-running", "--manage-cgroups-mode", "ignore",
		"--tcp-skip-in-flight", "--file-locks", "--link-remap", id)
	cmd := exec.Command(r.Binary, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &capped{w: &stderr, left: 64 << 10}
	log := filepath.Join(dir, DumpLog)
	status, err := Run(ctx, start, cmd, log)
	if err == nil && status != 0 {
		err = fmt.Errorf("runc checkpoint: exit status %d", status)
	}
	if err == nil {
		err = complete(filepath.Join(dir, ImagesDir))
	}
	if err != nil {
		return errors.Join(explain("dump", id, log, stderr.String(), err), keepSaid(dir, stderr.Bytes()))
	}
	return nil
}

// keepSaid writes down what runc said of a failure.
func keepSaid(dir string, said []byte) error {
	if len(said) == 0 {
		return nil
	}
	if err := os.WriteFile(filepath.Join(dir, RuncLog), said, 0o600); err != nil {
		return fmt.Errorf("keep what runc said: %w", err)
	}
	return nil
}

// complete looks for the images that every dump has. CRIU writes the inventory
// last, so a dump that was cut off but called a success has none.
func complete(images string) error {
	for _, name := range []string{"pstree.img", "inventory.img"} {
		info, err := os.Lstat(filepath.Join(images, name))
		if err != nil {
			return fmt.Errorf("the dump is not complete: %w", err)
		}
		if info.Size() == 0 {
			return fmt.Errorf("the dump is not complete: %s is empty", name)
		}
	}
	return nil
}

// capped passes on the first bytes and swallows the rest, so that a noisy
// command can neither fill memory nor be blocked.
type capped struct {
	w    *bytes.Buffer
	left int
}

func (c *capped) Write(p []byte) (int, error) {
	n := min(len(p), c.left)
	c.left -= n
	if _, err := c.w.Write(p[:n]); err != nil {
		return 0, err
	}
	return len(p), nil
}
