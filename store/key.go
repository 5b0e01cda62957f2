package store

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/rekindle-dev/rekindle/fail"
)

// KeysDir is where the keys are, unless [WithKeys] says otherwise.
const KeysDir = "keys"

const (
	keyExt   = ".key"
	keyBytes = 32
	macStart = "hmac-sha256:"
)

// keyring holds the keys that manifests are authenticated with. Each is a file
// of its own, and never changes: the key and the SHA-256 of it, in hexadecimal,
// so that a key that was damaged is not taken for another one.
type keyring struct {
	root *os.Root
	dir  string

	mu      sync.RWMutex
	keys    map[string][]byte
	current string
}

// Key is what may be told of a key.
type Key struct {
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
	// Current is set for the one that new checkpoints are sealed with.
	Current bool `json:"current"`
	// Checkpoints is how many are sealed with it.
	Checkpoints int `json:"checkpoints"`
}

// openKeys reads the keys, and makes the first one where there is none. A file
// that holds no key is reported and passed over.
func (s *Store) openKeys() (err error) {
	k := &keyring{dir: s.keysPath, keys: map[string][]byte{}}
	if k.dir == "" {
		k.dir = filepath.Join(s.path, KeysDir)
	}
	if k.root, err = openRoot(k.dir); err != nil {
		return fmt.Errorf("open keys: %w", err)
	}
	s.keyring = k
	names, err := namesIn(k.root, ".")
	if err != nil {
		return fmt.Errorf("list keys: %w", err)
	}
	for _, name := range names {
		id, isKey := strings.CutSuffix(name, keyExt)
		if !isKey || !validID(id) {
			continue
		}
		key, err := readKey(k.root, name)
		if err != nil {
			s.report(filepath.Join(KeysDir, name), err)
			continue
		}
		k.keys[id] = key
		k.current = max(k.current, id)
	}
	if k.current == "" {
		_, err = s.RotateKey()
	}
	return err
}

// readKey refuses a key that others than its owner could read or write.
func readKey(root *os.Root, name string) ([]byte, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("examine key: %w", err)
	}
	if !info.Mode().IsRegular() || info.Mode().Perm() != fileMode {
		return nil, fmt.Errorf("%w: a key is a file of mode %#o", ErrUnsafe, fileMode)
	}
	data, err := io.ReadAll(io.LimitReader(f, 1<<10))
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	text, sum, _ := strings.Cut(strings.TrimSuffix(string(data), "\n"), " ")
	key, err := hex.DecodeString(text)
	if err != nil || len(key) != keyBytes || sum != checkOf(key) {
		return nil, fmt.Errorf("%w: the file is damaged", ErrKey)
	}
	return key, nil
}

func checkOf(key []byte) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:])
}

// RotateKey makes a new key, durably, with which checkpoints are sealed from now
// on, and returns its id. The former ones go on verifying what they have sealed,
// until they are retired.
func (s *Store) RotateKey() (string, error) {
	k := s.keyring
	k.mu.Lock()
	defer k.mu.Unlock()
	last, _ := ulid.ParseStrict(k.current) // zero when there is none
	id, err := nextID(last, s.now())
	if err != nil {
		return "", &Error{Op: "rotate key", Err: err}
	}
	key := make([]byte, keyBytes)
	if _, err := rand.Read(key); err != nil {
		return "", &Error{Op: "rotate key", Err: err}
	}
	if err := fail.KeyWrite.Hit(); err != nil {
		return "", &Error{Op: "rotate key", Err: err}
	}
	text := fmt.Sprintf("%s %s\n", hex.EncodeToString(key), checkOf(key))
	if err := replaceFile(k.root, id.String()+keyExt, []byte(text)); err != nil {
		return "", &Error{Op: "rotate key", Err: err}
	}
	k.current = id.String()
	k.keys[k.current] = key
	return k.current, nil
}

// RetireKey removes a key that is not the current one. What it has sealed can
// never be restored any more ([ErrKey]).
func (s *Store) RetireKey(id string) error {
	k := s.keyring
	k.mu.Lock()
	defer k.mu.Unlock()
	e := &Error{Op: "retire key", ID: id}
	switch {
	case !validID(id):
		e.Err, e.ID = fmt.Errorf("%.40q: %w", id, ErrKey), ""
		return e
	case id == k.current:
		e.Err, e.Hint = ErrInUse, "it is the current one; rotate first"
		return e
	}
	err := k.root.Remove(id + keyExt)
	if errors.Is(err, fs.ErrNotExist) {
		e.Err, e.Hint = ErrKey, "there is no such key"
		return e
	}
	if err == nil {
		err = syncPath(k.root, ".")
	}
	if err != nil {
		e.Err = err
		return e
	}
	delete(k.keys, id)
	return nil
}

// Keys lists the keys, the newest first.
func (s *Store) Keys() ([]Key, error) {
	counts := map[string]int{}
	err := s.lineages(func(l Lineage) error {
		list, _, err := s.read(l)
		for _, c := range list {
			counts[c.KeyID]++
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("count what keys have sealed: %w", err)
	}
	k := s.keyring
	k.mu.RLock()
	defer k.mu.RUnlock()
	var all []Key
	for id := range k.keys {
		u, err := parseID(id)
		if err != nil {
			return nil, err
		}
		all = append(all, Key{ID: id, Created: ulid.Time(u.Time()).UTC(), Current: id == k.current, Checkpoints: counts[id]})
	}
	slices.SortFunc(all, func(a, b Key) int { return strings.Compare(b.ID, a.ID) })
	return all, nil
}

// sealing returns the key for new manifests.
func (k *keyring) sealing() (id string, key []byte) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.current, k.keys[k.current]
}

// authentic returns nil for a manifest that was sealed on this node.
func (k *keyring) authentic(m Manifest) error {
	k.mu.RLock()
	key, known := k.keys[m.KeyID]
	k.mu.RUnlock()
	if !known {
		return fmt.Errorf("%w: it was sealed with %s", ErrKey, m.KeyID)
	}
	mac, err := m.mac(key)
	if err != nil {
		return err
	}
	if !hmac.Equal([]byte(mac), []byte(m.MAC)) {
		return fmt.Errorf("%w: the MAC of its manifest does not match", ErrCorrupt)
	}
	return nil
}
