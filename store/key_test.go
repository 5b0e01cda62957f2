package store_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/store"
)

// keyFiles names the files of the keys, the newest last.
func keyFiles(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.key"))
	if err != nil || len(names) == 0 {
		t.Fatalf("there are no keys in %s: %v", dir, err)
	}
	return names
}

func TestKeysArePrivate(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	info, err := os.Stat(filepath.Join(dir, "keys"))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Fatalf("keys/ has mode %v (%v), want 0700", info.Mode(), err)
	}
	for _, name := range keyFiles(t, filepath.Join(dir, "keys")) {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Fatalf("%s has mode %v (%v), want 0600", name, info.Mode(), err)
		}
	}
}

func TestKeysInAnotherDirectory(t *testing.T) {
	dir, keys := t.TempDir(), filepath.Join(t.TempDir(), "etc", "keys")
	s := open(t, dir, store.WithKeys(keys))
	cp := commit(t, s, redis)
	s.Close()
	keyFiles(t, keys)
	if _, err := os.Stat(filepath.Join(dir, "keys")); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("there are keys in the store, too: %v", err)
	}
	// Without them nothing of the store can be used, and nothing is lost.
	s = open(t, dir)
	if _, err := s.Get(cp.ID); !errors.Is(err, store.ErrKey) {
		t.Fatalf("Get without the key: %v, want ErrKey", err)
	}
	s.Close()
	wantIDs(t, list(t, open(t, dir, store.WithKeys(keys)), redis), cp.ID)
}

func TestRotateAndRetire(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	first := commit(t, s, redis)
	id, err := s.RotateKey()
	if err != nil {
		t.Fatal(err)
	}
	second := commit(t, s, redis)
	if second.KeyID != id || first.KeyID >= id {
		t.Fatalf("sealed with %s, then with %s, and rotated to %s", first.KeyID, second.KeyID, id)
	}
	s.Close()
	s = open(t, dir)
	wantIDs(t, list(t, s, redis), second.ID, first.ID)
	keys, err := s.Keys()
	if err != nil || len(keys) != 2 || keys[0].ID != id || !keys[0].Current || keys[1].Current || keys[0].Checkpoints != 1 || keys[1].Checkpoints != 1 {
		t.Fatalf("Keys=%+v, %v", keys, err)
	}
	if err := s.RetireKey(id); !errors.Is(err, store.ErrInUse) {
		t.Fatalf("RetireKey of the current one: %v, want ErrInUse", err)
	}
	for _, none := range []string{"../FORMAT", "01ARZ3NDEKTSV4RRFFQ69G5FAV"} {
		if err := s.RetireKey(none); !errors.Is(err, store.ErrKey) {
			t.Fatalf("RetireKey(%s)=%v, want ErrKey", none, err)
		}
	}
	if err := s.RetireKey(first.KeyID); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, list(t, s, redis), second.ID)
	if broken, err := s.Broken(redis); err != nil || len(broken) != 1 || !errors.Is(broken[0].Err, store.ErrKey) {
		t.Fatalf("Broken=%v, %v", broken, err)
	}
	s.Close()
	wantIDs(t, list(t, open(t, dir), redis), second.ID)
}

// TestForged writes manifests as somebody can who knows the format and not the
// key, or has the key of another node.
func TestForged(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	cp := commit(t, s, redis)
	other := commit(t, open(t, t.TempDir()), redis)
	m := cp.Manifest
	m.Fingerprint = "of the forger's choice"
	forge := func(keyID string, key []byte) []byte {
		data, err := store.Seal(m, keyID, key)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	old := strings.Replace(string(forge(cp.KeyID, exampleKey())), `"schema": 2`, `"schema": 1`, 1)
	tests := map[string]struct {
		manifest []byte
		want     error
	}{
		"WrongKey":      {forge(cp.KeyID, exampleKey()), store.ErrCorrupt},
		"EmptyKey":      {forge(cp.KeyID, nil), store.ErrCorrupt},
		"KeyOfAnother":  {forge(other.KeyID, exampleKey()), store.ErrKey},
		"FormerSchema":  {[]byte(old), store.ErrSchema}, // had no MAC
		"NoSuchKey":     {forge("01ARZ3NDEKTSV4RRFFQ69G5FAV", exampleKey()), store.ErrKey},
		"KeyOutside":    {forge("../../../../etc/passwd", exampleKey()), store.ErrCorrupt},
		"NoKeyAtAll":    {forge("", exampleKey()), store.ErrCorrupt},
		"FromElsewhere": {read(t, filepath.Join(other.Dir(), "manifest.json")), store.ErrKey},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(filepath.Join(cp.Dir(), "manifest.json"), tc.manifest, 0o600); err != nil {
				t.Fatal(err)
			}
			wantIDs(t, list(t, s, redis))
			if _, err := s.Get(cp.ID); !errors.Is(err, tc.want) {
				t.Fatalf("Get=%v, want %v", err, tc.want)
			}
			if err := s.Verify(context.Background(), cp, store.Quick); err == nil {
				t.Fatal("it verifies")
			}
		})
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A key that cannot be read puts what it has sealed out of use, and nothing into
// quarantine: it may come back.
func TestKeysThatAreDamaged(t *testing.T) {
	tests := map[string]func(name string) error{
		"Flipped":    func(name string) error { return flip(name, 10) },
		"CheckSum":   func(name string) error { return flip(name, 80) },
		"Truncated":  func(name string) error { return os.Truncate(name, 40) },
		"Empty":      func(name string) error { return os.Truncate(name, 0) },
		"Removed":    os.Remove,
		"Readable":   func(name string) error { return os.Chmod(name, 0o644) },
		"Symlink":    func(name string) error { return errors.Join(os.Rename(name, name+"x"), os.Symlink(name+"x", name)) },
		"Directory":  func(name string) error { return errors.Join(os.Remove(name), os.Mkdir(name, 0o700)) },
		"OtherNames": func(name string) error { return os.Rename(name, filepath.Join(filepath.Dir(name), "key.key")) },
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir)
			cp := commit(t, s, redis)
			s.Close()
			file := keyFiles(t, filepath.Join(dir, "keys"))[0]
			kept := read(t, file)
			if err := spoil(file); err != nil {
				t.Fatal(err)
			}
			s = open(t, dir)
			if _, err := s.Get(cp.ID); !errors.Is(err, store.ErrKey) {
				t.Fatalf("Get=%v, want ErrKey", err)
			}
			next := commit(t, s, redis) // with a key of its own
			wantIDs(t, list(t, s, redis), next.ID)
			s.Close()
			if err := errors.Join(os.RemoveAll(file), os.WriteFile(file, kept, 0o600)); err != nil {
				t.Fatal(err)
			}
			wantIDs(t, list(t, open(t, dir), redis), next.ID, cp.ID)
		})
	}
}
