package crypt_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/crypt"
)

func TestReadKeyFile(t *testing.T) {
	tests := map[string]struct {
		text string
		mode os.FileMode
		want error
	}{
		"Sound":       {one + "\n", 0o600, nil},
		"ReadOnly":    {one, 0o400, nil},
		"GroupReads":  {one, 0o640, crypt.ErrKeyFile},
		"OthersRead":  {one, 0o604, crypt.ErrKeyFile},
		"OthersWrite": {one, 0o602, crypt.ErrKeyFile},
		"TooLong":     {one + strings.Repeat("\n", crypt.MaxKeyText), 0o600, crypt.ErrKeyFile},
		"NoKeys":      {"# later\n", 0o600, crypt.ErrKeys},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "keys")
			must(t, os.WriteFile(file, []byte(tc.text), 0o600), os.Chmod(file, tc.mode))
			if _, err := crypt.ReadKeyFile(file); !errors.Is(err, tc.want) {
				t.Errorf("it says %v, want %v", err, tc.want)
			}
		})
	}
	dir := t.TempDir()
	file, link := filepath.Join(dir, "keys"), filepath.Join(dir, "link")
	must(t, os.WriteFile(file, []byte(one), 0o600), os.Symlink(file, link))
	for name, place := range map[string]string{"Link": link, "Directory": dir, "Missing": filepath.Join(dir, "none")} {
		if _, err := crypt.ReadKeyFile(place); err == nil {
			t.Errorf("%s: it was read", name)
		}
	}
}
