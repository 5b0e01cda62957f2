package criu

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// Of CRIU's mnt.proto: numbers of fields, and types of file systems.
const (
	mountType     = 1
	mountDevice   = 3
	mountRoot     = 6
	mountOptions  = 9
	mountShared   = 10
	mountMaster   = 11
	mountFsname   = 14
	mountSbFlags  = 17
	mountExternal = 18

	typeTmpfs   = 5
	typeCgroup  = 12
	typeAuto    = 16
	typeCgroup2 = 23
)

// tmpfsForm is the name of the image of a file system in memory, by its device, and
// of the external mount that takes its place; mountsForm that of the list of mounts
// of a namespace.
const (
	tmpfsForm  = "tmpfs-dev-%d.tar.gz.img"
	filledForm = "tmpfs-%d"
	mountsForm = "mountpoints-%d.img"
)

// memory is what becomes of the file systems in memory of a container, by device.
// CRIU starts tar and gzip for each, which is a good part of what a small container
// takes to wake.
type memory struct {
	// empty ones are just as a mount of a new one would be.
	empty map[uint64]bool
	// plain ones have little in them, and nothing but what fill makes; see there.
	plain map[uint64]bool
}

// inMemory looks at the images of file systems in memory. Those that are in neither
// of the lists are left to CRIU.
func inMemory(images string, names []string) (memory, error) {
	found := memory{empty: map[uint64]bool{}, plain: map[uint64]bool{}}
	mounts, private, err := tmpfsMounts(images, names)
	if err != nil {
		return found, err
	}
	for _, name := range names {
		device, ok := numbered(tmpfsForm, name)
		if !ok || len(mounts[device]) == 0 {
			continue
		}
		switch entries, err := contents(filepath.Join(images, name)); {
		case err != nil: // in doubt CRIU's
		case asMade(entries) && !slices.ContainsFunc(mounts[device], tmpfsMount.ownRoot):
			found.empty[device] = true
		case private && len(mounts[device]) == 1 && mounts[device][0].simple():
			found.plain[device] = true
		}
	}
	return found, nil
}

// tmpfsMount is one mount of a file system in memory.
type tmpfsMount struct {
	root, options string
	sbFlags       uint64
}

// tmpfsMounts lists them by device, and tells whether no mount is of a group in which
// others appear by themselves; control groups do not count, they are mounted from a
// place of their own.
func tmpfsMounts(images string, names []string) (found map[uint64][]tmpfsMount, private bool, err error) {
	found, private = map[uint64][]tmpfsMount{}, true
	for _, name := range names {
		if !is(mountsForm, name) {
			continue
		}
		data, err := os.ReadFile(filepath.Join(images, name))
		if err != nil {
			return nil, false, fmt.Errorf("read image: %w", err)
		}
		_, err = eachEntry(data, func(entry []byte) ([]byte, error) {
			m, err := fields(entry)
			if err != nil {
				return nil, err
			}
			switch m[mountType].number {
			case typeCgroup, typeCgroup2:
			default:
				private = private && m[mountShared].number == 0 && m[mountMaster].number == 0
			}
			if inside(m) {
				device := m[mountDevice].number
				found[device] = append(found[device], tmpfsMount{
					string(m[mountRoot].bytes), string(m[mountOptions].bytes), m[mountSbFlags].number,
				})
			}
			return entry, nil
		})
		if err != nil {
			return nil, false, fmt.Errorf("%s: %w", name, err)
		}
	}
	return found, private, nil
}

// inside tells whether a mount is one of a file system in memory that is not mounted
// from outside the container. Of the latter kind may be files of its own /dev.
func inside(m map[protowire.Number]field) bool {
	return m[mountType].number == typeTmpfs && m[mountExternal].bytes == nil
}

// ownRoot tells whether the options give the root of a file system in memory
// another mode or owner than the kernel would.
func (m tmpfsMount) ownRoot() bool {
	return slices.ContainsFunc(strings.Split(m.options, ","), func(o string) bool {
		return strings.HasPrefix(o, "mode=") || strings.HasPrefix(o, "uid=") || strings.HasPrefix(o, "gid=")
	})
}

// simple tells whether the whole is mounted, in a way that fill can repeat.
func (m tmpfsMount) simple() bool {
	return m.root == "/" && m.sbFlags == 0 && !strings.Contains(m.options, "context=")
}

// mount returns a mnt_entry that CRIU mounts without starting tar: an empty file
// system as one of a type of which it knows the name alone, and a plain one as an
// external mount.
func (m memory) mount(entry []byte) ([]byte, error) {
	mount, err := fields(entry)
	if err != nil || !inside(mount) {
		return entry, err
	}
	// The last occurrence of a field counts.
	switch device := mount[mountDevice].number; {
	case m.empty[device]:
		entry = appendNumber(slices.Clone(entry), mountType, typeAuto)
		return appendBytes(entry, mountFsname, []byte("tmpfs")), nil
	case m.plain[device]:
		return appendBytes(slices.Clone(entry), mountExternal, fmt.Appendf(nil, filledForm, device)), nil
	}
	return entry, nil
}

// needless tells whether the image is one that CRIU does not read then.
func (m memory) needless(name string) bool {
	device, ok := numbered(tmpfsForm, name)
	return ok && m.empty[device]
}

// places makes the directories in which the plain ones are filled.
func (m memory) places(dir string) error {
	for device := range m.plain {
		if err := os.Mkdir(filepath.Join(dir, fmt.Sprintf(filledForm, device)), 0o700); err != nil {
			return fmt.Errorf("make place of a mount: %w", err)
		}
	}
	return nil
}
