package criu

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// mountFilled mounts the file systems in memory that HandOver has made external,
// fills them from the checkpoint, and returns the options by which CRIU finds them.
// They are in a mount namespace of the calling thread and of what it starts, so that
// nothing is left when those have ended. Without such file systems nothing is done.
func mountFilled(images string) (options []byte, err error) {
	files, err := os.ReadDir(images)
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	var names []string
	var devices []uint64
	for _, f := range files {
		names = append(names, f.Name())
		if device, ok := numbered(filledForm, f.Name()); ok {
			devices = append(devices, device)
		}
	}
	if len(devices) == 0 {
		return nil, nil
	}
	mounts, err := externalMounts(images, names)
	if err != nil {
		return nil, err
	}
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return nil, fmt.Errorf("enter a mount namespace: %w", err)
	}
	if err := keepMounts(images); err != nil {
		return nil, err
	}
	for _, device := range devices {
		name := fmt.Sprintf(filledForm, device)
		entries, err := contents(filepath.Join(images, fmt.Sprintf(tmpfsForm, device)))
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		at := filepath.Join(images, name)
		if err := unix.Mount("tmpfs", at, "tmpfs", 0, mounts[name]); err != nil {
			return nil, fmt.Errorf("mount %s: %w", name, err)
		}
		if err := fill(at, entries); err != nil {
			return nil, fmt.Errorf("fill %s: %w", name, err)
		}
		options = fmt.Appendf(options, "external mnt[%s]:%s\n", name, at)
	}
	return options, nil
}

// keepMounts keeps what is mounted below a directory in the present mount namespace.
// Everything else stays shared with the node as it was: the container may have
// volumes in which mounts of the node appear.
func keepMounts(dir string) error {
	mounts, err := mountinfo.GetMounts(mountinfo.ParentsFilter(dir))
	if err != nil {
		return fmt.Errorf("list mounts above %s: %w", dir, err)
	}
	at := "/"
	for _, m := range mounts {
		if len(m.Mountpoint) > len(at) {
			at = m.Mountpoint
		}
	}
	if err := unix.Mount("", at, "", unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mount of %s private: %w", at, err)
	}
	return nil
}

// externalMounts are the options of file systems in memory that are external, by
// the name of the mount.
func externalMounts(images string, names []string) (map[string]string, error) {
	options := map[string]string{}
	for _, name := range names {
		if !is(mountsForm, name) {
			continue
		}
		data, err := os.ReadFile(filepath.Join(images, name))
		if err != nil {
			return nil, fmt.Errorf("read image: %w", err)
		}
		_, err = eachEntry(data, func(entry []byte) ([]byte, error) {
			m, err := fields(entry)
			if err == nil && m[mountType].number == typeTmpfs {
				options[string(m[mountExternal].bytes)] = string(m[mountOptions].bytes)
			}
			return entry, err
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return options, nil
}
