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

// TestHandOverPlainTmpfs makes a file system in memory external that has a little in
// it, and whose place another mount can take.
func TestHandOverPlainTmpfs(t *testing.T) {
	const tmpfs, proc, cgroup = 5, 1, 12
	plain := message(1, tmpfs, 2, 4, 3, 121, 6, []byte("/"), 9, []byte("mode=755"))
	tests := map[string]struct {
		mounts [][]byte
		want   bool
	}{
		"One":              {[][]byte{plain}, true},
		"ItsFileElsewhere": {[][]byte{plain, message(1, tmpfs, 2, 5, 3, 121, 6, []byte("/null"), 9, []byte("mode=755"), 18, []byte("/dev/null"))}, true},
		"SharedCgroup":     {[][]byte{plain, message(1, cgroup, 2, 5, 3, 7, 6, []byte("/"), 9, []byte(""), 11, 20)}, true},
		"Twice":            {[][]byte{plain, message(1, tmpfs, 2, 5, 3, 121, 6, []byte("/"), 9, []byte("mode=755"))}, false},
		"SharedVolume":     {[][]byte{plain, message(1, proc, 2, 5, 3, 7, 6, []byte("/"), 9, []byte(""), 11, 20)}, false},
		"PartOfIt":         {[][]byte{message(1, tmpfs, 2, 4, 3, 121, 6, []byte("/sub"), 9, []byte("mode=755"))}, false},
		"ReadOnly":         {[][]byte{message(1, tmpfs, 2, 4, 3, 121, 6, []byte("/"), 9, []byte("mode=755"), 17, 1)}, false},
		"Labelled":         {[][]byte{message(1, tmpfs, 2, 4, 3, 121, 6, []byte("/"), 9, []byte(`context="a:b:c"`))}, false},
		"Outside":          {[][]byte{message(1, tmpfs, 2, 4, 3, 121, 6, []byte("/"), 9, []byte("mode=755"), 18, []byte("/data"))}, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			images, dir := checkpointOf(t, image(), nil)
			archive := archiveOf(t, tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755}, tar.Header{Name: "./a", Typeflag: tar.TypeReg})
			for name, data := range map[string][]byte{"mountpoints-14.img": image(tc.mounts...), "tmpfs-dev-121.tar.gz.img": archive} {
				if err := os.WriteFile(filepath.Join(images, name), data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := criu.HandOver(images, dir, nil); err != nil {
				t.Fatal(err)
			}
			want := append([][]byte(nil), tc.mounts...)
			if tc.want {
				want[0] = append(bytes.Clone(want[0]), message(18, []byte("tmpfs-121"))...)
			}
			if got, err := os.ReadFile(filepath.Join(dir, "mountpoints-14.img")); err != nil || !bytes.Equal(got, image(want...)) {
				t.Errorf("mounts are %q, %v, want %q", got, err, image(want...))
			}
			if _, err := os.Stat(filepath.Join(dir, "tmpfs-121")); (err == nil) != tc.want {
				t.Errorf("its place: %v, want one: %t", err, tc.want)
			}
			if _, err := os.Stat(filepath.Join(dir, "tmpfs-dev-121.tar.gz.img")); err != nil {
				t.Errorf("its image: %v", err)
			}
		})
	}
}
