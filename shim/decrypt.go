package shim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/log"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/criu"
)

// errDecrypt is returned when an encrypted checkpoint could not be decrypted.
var errDecrypt = errors.New("decrypt checkpoint")

// decrypt has the executor put the content of an encrypted checkpoint into memory,
// and returns the directory; only the images of memory when there is no need for
// files. The data key is there already. After an error nothing of it is left there.
func (c *container) decrypt(ctx context.Context, dir, checkpoint string, timeout time.Duration, images bool) (_ string, err error) {
	plain, err := api.PlainOf(c.id)
	if err != nil {
		return "", err
	}
	if err := plain.MakeContent(); err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, plain.DiscardContent())
		}
	}()
	path, err := executor()
	if err != nil {
		return "", err
	}
	args := []string{"decrypt", c.id, checkpoint, dir}
	if images {
		args = append(args, "images")
	}
	cmd := exec.Command(path, args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	status, err := criu.Run(ctx, startReaped, cmd, "")
	if err == nil && status != 0 {
		err = fmt.Errorf("exit status %d: %s", status, strings.TrimSpace(said.String()))
	}
	if err != nil {
		return "", fmt.Errorf("%w: %w", errDecrypt, err)
	}
	return plain.Content(), nil
}

// discardPlain removes what was decrypted for a restore.
func (c *container) discardPlain(ctx context.Context) {
	plain, err := api.PlainOf(c.id)
	if err == nil {
		err = plain.Discard()
	}
	if err != nil {
		log.G(ctx).WithError(err).WithField("container", c.id).Warn("remove plain text; the daemon tries again")
	}
}

// rehearse makes sure, while a container that is to sleep still has its processes,
// that its images can be made ready for its wake: they are to be encrypted, and lie
// in plain text only now.
func (c *subject) rehearse() error {
	if !c.falls() || !strings.HasPrefix(c.request.Dir, api.PlainDir+"/") {
		return nil
	}
	dir := filepath.Join(filepath.Dir(c.request.Dir), "handover")
	err := criu.HandOver(filepath.Join(c.request.Dir, criu.ImagesDir), dir, nil)
	return errors.Join(err, os.RemoveAll(dir))
}

// falls tells whether a suspension waits for the dump.
func (c *container) falls() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held != nil && c.held.suspends
}

// decryptAsleep gets the images of a sleeping container ready, with its sockets
// handed over, and has the sleep restored from them.
func (c *container) decryptAsleep(ctx context.Context, sl *sleep) (images string, err error) {
	content, err := c.decrypt(ctx, sl.images, sl.checkpoint, time.Duration(sl.how.ResumeTimeoutNs), true)
	if err != nil {
		return "", err
	}
	images = filepath.Join(content, criu.ImagesDir)
	if err := os.RemoveAll(sl.handover); err != nil {
		return "", fmt.Errorf("hand sockets over: %w", err)
	}
	return images, criu.HandOver(images, sl.handover, sl.inodes())
}
