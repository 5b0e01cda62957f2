package criu_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/rekindle-dev/rekindle/criu"
)

// archiveOf is the image of a file system in memory, as tar and gzip make it.
func archiveOf(t *testing.T, entries ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	packed := gzip.NewWriter(&b)
	w := tar.NewWriter(packed)
	for _, e := range entries {
		if err := w.WriteHeader(&e); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), packed.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestHandOverEmptyTmpfs leaves the image out of a file system in memory that is as
// a new one would be, and no other.
func TestHandOverEmptyTmpfs(t *testing.T) {
	const tmpfs, auto, proc = 5, 16, 1
	root := tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o1777}
	tests := map[string]struct {
		kind    int
		options string
		image   []byte
		leftOut bool
	}{
		"Empty":        {tmpfs, "size=4k,nr_inodes=1", archiveOf(t, root), true},
		"NoOptions":    {tmpfs, "", archiveOf(t, root), true},
		"AFile":        {tmpfs, "", archiveOf(t, root, tar.Header{Name: "./a", Typeflag: tar.TypeReg}), false},
		"OtherMode":    {tmpfs, "", archiveOf(t, tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755}), false},
		"OtherOwner":   {tmpfs, "", archiveOf(t, tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o1777, Uid: 1}), false},
		"ModeOption":   {tmpfs, "size=4k,mode=755", archiveOf(t, root), false},
		"NotADir":      {tmpfs, "", archiveOf(t, tar.Header{Name: "./", Typeflag: tar.TypeSymlink, Mode: 0o1777}), false},
		"NoEntry":      {tmpfs, "", archiveOf(t), false},
		"NoArchive":    {tmpfs, "", []byte("no archive"), false},
		"Large":        {tmpfs, "", make([]byte, 4096), false},
		"NotMounted":   {proc, "", archiveOf(t, root), false},
		"Attributes":   {tmpfs, "", archiveOf(t, tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o1777, PAXRecords: map[string]string{"SCHILY.xattr.user.a": "b"}}), false},
		"AnotherUsers": {tmpfs, "uid=7", archiveOf(t, root), false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			images, dir := checkpointOf(t, image(), nil)
			other := message(1, proc, 2, 3, 3, 120, 9, []byte(""))
			entry := message(1, tc.kind, 2, 4, 3, 121, 9, []byte(tc.options))
			for name, data := range map[string][]byte{"mountpoints-14.img": image(other, entry), "tmpfs-dev-121.tar.gz.img": tc.image} {
				if err := os.WriteFile(filepath.Join(images, name), data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := criu.HandOver(images, dir, nil); err != nil {
				t.Fatal(err)
			}
			want := image(other, entry)
			if tc.leftOut {
				want = image(other, append(bytes.Clone(entry), message(1, auto, 14, []byte("tmpfs"))...))
			}
			if got, err := os.ReadFile(filepath.Join(dir, "mountpoints-14.img")); err != nil || !bytes.Equal(got, want) {
				t.Errorf("mounts are %q, %v, want %q", got, err, want)
			}
			if _, err := os.Lstat(filepath.Join(dir, "tmpfs-dev-121.tar.gz.img")); (err != nil) != tc.leftOut {
				t.Errorf("its image: %v, want left out %t", err, tc.leftOut)
			}
		})
	}
}

// A list of mounts that cannot be read ends the suspension.
func TestHandOverBadMounts(t *testing.T) {
	images, dir := checkpointOf(t, image(), nil)
	if err := os.WriteFile(filepath.Join(images, "mountpoints-14.img"), []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := criu.HandOver(images, dir, nil); !errors.Is(err, criu.ErrBadImage) {
		t.Errorf("HandOver = %v, want %v", err, criu.ErrBadImage)
	}
}
