package store

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// MaxManifest is the largest manifest that is written or read, in bytes. It is
// room for some eighty thousand files.
const MaxManifest = 16 << 20

const digestPrefix = "sha256:"

var errManifestSize = fmt.Errorf("manifest is larger than %d MiB", MaxManifest>>20)

// Encode returns the manifest's one canonical form: JSON with the fields in
// order, one space of indentation and a newline at the end.
func (m Manifest) Encode() ([]byte, error) {
	// The copy keeps the caller's slice as it is.
	m.Files = slices.Clone(m.Files)
	if m.Files == nil {
		m.Files = []File{}
	}
	for i, f := range m.Files {
		m.Files[i].Path, m.Files[i].Link = escape(f.Path), escape(f.Link)
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(m); err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	if buf.Len() > MaxManifest {
		return nil, fmt.Errorf("encode manifest: %w", errManifestSize)
	}
	return buf.Bytes(), nil
}

// ParseManifest reads a manifest and checks it as far as it can be checked
// without the files and the key: known schema ([ErrSchema] otherwise), canonical
// form, intact digest, sound ids, names and paths ([ErrCorrupt] otherwise).
// Canonical form means that no key is unknown, missing, repeated or spelled
// otherwise. Whether this node has written it, only a [Store] can tell.
func ParseManifest(data []byte) (Manifest, error) {
	m, err := decode(data)
	if err != nil {
		return Manifest{}, err
	}
	again, err := m.Encode()
	if err == nil && !bytes.Equal(again, data) {
		err = errors.New("not in canonical form")
	}
	if err == nil {
		var want string
		if want, err = m.digest(); err == nil && m.Digest != want {
			err = errors.New("digest does not match")
		}
	}
	if err == nil {
		err = m.check()
	}
	if err != nil {
		return Manifest{}, fmt.Errorf("parse manifest: %w: %w", ErrCorrupt, err)
	}
	return m, nil
}

// decode reads the JSON and undoes the escapes.
func decode(data []byte) (Manifest, error) {
	if len(data) > MaxManifest {
		return Manifest{}, fmt.Errorf("parse manifest: %w: %w", ErrCorrupt, errManifestSize)
	}
	if err := shape(data); err != nil {
		return Manifest{}, fmt.Errorf("parse manifest: %w: it %w", ErrCorrupt, err)
	}
	var version struct {
		Schema int `json:"schema"`
	}
	if err := json.Unmarshal(data, &version); err != nil {
		return Manifest{}, fmt.Errorf("parse manifest: %w: %w", ErrCorrupt, err)
	}
	if version.Schema != Schema && version.Schema != SchemaEncrypted {
		return Manifest{}, fmt.Errorf("parse manifest: %w %d (this version of Rekindle knows %d and %d)", ErrSchema, version.Schema, Schema, SchemaEncrypted)
	}
	var m Manifest
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&m); err != nil {
		return Manifest{}, fmt.Errorf("parse manifest: %w: %w", ErrCorrupt, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Manifest{}, fmt.Errorf("parse manifest: %w: text after the end", ErrCorrupt)
	}
	for i, f := range m.Files {
		m.Files[i].Path, m.Files[i].Link = unescape(f.Path), unescape(f.Link)
	}
	return m, nil
}

// digest computes what Digest has to be.
func (m Manifest) digest() (string, error) {
	m.Digest, m.MAC = "", ""
	data, err := m.Encode()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return digestPrefix + hex.EncodeToString(sum[:]), nil
}

// mac computes what MAC has to be.
func (m Manifest) mac(key []byte) (string, error) {
	m.MAC = ""
	data, err := m.Encode()
	if err != nil {
		return "", err
	}
	h := hmac.New(sha256.New, key)
	h.Write(data)
	return macStart + hex.EncodeToString(h.Sum(nil)), nil
}

// seal brings the manifest to the form in which it is read back, gives it its
// digest and MAC, and returns it with its bytes. Text that is not UTF-8 changes on its
// first way through JSON, so it goes through once before it is digested.
func (m Manifest) seal(keyID string, key []byte) (Manifest, []byte, error) {
	m.KeyID, m.Digest, m.MAC = keyID, "", ""
	data, err := m.Encode()
	if err != nil {
		return Manifest{}, nil, err
	}
	if m, err = decode(data); err != nil {
		return Manifest{}, nil, err
	}
	if m.Digest, err = m.digest(); err != nil {
		return Manifest{}, nil, err
	}
	if m.MAC, err = m.mac(key); err != nil {
		return Manifest{}, nil, err
	}
	if data, err = m.Encode(); err != nil {
		return Manifest{}, nil, err
	}
	// What could not be read back would be lost.
	if m, err = ParseManifest(data); err != nil {
		return Manifest{}, nil, err
	}
	return m, data, nil
}
