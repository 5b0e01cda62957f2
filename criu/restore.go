package criu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/rekindle-dev/rekindle/fail"
)

// cleanupTimeout bounds the removal of what a failed restore left.
const cleanupTimeout = 10 * time.Second

// Source is what a container is restored from.
type Source struct {
	// Images is the CRIU directory, that of a checkpoint or one that HandOver
	// made.
	Images string
	// Work receives CRIU's log.
	Work string
	// Config is the file of CRIU options that the container's spec names.
	Config string
	// Inherited are the sockets that are handed over, if any.
	Inherited []Inherited
	// AtOnce has the processes run as soon as they are restored.
	AtOnce bool
}

// Restore answers a `runc create` call by restoring the container from the
// source: its processes are there when it returns, and, unless they are to run at
// once, stopped until Continue.
// Standard input, output and error of this process become the container's, as
// with create. ctx bounds the restore.
//
// No stopped process runs before all checks have passed. After a failure nothing
// of the container is left.
func Restore(ctx context.Context, runc string, call Call, from Source, checks Checks) (err error) {
	if err := os.MkdirAll(from.Work, 0o700); err != nil {
		return fmt.Errorf("make work directory: %w", err)
	}
	log := filepath.Join(from.Work, RestoreLog)
	if err := checks.before(call, log); err != nil {
		return err
	}
	options, err := mountFilled(from.Images)
	if err != nil {
		return err
	}
	options = append(options, inheritOptions(from.Inherited)...)
	if !from.AtOnce {
		options = append(options, leaveStopped...)
	}
	undo, err := onlyForRestore(from.Config, options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, undo()) }()
	cmd := restoreCommand(runc, call, from)
	unlink, err := standIn(cmd, call, from.Work)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlink()) }()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	checked := make(chan error, 1)
	go func() {
		err := checks.During(ctx)
		if err != nil {
			cancel(err)
		}
		checked <- err
	}()
	status, err := Run(ctx, StartPlainly, cmd, log)
	if err == nil && status != 0 {
		err = fmt.Errorf("runc restore: exit status %d", status)
	}
	var verdict error
	if err == nil && !from.AtOnce {
		verdict = checks.after(call)
	}
	if err := errors.Join(err, verdict); err != nil {
		cancel(err)
	}
	if v := <-checked; v != nil && verdict == nil && (err == nil || errors.Is(err, v)) {
		verdict = v
	}
	if verdict != nil {
		err = errors.Join(verdict, NoteInLog(log, verdict))
	}
	if err == nil {
		err = fail.ExecutorVerified.Hit()
	}
	if err == nil {
		return nil
	}
	said := runcError(call.Log)
	failed := errors.Join(explain("restore", call.ID, log, said, err), keepSaid(from.Work, []byte(said)))
	runtime := Runtime{Binary: runc, Root: call.Root, SystemdCgroup: slices.Contains(call.Global, "--systemd-cgroup")}
	return errors.Join(failed, Discard(context.WithoutCancel(ctx), StartPlainly, runtime, call.ID))
}

// restoreCommand is the runc command that answers a call to create.
func restoreCommand(runc string, call Call, from Source) *exec.Cmd {
	args := append([]string{}, call.Global...)
	args = append(args, "restore", "--detach", "--no-subreaper",
		"--bundle", call.Bundle, "--pid-file", call.PidFile,
		"--image-path", from.Images, "--work-path", from.Work,
		"--manage-cgroups-mode", "ignore", "--file-locks")
	if call.ConsoleSocket != "" {
		args = append(args, "--console-socket", call.ConsoleSocket)
	}
	if call.NoPivot {
		args = append(args, "--no-pivot")
	}
	cmd := exec.Command(runc, append(args, call.ID)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// NoteInLog adds a line of ours to CRIU's log, whether or not CRIU came to open it.
func NoteInLog(log string, verdict error) error {
	f, err := os.OpenFile(log, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("note in log: %w", err)
	}
	_, err = fmt.Fprintf(f, "Error (rekindle): %v\n", verdict)
	return errors.Join(err, f.Close())
}

// Discard removes every trace of a container whose restore failed or was killed:
// its processes, runc's temporary mounts and runc's state. There being none is
// fine.
func Discard(ctx context.Context, start Starter, r Runtime, id string) error {
	ctx, cancel := context.WithTimeout(ctx, cleanupTimeout)
	defer cancel()
	if err := killContainer(ctx, id); err != nil {
		return err
	}
	state := filepath.Join(r.Root, id)
	// A killed runc leaves a bind mount of the rootfs below its state
	// directory. It has to go before runc deletes that directory, or the
	// deletion would reach into the container's files.
	if err := unmountBelow(state); err != nil {
		return err
	}
	if _, err := os.Lstat(state); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	args := []string{"--root", r.Root}
	if r.SystemdCgroup {
		args = append(args, "--systemd-cgroup")
	}
	var stderr bytes.Buffer
	cmd := exec.Command(r.Binary, append(args, "delete", "--force", id)...)
	cmd.Stderr = &capped{w: &stderr, left: 4 << 10}
	status, err := Run(ctx, start, cmd, "")
	if err == nil && status != 0 {
		err = fmt.Errorf("exit status %d: %s", status, lastLine(stderr.String()))
	}
	if err != nil {
		return fmt.Errorf("delete failed container: %w", err)
	}
	return nil
}

// killContainer kills all processes in the container's cgroup until none is
// left. The cgroup is known by the container's id, which is its last component
// (cgroupfs driver) or stands in it (systemd driver).
func killContainer(ctx context.Context, id string) error {
	for {
		pids, err := inCgroup(id)
		if err != nil || len(pids) == 0 {
			return err
		}
		for _, pid := range pids {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("kill process %d: %w", pid, err)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("kill processes of container %.12s: %d left: %w", id, len(pids), ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// inCgroup lists the live processes whose cgroup path has a component made of
// the container's id.
func inCgroup(id string) ([]int, error) {
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var pids []int
	for _, dir := range dirs {
		pid, err := strconv.Atoi(dir.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		groups, err := os.ReadFile(filepath.Join("/proc", dir.Name(), "cgroup"))
		if err != nil || !mentions(string(groups), id) || zombie(pid) {
			continue
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

func mentions(groups, id string) bool {
	for part := range strings.FieldsFuncSeq(groups, func(r rune) bool { return r == '/' || r == '\n' }) {
		if part == id || strings.HasSuffix(part, "-"+id+".scope") {
			return true
		}
	}
	return false
}

// unmountBelow detaches every mount below a directory, the deepest first.
func unmountBelow(dir string) error {
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		return fmt.Errorf("list mounts below %s: %w", dir, err)
	}
	for i := len(mounts) - 1; i >= 0; i-- {
		if err := unix.Unmount(mounts[i].Mountpoint, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("unmount %s: %w", mounts[i].Mountpoint, err)
		}
	}
	return nil
}

// runcError returns what runc wrote into its own log.
func runcError(log string) string {
	data, err := os.ReadFile(log)
	if err != nil || len(data) > 1<<20 {
		return ""
	}
	return string(data)
}
