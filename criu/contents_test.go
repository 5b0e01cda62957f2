package criu

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestFill makes of an image of tar's what was packed, times and modes included.
func TestFill(t *testing.T) {
	from, to, image := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "image")
	script := `cd "$1" && mkdir -m 1777 shm && mkdir -p pts/deep && ln -s /proc/self/fd fd && ln -s pts/ptmx ptmx &&
		mknod -m 666 null c 1 3 && mknod -m 640 disk b 7 9 && echo text >file && chmod 2750 file && chown 7:8 file fd -h &&
		touch -d '2001-02-03 04:05:06' shm file pts . && tar --create --gzip --one-file-system --numeric-owner --directory . . >"$2"`
	if out, err := exec.CommandContext(t.Context(), "sh", "-c", script, "sh", from, image).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	entries, err := contents(image)
	if err != nil {
		t.Fatal(err)
	}
	if err := fill(to, entries); err != nil {
		t.Fatal(err)
	}
	if got, want := listing(t, to), listing(t, from); got != want {
		t.Errorf("filled:\n%s\nwant:\n%s", got, want)
	}
	if got, err := os.ReadFile(filepath.Join(to, "file")); err != nil || string(got) != "text\n" {
		t.Errorf("file holds %q, %v", got, err)
	}
}

// listing tells kind, mode, owner, device, time and target of all below a directory.
func listing(t *testing.T, dir string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "sh", "-c", `cd "$1" && find . | sort | while read -r f; do
		stat -c '%n %F %a %u:%g %t:%T' "$f"; readlink "$f"; [ -L "$f" ] || stat -c %Y "$f"; done`, "sh", dir).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// packed is an image with these entries behind its root.
func packed(t testing.TB, headers ...tar.Header) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, h := range append([]tar.Header{{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755}}, headers...) {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return image
}

// What fill does not make is left to CRIU.
func TestNotPlain(t *testing.T) {
	tests := map[string][]tar.Header{
		"FIFO":           {{Name: "./a", Typeflag: tar.TypeFifo}},
		"HardLink":       {{Name: "./a", Typeflag: tar.TypeReg}, {Name: "./b", Typeflag: tar.TypeLink, Linkname: "./a"}},
		"DeviceBelow":    {{Name: "./a/", Typeflag: tar.TypeDir}, {Name: "./a/null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}},
		"Attributes":     {{Name: "./a", Typeflag: tar.TypeReg, PAXRecords: map[string]string{"SCHILY.xattr.user.a": "b"}}},
		"SecondRoot":     {{Name: "./", Typeflag: tar.TypeDir}},
		"OtherName":      {{Name: "a", Typeflag: tar.TypeReg}},
		"TooManyEntries": make([]tar.Header, mostEntries+1),
	}
	for name, headers := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := contents(packed(t, headers...)); !errors.Is(err, errNotPlain) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// No name leads out of the directory, not even by way of a link.
func TestFillStaysInside(t *testing.T) {
	tests := map[string][]tar.Header{
		"Parent":    {{Name: "./../out", Typeflag: tar.TypeReg}},
		"Link":      {{Name: "./a", Typeflag: tar.TypeSymlink, Linkname: "/"}, {Name: "./a/out", Typeflag: tar.TypeReg}},
		"LinkedDir": {{Name: "./a", Typeflag: tar.TypeSymlink, Linkname: ".."}, {Name: "./a/out/", Typeflag: tar.TypeDir}},
		"Device":    {{Name: "./..", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}},
	}
	for name, headers := range tests {
		t.Run(name, func(t *testing.T) {
			above := t.TempDir()
			dir := filepath.Join(above, "root")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			entries, err := contents(packed(t, headers...))
			if err == nil {
				err = fill(dir, entries)
			}
			if err == nil {
				t.Error("it was made")
			}
			if left, _ := os.ReadDir(above); len(left) != 1 {
				t.Errorf("beside the directory is %v", left)
			}
		})
	}
}

// FuzzContents: whatever the image, it is refused in order, or little.
func FuzzContents(f *testing.F) {
	whole, err := os.ReadFile(packed(f, tar.Header{Name: "./null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Fuzz(func(t *testing.T, data []byte) {
		image := filepath.Join(t.TempDir(), "image")
		if err := os.WriteFile(image, data, 0o600); err != nil {
			t.Fatal(err)
		}
		entries, err := contents(image)
		if err != nil {
			return
		}
		if len(entries) == 0 || len(entries) > mostEntries {
			t.Errorf("%d entries", len(entries))
		}
		for _, e := range entries {
			if len(e.content) > mostContent || strings.HasPrefix(e.Name, "/") {
				t.Errorf("%s with %d bytes", e.Name, len(e.content))
			}
		}
	})
}
