package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/criu"
	"github.com/rekindle-dev/rekindle/crypt"
	"github.com/rekindle-dev/rekindle/fail"
	"github.com/rekindle-dev/rekindle/store"
)

// errNoKeys is returned while encryption is on and no key could be had.
var errNoKeys = errors.New("checkpoints are to be encrypted, and there is no key")

// keyring is what the node has to encrypt with: keys, or why there are none.
type keyring struct {
	keys *crypt.Keys
	err  error
}

// UseKeys gives the node the keys with which it encrypts and decrypts, or, with nil,
// says why it has none. Both may be nil where nothing is to be encrypted.
func (a *Agent) UseKeys(keys *crypt.Keys, err error) { a.keyring.Store(&keyring{keys, err}) }

// HasKeys tells whether there are all keys that the configuration asks for.
func (a *Agent) HasKeys() bool {
	_, err := a.keys()
	return err == nil || !a.Config().Encryption.On()
}

// keys returns the node's keys, or why there are none.
func (a *Agent) keys() (*crypt.Keys, error) {
	k := a.keyring.Load()
	switch {
	case k == nil || k.keys == nil && k.err == nil:
		return nil, errNoKeys
	case k.keys == nil:
		return nil, fmt.Errorf("%w: %w", errNoKeys, k.err)
	}
	return k.keys, nil
}

// dumpInto says where a checkpoint in the making is to be dumped: into its staging
// directory, or, to be encrypted, into memory. need is about how many bytes it will
// have there.
func (a *Agent) dumpInto(staging *store.Staging, need int64) (dir string, plain api.Plain, err error) {
	if !a.Config().Encryption.On() {
		return staging.Dir(), "", nil
	}
	if _, err := a.keys(); err != nil {
		return "", "", err
	}
	if err := a.mountPlain(); err != nil {
		return "", "", err
	}
	if plain, err = api.PlainOf(staging.ID()); err != nil {
		return "", "", err
	}
	if err := plain.MakeContent(); err != nil {
		return "", "", err
	}
	if err := crypt.Fits(api.PlainDir, need, need); err != nil {
		return "", "", errors.Join(err, plain.Discard())
	}
	return plain.Content(), plain, nil
}

// encrypt makes what was dumped into memory the content of a checkpoint. The log of
// the dump, which has nothing of the container's memory, lies beside it.
func (a *Agent) encrypt(ctx context.Context, staging *store.Staging, dir string) (*store.Encryption, error) {
	if err := fail.EncryptBegin.Hit(); err != nil {
		return nil, err
	}
	keys, err := a.keys()
	if err != nil {
		return nil, err
	}
	dataKey, wrapped, err := keys.New(staging.ID())
	if err != nil {
		return nil, err
	}
	e := &store.Encryption{Scheme: crypt.Scheme, Key: keys.Current(), DataKey: wrapped}
	err = writeFile(filepath.Join(staging.Dir(), store.ContentName), func(w io.Writer) error {
		e.Bytes, err = crypt.Write(ctx, w, dir, dataKey, staging.ID())
		return err
	})
	if err != nil {
		return nil, err
	}
	log, err := os.Open(filepath.Join(dir, criu.DumpLog))
	if err == nil {
		defer log.Close()
		err = writeFile(filepath.Join(staging.Dir(), criu.DumpLog), func(w io.Writer) error {
			_, err := io.Copy(w, log)
			return err
		})
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) { // what was imported may have none
		return nil, fmt.Errorf("keep the log of the dump: %w", err)
	}
	return e, fail.EncryptDone.Hit()
}

// writeFile makes a file that fill writes.
func writeFile(name string, fill func(io.Writer) error) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(fill(f), f.Close())
}

// undecryptable says why a checkpoint cannot be decrypted now; empty when it can be,
// or need not.
func (a *Agent) undecryptable(m store.Manifest) string {
	e := m.Encryption
	if e == nil {
		return ""
	}
	keys, err := a.keys()
	switch {
	case e.Scheme != crypt.Scheme:
		return fmt.Sprintf("it is encrypted in a way that is not known: %.40q", e.Scheme)
	case err != nil:
		return fmt.Sprintf("it is encrypted with the key %s, and the node has none (%v)", e.Key, err)
	case !keys.Has(e.Key):
		return fmt.Sprintf("it is encrypted with the key %s, which the node does not have", e.Key)
	}
	if err := a.mountPlain(); err != nil {
		return err.Error()
	}
	// The plain text lies in memory while the processes get memory of their own.
	if err := crypt.Fits(api.PlainDir, e.Bytes, 2*e.Bytes); err != nil {
		return err.Error()
	}
	return ""
}

// giveKey leaves the data key of a checkpoint for the restore of a container, and
// that of no other. There is none for a checkpoint that is not encrypted.
func (a *Agent) giveKey(container string, m store.Manifest) error {
	plain, err := api.PlainOf(container)
	if err != nil || m.Encryption == nil {
		return errors.Join(err, plain.Discard())
	}
	dataKey, err := a.dataKey(m)
	if err != nil {
		return err
	}
	return plain.WriteKey(dataKey)
}

func (a *Agent) dataKey(m store.Manifest) ([]byte, error) {
	keys, err := a.keys()
	if err != nil {
		return nil, err
	}
	return keys.Unwrap(m.Encryption.Key, m.Encryption.DataKey, m.ID)
}

// decrypt puts the content of an encrypted checkpoint into memory, and returns its
// directory there. The caller discards it.
func (a *Agent) decrypt(ctx context.Context, c store.Checkpoint, name string) (api.Plain, error) {
	if reason := a.undecryptable(c.Manifest); reason != "" {
		return "", errors.New(reason)
	}
	dataKey, err := a.dataKey(c.Manifest)
	if err != nil {
		return "", err
	}
	plain, err := api.PlainOf(name)
	if err != nil {
		return "", err
	}
	if err := plain.MakeContent(); err != nil {
		return "", err
	}
	f, err := os.Open(filepath.Join(c.Dir(), store.ContentName))
	if err == nil {
		defer f.Close()
		err = crypt.Read(ctx, f, plain.Content(), dataKey, c.ID)
	}
	if err != nil {
		return "", errors.Join(err, plain.Discard())
	}
	return plain, nil
}
