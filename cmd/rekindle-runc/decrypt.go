package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/criu"
	"github.com/rekindle-dev/rekindle/crypt"
	failpoint "github.com/rekindle-dev/rekindle/fail"
	"github.com/rekindle-dev/rekindle/store"
)

// decryptVerb is the command by which the shim has a checkpoint decrypted. runc has
// none of that name.
const decryptVerb = "decrypt"

// decrypt puts the content of an encrypted checkpoint into memory, in the directory
// of a container, whose data key is there. Its arguments are the ids of container
// and checkpoint, the checkpoint's directory, and "images" if its files are not
// needed. What is damaged is noted where CRIU's errors are, for the checkpoint is to
// blame then.
func decrypt(ctx context.Context, args []string) error {
	if len(args) < 3 {
		return errors.New("decrypt: CONTAINER CHECKPOINT DIRECTORY [images]")
	}
	dir, err := api.ContainerDirOf(args[0])
	if err != nil {
		return err
	}
	plain, err := api.PlainOf(args[0])
	if err != nil {
		return err
	}
	dataKey, err := plain.Key()
	if err != nil {
		return err
	}
	var skip []string
	if len(args) > 3 {
		skip = []string{store.RootfsDir, store.ShmDir}
	}
	ctx, cancel := whileParentLives(ctx)
	defer cancel()
	if err := failpoint.DecryptBegin.Hit(); err != nil {
		return err
	}
	err = decryptTo(ctx, plain.Content(), filepath.Join(args[2], store.ContentName), dataKey, args[1], skip)
	if errors.Is(err, crypt.ErrAltered) {
		blame := os.MkdirAll(dir.Work(), 0o700)
		if blame == nil {
			blame = criu.NoteInLog(filepath.Join(dir.Work(), criu.RestoreLog), err)
		}
		return errors.Join(err, blame)
	}
	if err == nil {
		err = failpoint.DecryptDone.Hit()
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return errors.Join(err, plain.DiscardContent())
	}
	return nil
}

// parentPoll is the pause between two looks for the shim.
const parentPoll = 50 * time.Millisecond

// whileParentLives returns a context that ends when the program that started this one
// does. Nobody would remove the plain text then.
func whileParentLives(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	parent := os.Getppid()
	go func() {
		for os.Getppid() == parent && ctx.Err() == nil {
			time.Sleep(parentPoll)
		}
		cancel()
	}()
	return ctx, cancel
}

func decryptTo(ctx context.Context, dir, name string, dataKey []byte, checkpoint string, skip []string) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("open encrypted content: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("examine encrypted content: %w", err)
	}
	// As much again for the processes; time has passed since the daemon asked.
	if err := crypt.Fits(dir, info.Size(), 2*info.Size()); err != nil {
		return err
	}
	return crypt.Read(ctx, f, dir, dataKey, checkpoint, skip...)
}
