package crypt

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
)

// KeyBytes is the length of a key of the node, and of a data key.
const KeyBytes = 32

const (
	// maxKeys bounds the keys of a node.
	maxKeys = 100
	// idBytes is how much of a key's digest names it.
	idBytes = 8
)

var (
	// ErrNoKey is returned when the key is missing that a data key was wrapped with.
	ErrNoKey = errors.New("the node does not have the key")
	// ErrKeys is returned for what are no keys.
	ErrKeys = errors.New("not a list of keys")
	// ErrAltered is returned for what does not decrypt: it was changed, cut off or
	// mixed up, or encrypted with another key.
	ErrAltered = errors.New("the encrypted content is damaged")
)

// Keys are those of a node. They do not change, and may be used by many at the
// same time.
type Keys struct {
	// byID has all of them, and current is the id of the first.
	byID    map[string]cipher.AEAD
	current string
}

// ParseKeys reads keys: one a line, in hexadecimal, the current one first. Empty
// lines and those that begin with # are passed over. No part of the text is in an
// error.
func ParseKeys(text []byte) (*Keys, error) {
	k := &Keys{byID: map[string]cipher.AEAD{}}
	for n, line := range bytes.Split(text, []byte("\n")) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		key := make([]byte, KeyBytes)
		if len(line) != hex.EncodedLen(KeyBytes) {
			return nil, fmt.Errorf("%w: line %d has not the %d hexadecimal digits of a key", ErrKeys, n+1, hex.EncodedLen(KeyBytes))
		}
		if _, err := hex.Decode(key, line); err != nil {
			return nil, fmt.Errorf("%w: line %d is not hexadecimal", ErrKeys, n+1)
		}
		if len(k.byID) == maxKeys {
			return nil, fmt.Errorf("%w: more than %d", ErrKeys, maxKeys)
		}
		aead, err := wrapping(key)
		if err != nil {
			return nil, err
		}
		id := idOf(key)
		if k.byID[id] = aead; k.current == "" {
			k.current = id
		}
	}
	if k.current == "" {
		return nil, fmt.Errorf("%w: there is none in it", ErrKeys)
	}
	return k, nil
}

func wrapping(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("use key: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("use key: %w", err)
	}
	return aead, nil
}

// idOf names a key without telling anything about it: a key is 256 bits at random.
func idOf(key []byte) string {
	sum := sha256.Sum256(append([]byte("rekindle key id\n"), key...))
	return hex.EncodeToString(sum[:idBytes])
}

// Current returns the id of the key that new data keys are wrapped with.
func (k *Keys) Current() string { return k.current }

// Has tells whether the key with that id is among them.
func (k *Keys) Has(id string) bool { return k.byID[id] != nil }

// New makes the data key of a checkpoint, and returns it with its wrapped form,
// in hexadecimal, for the manifest.
func (k *Keys) New(checkpoint string) (dataKey []byte, wrapped string, err error) {
	dataKey = make([]byte, KeyBytes)
	if _, err := rand.Read(dataKey); err != nil {
		return nil, "", fmt.Errorf("make data key: %w", err)
	}
	sealed := k.byID[k.current].Seal(nil, nil, dataKey, boundTo(checkpoint))
	return dataKey, hex.EncodeToString(sealed), nil
}

// Unwrap returns the data key of a checkpoint: [ErrNoKey] if the node does not have
// the key with that id, [ErrAltered] if it does not fit.
func (k *Keys) Unwrap(id, wrapped, checkpoint string) ([]byte, error) {
	aead := k.byID[id]
	if aead == nil {
		return nil, fmt.Errorf("unwrap data key: %w %s", ErrNoKey, id)
	}
	sealed, err := hex.DecodeString(wrapped)
	if err != nil {
		return nil, fmt.Errorf("unwrap data key: %w", ErrAltered)
	}
	dataKey, err := aead.Open(nil, nil, sealed, boundTo(checkpoint))
	if err != nil || len(dataKey) != KeyBytes {
		return nil, fmt.Errorf("unwrap data key: %w", ErrAltered)
	}
	return dataKey, nil
}

// boundTo keeps a data key from being given to another checkpoint.
func boundTo(checkpoint string) []byte { return []byte("rekindle data key\n" + checkpoint) }
