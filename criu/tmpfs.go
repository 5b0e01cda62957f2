package criu

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// Of CRIU's mnt.proto: numbers of fields, and types of file systems.
const (
	mountType    = 1
	mountDevice  = 3
	mountOptions = 9
	mountFsname  = 14

	typeTmpfs = 5
	typeAuto  = 16
)

// tmpfsForm is the name of the image of a file system in memory, by its device; and
// mountsForm that of the list of mounts of a namespace.
const (
	tmpfsForm  = "tmpfs-dev-%d.tar.gz.img"
	mountsForm = "mountpoints-%d.img"
)

// leftOut tells whether the image is one of those file systems.
func leftOut(name string, empty map[uint64]bool) bool {
	device, ok := numbered(tmpfsForm, name)
	return ok && empty[device]
}

// emptyTmpfs finds the file systems in memory, by device, that are just as a mount
// of a new one would be: nothing is in them, and their root is the kernel's. To
// have them restored CRIU would start tar and gzip.
func emptyTmpfs(images string, names []string) (map[uint64]bool, error) {
	set := map[uint64][]string{}
	for _, name := range names {
		if _, ok := numbered(mountsForm, name); !ok {
			continue
		}
		err := eachMount(filepath.Join(images, name), func(m map[protowire.Number]field) {
			if m[mountType].number == typeTmpfs {
				device := m[mountDevice].number
				set[device] = append(set[device], strings.Split(string(m[mountOptions].bytes), ",")...)
			}
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	empty := map[uint64]bool{}
	for _, name := range names {
		device, ok := numbered(tmpfsForm, name)
		if options, mounted := set[device]; ok && mounted && !ownRoot(options) && holdsNothing(filepath.Join(images, name)) {
			empty[device] = true
		}
	}
	return empty, nil
}

// eachMount reads a list of mounts.
func eachMount(path string, see func(map[protowire.Number]field)) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	_, err = eachEntry(data, func(entry []byte) ([]byte, error) {
		mount, err := fields(entry)
		if err == nil {
			see(mount)
		}
		return entry, err
	})
	return err
}

// mountAnew returns a mnt_entry that CRIU mounts without putting anything in, if it
// is one of an empty file system in memory: of a type of which CRIU knows the name
// alone.
func mountAnew(entry []byte, empty map[uint64]bool) ([]byte, error) {
	mount, err := fields(entry)
	if err != nil || mount[mountType].number != typeTmpfs || !empty[mount[mountDevice].number] {
		return entry, err
	}
	// The last occurrence of a field counts.
	entry = appendNumber(slices.Clone(entry), mountType, typeAuto)
	return appendBytes(entry, mountFsname, []byte("tmpfs")), nil
}

// ownRoot tells whether mount options give the root of a file system in memory
// another mode or owner than the kernel would.
func ownRoot(options []string) bool {
	return slices.ContainsFunc(options, func(o string) bool {
		return strings.HasPrefix(o, "mode=") || strings.HasPrefix(o, "uid=") || strings.HasPrefix(o, "gid=")
	})
}

// mostEmpty bounds, in bytes, the image of a file system that may be empty: an
// archive of one directory, compressed.
const mostEmpty = 512

// holdsNothing tells whether the image of a file system in memory has its root
// alone, and that as the kernel makes it. In doubt it does not.
func holdsNothing(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() > mostEmpty {
		return false
	}
	unpacked, err := gzip.NewReader(f)
	if err != nil {
		return false
	}
	archive := tar.NewReader(io.LimitReader(unpacked, 1<<20))
	root, err := archive.Next()
	if err != nil || root.Name != "./" || root.Typeflag != tar.TypeDir {
		return false
	}
	const asMade = 0o1777
	if root.Mode != asMade || root.Uid != 0 || root.Gid != 0 || len(root.PAXRecords) > 0 {
		return false
	}
	_, err = archive.Next()
	return errors.Is(err, io.EOF)
}
