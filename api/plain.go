package api

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// PlainDir is where the content of encrypted checkpoints lies in plain text, while
// a dump or a restore needs it: a file system in memory, which the daemon mounts
// there.
const PlainDir = RunDir + "/plain"

// ErrOnDisk is returned where plain text would be written to a disk.
var ErrOnDisk = errors.New(PlainDir + " is not in memory; encrypted checkpoints need a tmpfs there that daemon and shims see")

// Plain is the directory there of one dump, by the checkpoint's id, or of one
// container that is restored, or sleeps, by the container's.
type Plain string

// PlainOf returns the directory of that name. It does not touch the file system.
func PlainOf(name string) (Plain, error) {
	if len(name) > 128 || !containerID.MatchString(name) {
		return "", fmt.Errorf("%w: %.160q", ErrBadContainerID, name)
	}
	return Plain(filepath.Join(PlainDir, name)), nil
}

// Content is the directory of the content.
func (p Plain) Content() string { return filepath.Join(string(p), "content") }

// Handover is the directory of the images with which a container gets its sockets
// back.
func (p Plain) Handover() string { return filepath.Join(string(p), "handover") }

func (p Plain) key() string { return filepath.Join(string(p), "key") }

// MakeContent makes the directory of the content anew, unless that is on a disk
// ([ErrOnDisk]).
func (p Plain) MakeContent() error {
	if err := p.make(); err != nil {
		return err
	}
	if err := p.DiscardContent(); err != nil {
		return err
	}
	if err := os.Mkdir(p.Content(), 0o700); err != nil {
		return fmt.Errorf("make directory in memory: %w", err)
	}
	return nil
}

func (p Plain) make() error {
	var fs unix.Statfs_t
	if err := unix.Statfs(PlainDir, &fs); err != nil || fs.Type != unix.TMPFS_MAGIC {
		return errors.Join(ErrOnDisk, err)
	}
	if err := os.MkdirAll(string(p), 0o700); err != nil {
		return fmt.Errorf("make directory in memory: %w", err)
	}
	return nil
}

// WriteKey leaves the data key with which the content is decrypted.
func (p Plain) WriteKey(dataKey []byte) error {
	if err := p.make(); err != nil {
		return err
	}
	if err := os.WriteFile(p.key(), dataKey, 0o600); err != nil {
		return fmt.Errorf("leave data key: %w", err)
	}
	return nil
}

// Key reads the data key.
func (p Plain) Key() ([]byte, error) {
	dataKey, err := os.ReadFile(p.key())
	if err != nil {
		return nil, fmt.Errorf("read data key: %w", err)
	}
	return dataKey, nil
}

// HasKey tells whether there is a data key: whether what the container is restored
// from is encrypted.
func (p Plain) HasKey() bool {
	_, err := os.Lstat(p.key())
	return err == nil
}

// DiscardContent removes what was decrypted, and leaves the key.
func (p Plain) DiscardContent() error {
	if err := errors.Join(os.RemoveAll(p.Handover()), os.RemoveAll(p.Content())); err != nil {
		return fmt.Errorf("discard plain text: %w", err)
	}
	return nil
}

// Discard removes all of it; there being nothing is fine.
func (p Plain) Discard() error {
	if err := os.RemoveAll(string(p)); err != nil {
		return fmt.Errorf("discard plain text: %w", err)
	}
	return nil
}
