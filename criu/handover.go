package criu

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// Inherited is a socket that a restored container gets as it is: a descriptor of
// this process that has no close-on-exec, and its inode.
type Inherited struct {
	Inode uint64
	FD    int
}

// handoverName is how a held socket is called in the images. CRIU takes it for a
// file of the root directory, and finds it among the descriptors that it
// inherits by its name without the slash.
const handoverName = "handover-"

// ErrNameTaken is returned when the container has a file open whose name means a
// socket that is handed over.
var ErrNameTaken = errors.New("the container has a file open whose name is kept for sockets: /" + handoverName + "…")

// ErrBadImage is returned for an image that CRIU has not written, or not to its
// end.
var ErrBadImage = errors.New("malformed CRIU image")

// HandOver makes dir, the directory from which a container is restored that gets
// its sockets back: in it the images say that the sockets with those inodes are
// inherited, and all that need not be changed is a link to the checkpoint's own
// file; images without which CRIU does the same, and faster, are left out. The
// checkpoint stays as it is. Sockets that are not in the images are passed over.
// After an error nothing is left.
func HandOver(images, dir string, inodes []uint64) (err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("make directory of images: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	held := make(map[uint64]bool, len(inodes))
	for _, inode := range inodes {
		held[inode] = true
	}
	data, err := os.ReadFile(filepath.Join(images, filesImage))
	if err != nil {
		return fmt.Errorf("read image: %w", err)
	}
	private := privateCopy{changed: map[uint64]bool{}}
	private.files, err = eachEntry(data, func(entry []byte) ([]byte, error) { return inheritFile(entry, held, private.changed) })
	if err != nil {
		return fmt.Errorf("%s: %w", filesImage, err)
	}
	entries, err := os.ReadDir(images)
	if err != nil {
		return fmt.Errorf("list images: %w", err)
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if private.memory, err = inMemory(images, names); err != nil {
		return err
	}
	if err := private.memory.places(dir); err != nil {
		return err
	}
	back, err := wayBack(dir, images)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := private.add(filepath.Join(images, name), filepath.Join(dir, name), filepath.Join(back, name)); err != nil {
			return fmt.Errorf("hand over in %s: %w", name, err)
		}
	}
	return nil
}

// privateCopy is what is other in the images of one sleep than in its checkpoint.
type privateCopy struct {
	// files is the image of all open files, and changed those in it that are handed
	// over, by id.
	files   []byte
	changed map[uint64]bool
	memory  memory
}

// add makes the image to of the image from; link is the way back to that.
func (p *privateCopy) add(from, to, link string) error {
	name := filepath.Base(from)
	switch {
	case name == filesImage:
		return os.WriteFile(to, p.files, 0o600)
	case is(fdinfoForm, name):
		return rewrite(from, to, func(entry []byte) ([]byte, error) { return inheritDescriptor(entry, p.changed) })
	case is(mountsForm, name):
		return rewrite(from, to, p.memory.mount)
	case p.memory.needless(name):
		return nil
	}
	return os.Symlink(link, to)
}

// wayBack is the relative path from one directory to the other. CRIU opens images
// from within the container's root too, where an absolute one leads elsewhere.
func wayBack(from, to string) (string, error) {
	var err error
	for _, path := range []*string{&from, &to} {
		if *path, err = filepath.Abs(*path); err == nil {
			*path, err = filepath.EvalSymlinks(*path)
		}
		if err != nil {
			return "", fmt.Errorf("find the way from image to image: %w", err)
		}
	}
	back, err := filepath.Rel(from, to)
	if err != nil {
		return "", fmt.Errorf("find the way from image to image: %w", err)
	}
	return back, nil
}

// filesImage lists all open files, each once; fdinfo-<n>.img the descriptors of
// one table, by the id of the file.
const (
	filesImage = "files.img"
	fdinfoForm = "fdinfo-%d.img"
)

// rewrite copies an image, with every message replaced by what change makes of it.
func rewrite(from, to string, change func([]byte) ([]byte, error)) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if data, err = eachEntry(data, change); err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o600)
}

// inheritOptions are the lines by which CRIU finds the descriptors.
func inheritOptions(sockets []Inherited) []byte {
	var lines []byte
	for _, s := range sockets {
		lines = fmt.Appendf(lines, "inherit-fd fd[%d]:%s%d\n", s.FD, handoverName, s.Inode)
	}
	return lines
}

// Of CRIU's fdinfo.proto and the messages that it holds: numbers of fields, and
// types of files.
const (
	fileType       = 1
	fileID         = 2
	fileRegular    = 3
	fileInet       = 4
	fileNetlink    = 7
	fileUnix       = 16
	descriptorID   = 1
	descriptorType = 3
	regularName    = 6

	typeRegular = 1
)

// sockets tells for each message of a socket where its inode, flags and owner
// stand.
var socketFields = map[protowire.Number]struct{ inode, flags, owner protowire.Number }{
	fileInet:    {2, 9, 13},
	fileNetlink: {2, 6, 11},
	fileUnix:    {2, 5, 9},
}

// inheritFile returns a file_entry as it is, or, for a held socket, that of a
// regular file by which CRIU finds the inherited descriptor; its id is noted in
// changed.
func inheritFile(entry []byte, held, changed map[uint64]bool) ([]byte, error) {
	file, err := fields(entry)
	if err != nil {
		return nil, err
	}
	if regular, err := fields(file[fileRegular].bytes); err != nil {
		return nil, err
	} else if strings.HasPrefix(string(regular[regularName].bytes), "/"+handoverName) {
		return nil, ErrNameTaken
	}
	for number, at := range socketFields {
		if file[number].bytes == nil {
			continue
		}
		socket, err := fields(file[number].bytes)
		if err != nil {
			return nil, err
		}
		if inode := socket[at.inode].number; held[inode] {
			changed[file[fileID].number] = true
			return regularFile(file[fileID].number, inode, socket[at.flags].number, socket[at.owner].bytes), nil
		}
	}
	return entry, nil
}

// regularFile encodes a file_entry with a reg_file_entry. Neither position nor
// owner is used for what is inherited, but they have to be there.
func regularFile(id, inode, flags uint64, owner []byte) []byte {
	const idField, flagsField, positionField, ownerField, mountField = 1, 2, 3, 5, 7
	noMount := protowire.EncodeZigZag(-1)
	var r []byte
	r = appendNumber(r, idField, id)
	r = appendNumber(r, flagsField, flags)
	r = appendNumber(r, positionField, 0)
	r = appendBytes(r, ownerField, owner)
	r = appendBytes(r, regularName, fmt.Appendf(nil, "/%s%d", handoverName, inode))
	r = appendNumber(r, mountField, noMount)
	var f []byte
	f = appendNumber(f, fileType, typeRegular)
	f = appendNumber(f, fileID, id)
	return appendBytes(f, fileRegular, r)
}

// inheritDescriptor returns a fdinfo_entry, whose type is changed together with
// that of its file.
func inheritDescriptor(entry []byte, changed map[uint64]bool) ([]byte, error) {
	descriptor, err := fields(entry)
	if err != nil {
		return nil, err
	}
	if !changed[descriptor[descriptorID].number] {
		return entry, nil
	}
	// The last occurrence of a field counts.
	return appendNumber(append([]byte(nil), entry...), descriptorType, typeRegular), nil
}
