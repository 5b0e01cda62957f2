package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/containerd/cgroups/v3"
	"golang.org/x/sys/unix"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/conf"
	"github.com/rekindle-dev/rekindle/criu"
)

// leastRunc is the oldest runc that Rekindle is tested with.
var leastRunc = criu.Version{Major: 1, Minor: 5}

func checkUser(euid int) finding {
	if euid != 0 {
		return poor("not root", "run it with sudo: much of what is checked only root can see")
	}
	return good("root")
}

// checkKernel tells what the node is. Whether its kernel suits is for `criu
// check` to say.
func checkKernel(runDir string) finding {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return failed(fmt.Errorf("read kernel version: %w", err), "")
	}
	version := "v1"
	if cgroups.Mode() == cgroups.Unified {
		version = "v2"
	}
	found := fmt.Sprintf("%s, %s, cgroup %s", unix.ByteSliceToString(uts.Release[:]), runtime.GOARCH, version)
	if runtime.GOARCH != "amd64" {
		return poor(found, "Rekindle is tested on amd64 only")
	}
	if fs, err := filesystem(runDir); err != nil || fs.Type != unix.TMPFS_MAGIC {
		return poor(found+", "+runDir+" is not a tmpfs",
			"CRIU keeps what it learns of the kernel in /run, and only on a tmpfs; without, every dump and restore probes the kernel again")
	}
	return good(found)
}

const criuAdvice = "install CRIU 4.2 or newer on the PATH of containerd; distributions often have an older one (https://criu.org/Installation)"

// checkCRIU looks at the program, and at what it can learn from the kernel about
// memory.
func checkCRIU(ctx context.Context) (engine, dirty finding) {
	f, err := criu.Probe(ctx)
	found := fmt.Sprintf("%s, version %s", f.Path, f.Version)
	switch {
	case err != nil:
		engine = failed(err, criuAdvice)
	case f.Version.Less(criu.LeastVersion):
		engine = bad(found, criuAdvice)
	case f.Problem != "":
		engine = bad(found+", criu check: "+f.Problem, "run 'criu check' as root; what it names is missing in the kernel or is not permitted")
	default:
		engine = good(found)
	}
	if f.DirtyTracking {
		return engine, good("on: CRIU can see which memory has changed")
	}
	// No dump of ours asks for it, so that nothing is lost.
	return engine, good("off, and not needed")
}

func checkCRIUConfigs(dir string) finding {
	found, err := criu.GlobalConfigs(dir)
	if err != nil {
		return poor(err.Error(), "")
	}
	if len(found) > 0 {
		return poor(strings.Join(found, ", "), "these options hold for every dump and restore of Rekindle too, and may break them; remove the files unless something else needs them")
	}
	return good("no node-wide options")
}

func checkRunc(ctx context.Context) finding {
	path, out, err := ask(ctx, "runc", "--version")
	if err != nil {
		return failed(err, "install runc on the PATH of containerd")
	}
	v, err := criu.ParseVersion(out)
	if err != nil {
		return failed(err, "is this runc?")
	}
	found := fmt.Sprintf("%s, version %s", path, v)
	if v.Less(leastRunc) {
		return poor(found, fmt.Sprintf("Rekindle is tested with runc %d.%d and newer", leastRunc.Major, leastRunc.Minor))
	}
	return good(found)
}

// checkTar looks for the program with which CRIU dumps a tmpfs.
func checkTar(ctx context.Context) finding {
	const advice = "install GNU tar on the PATH of containerd: CRIU needs it for containers with a tmpfs of their own"
	path, out, err := ask(ctx, "tar", "--version")
	if err != nil {
		return failed(err, advice)
	}
	if !strings.Contains(out, "GNU tar") {
		return bad(path+" is not GNU tar", advice)
	}
	return good(path)
}

// ask runs a program of the PATH and returns where it is and what it prints.
func ask(ctx context.Context, name string, args ...string) (path, out string, err error) {
	path, err = exec.LookPath(name)
	if err != nil {
		return "", "", fmt.Errorf("find %s: %w", name, err)
	}
	data, err := exec.CommandContext(ctx, path, args...).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) && len(exit.Stderr) > 0 {
			err = fmt.Errorf("%w: %s", err, lastLine(string(exit.Stderr)))
		}
		return path, "", fmt.Errorf("run %s %s: %w", path, strings.Join(args, " "), err)
	}
	return path, string(data), nil
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// volatile are the filesystems on which a store does not do what it is for.
var volatile = map[int64]string{
	unix.TMPFS_MAGIC:           "it is gone after a reboot, and takes memory",
	unix.OVERLAYFS_SUPER_MAGIC: "it is a container's own and goes with it",
	unix.NFS_SUPER_MAGIC:       "it is on the network, which makes every dump and restore wait, and it may map root away",
}

var filesystemNames = map[int64]string{
	unix.BTRFS_SUPER_MAGIC: "btrfs", unix.EXT4_SUPER_MAGIC: "ext4", unix.NFS_SUPER_MAGIC: "nfs",
	unix.OVERLAYFS_SUPER_MAGIC: "overlay", unix.TMPFS_MAGIC: "tmpfs", unix.XFS_SUPER_MAGIC: "xfs",
}

func checkStore(c conf.Store) finding {
	fs, err := filesystem(c.Path)
	if err != nil {
		return failed(err, "set store.path in the configuration file")
	}
	name := filesystemNames[fs.Type]
	if name == "" {
		name = fmt.Sprintf("filesystem %#x", fs.Type)
	}
	free := int64(fs.Bavail) * fs.Bsize
	found := fmt.Sprintf("%s on %s, %s free", c.Path, name, size(free))
	if free < int64(c.MinFree) {
		return bad(found, fmt.Sprintf("no dump is started with less than store.min_free (%s) free: free space, or put the store elsewhere", size(int64(c.MinFree))))
	}
	if why := volatile[fs.Type]; why != "" {
		return poor(found, "put the store on a local disk: "+why)
	}
	return good(found)
}

// filesystem describes the one on which a path is, or would be if it were made.
func filesystem(path string) (unix.Statfs_t, error) {
	for {
		var st unix.Statfs_t
		err := unix.Statfs(path, &st)
		if err == nil {
			return st, nil
		}
		if parent := filepath.Dir(path); errors.Is(err, unix.ENOENT) && parent != path {
			path = parent
			continue
		}
		return st, fmt.Errorf("examine filesystem of %s: %w", path, err)
	}
}

func (a *app) checkDaemon(ctx context.Context) finding {
	d, err := a.dial(ctx)
	if err != nil {
		return failed(err, "start rekindled; until then pods start and stop as without it")
	}
	defer d.close()
	resp, err := d.List(ctx, &api.ListRequest{})
	if err = d.fault(err); err != nil {
		return failed(err, "see the daemon's log")
	}
	return good(fmt.Sprintf("answers on %s, %d checkpoints", a.socket, len(resp.Checkpoints)))
}
