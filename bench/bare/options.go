package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/rekindle-dev/rekindle/handover"
)

// sleeper is a sleeping container, as the flags tell of it.
type sleeper struct {
	bundle, checkpoint, handover, root string
	holder                             int
}

// link makes a directory of the checkpoint's images, but for the lists of open files.
func (c sleeper) link(dir string) error {
	files, err := os.ReadDir(c.checkpoint)
	if err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	for _, f := range files {
		from := c.checkpoint
		if f.Name() == "files.img" || strings.HasPrefix(f.Name(), "fdinfo-") {
			from = c.handover
		}
		// CRIU follows the link from within the container's root, too.
		back, err := filepath.Rel(dir, from)
		if err != nil {
			return err
		}
		if err := os.Symlink(filepath.Join(back, f.Name()), filepath.Join(dir, f.Name())); err != nil {
			return err
		}
	}
	return nil
}

// options are those with which runc has the container restored, in the words of
// criu's command line.
func (c sleeper) options(images, work string) ([]string, error) {
	var spec specs.Spec
	if err := read(filepath.Join(c.bundle, "config.json"), &spec); err != nil {
		return nil, err
	}
	args := []string{
		"restore", "--restore-detached", "-D", images, "-W", work, "-o", "restore.log", "-v4",
		"--root", c.root, "--evasive-devices", "--file-locks",
		"--config", spec.Annotations["org.criu.config"],
	}
	for _, more := range []func(*specs.Spec) ([]string, error){mounts, namespaces, c.pipes, c.sockets} {
		list, err := more(&spec)
		if err != nil {
			return nil, err
		}
		args = append(args, list...)
	}
	return args, nil
}

// mounts are those that come from outside the container.
func mounts(spec *specs.Spec) (args []string, err error) {
	external := func(at, from string) { args = append(args, "--external", "mnt["+at+"]:"+from) }
	for _, m := range spec.Mounts {
		switch m.Type {
		case "bind":
			external(m.Destination, m.Source)
		case "cgroup":
			groups, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup"))
			if err != nil {
				return nil, err
			}
			for _, g := range groups {
				external(filepath.Join(m.Destination, filepath.Base(g.Mountpoint)), g.Mountpoint)
			}
		}
	}
	if len(spec.Linux.MaskedPaths) > 0 {
		external("/dev/null", "/dev/null")
	}
	return args, nil
}

// namespaces are those of the pod.
func namespaces(spec *specs.Spec) (args []string, err error) {
	for _, n := range spec.Linux.Namespaces {
		switch {
		case n.Path == "":
		case n.Type == specs.NetworkNamespace:
			fd, err := unix.Open(n.Path, unix.O_RDONLY, 0)
			if err != nil {
				return nil, fmt.Errorf("open %s: %w", n.Path, err)
			}
			args = append(args, "--inherit-fd", fmt.Sprintf("fd[%d]:extRootNetNS", fd))
		default:
			args = append(args, "--join-ns", string(n.Type)+":"+n.Path)
		}
	}
	return args, nil
}

// pipes are those of the container's log; nobody reads it here.
func (c sleeper) pipes(*specs.Spec) (args []string, err error) {
	var files []string
	if err := read(filepath.Join(c.checkpoint, "descriptors.json"), &files); err != nil {
		return nil, err
	}
	for _, name := range files {
		if !strings.HasPrefix(name, "pipe:") {
			continue
		}
		fd, err := unix.Open(os.DevNull, unix.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		args = append(args, "--inherit-fd", fmt.Sprintf("fd[%d]:%s", fd, name))
	}
	return args, nil
}

// heldName is how the image of open files calls a held socket; before it stands
// how long the whole name is.
var heldName = []byte("/handover-")

// heldIn lists the inodes of the sockets that an image of open files names.
func heldIn(files []byte) (inodes []uint64, err error) {
	for at := bytes.Index(files, heldName); at > 0; at = bytes.Index(files, heldName) {
		name := files[at:min(len(files), at+int(files[at-1]))]
		inode, err := strconv.ParseUint(string(name[len(heldName):]), 10, 64)
		if err != nil {
			return nil, err
		}
		inodes = append(inodes, inode)
		files = files[at+len(name):]
	}
	return inodes, nil
}

// sockets are those that were held while the container slept.
func (c sleeper) sockets(*specs.Spec) (args []string, err error) {
	files, err := os.ReadFile(filepath.Join(c.handover, "files.img"))
	if err != nil {
		return nil, err
	}
	held, err := c.held()
	if err != nil {
		return nil, err
	}
	var sockets []handover.Socket
	inodes, err := heldIn(files)
	if err != nil {
		return nil, err
	}
	for _, inode := range inodes {
		sockets = append(sockets, handover.Socket{Inode: inode, FD: held[inode]})
	}
	fetched, err := handover.Fetch(c.holder, sockets)
	for _, s := range fetched {
		args = append(args, "--inherit-fd", fmt.Sprintf("fd[%d]:handover-%d", s.FD, s.Inode))
	}
	return args, err
}

// held finds the sockets of the process that holds them, by inode.
func (c sleeper) held() (map[uint64]int, error) {
	dir := fmt.Sprintf("/proc/%d/fd", c.holder)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	held := map[uint64]int{}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		target, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err != nil {
			continue // closed meanwhile
		}
		var inode uint64
		if _, err := fmt.Sscanf(target, "socket:[%d]", &inode); err == nil {
			held[inode] = fd
		}
	}
	return held, nil
}

func read(path string, into any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
