package store

import "os"

// Escape and Unescape are what manifests do to names.
var (
	Escape   = escape
	Unescape = unescape
)

// ParseMarks reads marks from a file's bytes.
var ParseMarks = parseMarks

// Seal encodes m with a digest and a MAC that fit, sound or not.
func Seal(m Manifest, keyID string, key []byte) (_ []byte, err error) {
	m.KeyID = keyID
	if m.Digest, err = m.digest(); err != nil {
		return nil, err
	}
	if m.MAC, err = m.mac(key); err != nil {
		return nil, err
	}
	return m.Encode()
}

// SetMaxLogBytes bounds the logs of the stores in a test.
func SetMaxLogBytes(t interface{ Cleanup(func()) }, n int64) {
	before := maxLogBytes
	maxLogBytes = n
	t.Cleanup(func() { maxLogBytes = before })
}

// LeaveOutSyncs does not sync what skip says, for the rest of a test.
func LeaveOutSyncs(t interface{ Cleanup(func()) }, skip func(path string) bool) {
	before := syncFile
	syncFile = func(f *os.File) error {
		if skip(f.Name()) {
			return nil
		}
		return before(f)
	}
	t.Cleanup(func() { syncFile = before })
}
