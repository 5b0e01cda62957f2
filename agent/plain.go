package agent

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/containerd/log"
	"golang.org/x/sys/unix"

	"github.com/rekindle-dev/rekindle/api"
)

// mountPlain makes sure that there is the file system in memory for plain text. It
// stays when the daemon ends: containers that sleep have their data keys there.
func (a *Agent) mountPlain() error {
	a.plainMu.Lock()
	defer a.plainMu.Unlock()
	size := a.Config().Encryption.Memory
	if a.plainSize != nil && *a.plainSize == size {
		return nil
	}
	if err := os.MkdirAll(api.PlainDir, 0o700); err != nil {
		return fmt.Errorf("make directory for plain text: %w", err)
	}
	mounted, err := mountPoint(api.PlainDir)
	if err != nil {
		return err
	}
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC)
	if mounted {
		flags |= unix.MS_REMOUNT
	}
	options := "mode=0700,size=50%"
	if size > 0 {
		options = fmt.Sprintf("mode=0700,size=%d", size)
	}
	// Never to be swapped out, where the kernel knows how (6.4).
	err = unix.Mount("rekindle", api.PlainDir, "tmpfs", flags, options+",noswap")
	if errors.Is(err, unix.EINVAL) {
		err = unix.Mount("rekindle", api.PlainDir, "tmpfs", flags, options)
	}
	if err != nil {
		return fmt.Errorf("mount a file system in memory for plain text: %w", err)
	}
	a.plainSize = &size
	return nil
}

// mountPoint tells whether something is mounted in a directory.
func mountPoint(dir string) (bool, error) {
	var st, parent unix.Stat_t
	if err := errors.Join(unix.Lstat(dir, &st), unix.Lstat(dir+"/..", &parent)); err != nil {
		return false, fmt.Errorf("examine %s: %w", dir, err)
	}
	return st.Dev != parent.Dev, nil
}

// sweepPlain removes the plain text that a daemon or a shim has left that died: all
// of it but that of containers which are being restored, or sleep.
func (a *Agent) sweepPlain(ctx context.Context) {
	entries, err := os.ReadDir(api.PlainDir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		log.G(ctx).WithError(err).Warn("look for plain text that was left")
	}
	for _, e := range entries {
		plain, err := api.PlainOf(e.Name())
		if err == nil && needed(e.Name()) {
			continue
		}
		if err == nil {
			err = plain.Discard()
		}
		if err != nil {
			log.G(ctx).WithError(err).Warn("remove plain text that was left")
		}
	}
}

// needed tells whether a container is about to be restored, or sleeps.
func needed(container string) bool {
	dir, err := api.ContainerDirOf(container)
	if err != nil {
		return false
	}
	var s api.Suspension
	return dir.Read(&api.Ticket{}) == nil || dir.Read(&s) == nil && s.Asleep
}

// BeginPlain removes what plain text was left, and makes ready what encryption
// needs. It is called once, before there is any other use of it.
func (a *Agent) BeginPlain(ctx context.Context) {
	a.sweepPlain(ctx)
	a.readyPlain(ctx)
}

// readyPlain makes the place for plain text ready, if there is to be any. A failure
// keeps nothing from running but encrypted checkpoints.
func (a *Agent) readyPlain(ctx context.Context) {
	if !a.Config().Encryption.On() {
		return
	}
	if err := a.mountPlain(); err != nil {
		log.G(ctx).WithError(err).Error("no encrypted checkpoint can be made or restored")
	}
}

// discardPlain removes the plain text, and the data key, of a container that is not
// being restored any more.
func (a *Agent) discardPlain(t *tracked) {
	plain, err := api.PlainOf(t.ID)
	if err == nil {
		err = plain.Discard()
	}
	if err != nil {
		log.G(a.ctx).WithError(err).WithField("container", t.ID).Warn("remove plain text")
	}
}

// plainRoom is how many bytes of files an encrypted dump may have beside its memory.
func plainRoom(need int64) int64 {
	var fs unix.Statfs_t
	if err := unix.Statfs(api.PlainDir, &fs); err != nil {
		return 0
	}
	return max(0, int64(fs.Bavail)*fs.Bsize-need)
}
