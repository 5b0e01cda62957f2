package store_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/store"
)

// TestEncryptionChecks seals manifests of encrypted checkpoints that are wrong in
// themselves.
func TestEncryptionChecks(t *testing.T) {
	sum := strings.Repeat("0", 64)
	beside := func(f store.File) func(*store.Manifest) {
		return func(m *store.Manifest) { m.Files = append(m.Files[:1:1], f) }
	}
	tests := map[string]func(*store.Manifest){
		"PlainSchema":   func(m *store.Manifest) { m.Schema = store.Schema },
		"NoScheme":      func(m *store.Manifest) { m.Encryption.Scheme = "" },
		"LongKey":       func(m *store.Manifest) { m.Encryption.DataKey = strings.Repeat("0", 5000) },
		"NegativeBytes": func(m *store.Manifest) { m.Encryption.Bytes = -1 },
		"NoContent":     func(m *store.Manifest) { m.Files, m.Bytes = nil, 0 },
		"ImagesBeside":  beside(store.File{Path: "criu/pages-1.img", Type: store.TypeFile, SHA256: sum}),
		"RootfsBeside":  beside(store.File{Path: "rootfs", Type: store.TypeDir}),
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			m, err := store.ParseManifest(encryptedExample(t))
			if err != nil {
				t.Fatal(err)
			}
			spoil(&m)
			data, err := store.Seal(m, exampleKeyID, exampleKey())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := store.ParseManifest(data); !errors.Is(err, store.ErrCorrupt) {
				t.Fatalf("ParseManifest=%v, want ErrCorrupt", err)
			}
		})
	}
}
