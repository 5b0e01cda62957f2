package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/containerd/log"

	"github.com/rekindle-dev/rekindle/agent"
	"github.com/rekindle-dev/rekindle/conf"
	"github.com/rekindle-dev/rekindle/crypt"
)

const (
	// keyTime bounds the command that gives the keys.
	keyTime = 10 * time.Second
	// keyRetry is when keys that could not be had are asked for again.
	keyRetry = 30 * time.Second
)

var errKeyText = errors.New("more than 64 KiB are not a list of keys")

// useKeys gives the agent the keys that its configuration names. When they cannot be
// had, those of before stay; that there are none keeps nothing from running but
// encrypted checkpoints.
func useKeys(ctx context.Context, a *agent.Agent) {
	e := a.Config().Encryption
	if !e.On() {
		a.UseKeys(nil, nil)
		return
	}
	keys, err := loadKeys(ctx, e)
	switch {
	case err == nil:
		a.UseKeys(keys, nil)
		log.G(ctx).WithField("key", keys.Current()).Info("new checkpoints are encrypted")
	case a.HasKeys():
		log.G(ctx).WithError(err).Error("encryption keys not read again, the former ones stay in use")
	default:
		a.UseKeys(nil, err)
		log.G(ctx).WithError(err).Error("no checkpoint is made before there is a key to encrypt it with")
	}
}

// askForKeys asks for keys that could not be had again, until ctx ends.
func askForKeys(ctx context.Context, a *agent.Agent) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(keyRetry):
		}
		if !a.HasKeys() {
			useKeys(ctx, a)
		}
	}
}

func loadKeys(ctx context.Context, e conf.Encryption) (*crypt.Keys, error) {
	if e.KeyFile != "" {
		return crypt.ReadKeyFile(e.KeyFile)
	}
	text, err := runKeyCommand(ctx, e.KeyCommand)
	defer clear(text)
	if err != nil {
		return nil, err
	}
	return crypt.ParseKeys(text)
}

// runKeyCommand runs the program that writes the keys, without a shell. What it
// says beside them goes to the daemon's log.
func runKeyCommand(ctx context.Context, command []string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, keyTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.WaitDelay = time.Second
	out := &limited{left: crypt.MaxKeyText}
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("ask %s for the encryption keys: %w", command[0], errors.Join(err, ctx.Err()))
	}
	return out.Bytes(), nil
}

// limited refuses what is too long.
type limited struct {
	bytes.Buffer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= len(p); l.left < 0 {
		return 0, errKeyText
	}
	return l.Buffer.Write(p)
}
