package crypt_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rekindle-dev/rekindle/crypt"
)

const id = "01KKNTQ2CNDSB0KFK8NV23KZV7"

func key() []byte { return bytes.Repeat([]byte{7}, crypt.KeyBytes) }

// tree makes a directory with everything that a dump can have.
func tree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	must(t,
		os.WriteFile(in("config.json"), []byte("{}"), 0o600),
		os.Mkdir(in("criu"), 0o700),
		os.WriteFile(in("criu/pages-1.img"), bytes.Repeat([]byte("secret of the tenant"), 20_000), 0o600),
		os.WriteFile(in("criu/empty.img"), nil, 0o600),
		os.MkdirAll(in("rootfs/data/deep"), 0o755),
		os.WriteFile(in("rootfs/data/a\xffb\nc"), []byte("odd name"), 0o640),
		os.Link(in("rootfs/data/a\xffb\nc"), in("rootfs/other name")),
		os.Symlink("/etc/shadow", in("rootfs/link")),
		os.Symlink("data", in("rootfs/linkdir")),
		unix.Mkfifo(in("rootfs/pipe"), 0o622),
		unix.Mknod(in("rootfs/gone"), unix.S_IFCHR, 0),
		os.Chmod(in("rootfs/pipe"), 0o622),
		os.Chown(in("rootfs/data"), 999, 1000),
		os.Chmod(in("rootfs/data"), 0o750|os.ModeSticky|os.ModeSetgid),
		os.Chmod(in("rootfs/data/deep"), 0o500),
		unix.Setxattr(in("rootfs/data"), "trusted.overlay.opaque", []byte("y"), 0),
		unix.Setxattr(in("config.json"), "trusted.binary", []byte("a\x00b\xff"), 0),
		os.Mkdir(in("shm"), 0o1777),
		sparse(in("shm/segment")),
		os.Truncate(touched(t, in("shm/hole")), 1<<30),
	)
	return dir
}

func sparse(name string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte("far out"), 8<<30)
	_, err2 := f.WriteAt([]byte("in the middle"), 3<<20)
	return errors.Join(err, err2, f.Truncate(9<<30), f.Close())
}

func touched(t *testing.T, name string) string {
	t.Helper()
	must(t, os.WriteFile(name, nil, 0o600))
	return name
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// look describes all that is in a directory, with the data of files but not their
// holes.
func look(t *testing.T, dir string) string {
	t.Helper()
	var lines []string
	inodes := map[uint64]string{}
	must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		name := strings.TrimPrefix(path, dir)
		line := fmt.Sprintf("%q %o %d:%d", name, st.Mode, st.Uid, st.Gid)
		if first := inodes[st.Ino]; first != "" {
			line += " is " + first
		}
		inodes[st.Ino] = name
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			line += fmt.Sprintf(" %d", st.Size)
		}
		line += fmt.Sprintf(" %d", st.Mtim.Nano())
		if link, err := os.Readlink(path); err == nil {
			line += " to " + link
		}
		for _, attr := range []string{"trusted.overlay.opaque", "trusted.binary"} {
			value := make([]byte, 100)
			if n, err := unix.Lgetxattr(path, attr, value); err == nil {
				line += fmt.Sprintf(" %s=%q", attr, value[:n])
			}
		}
		if st.Mode&unix.S_IFMT == unix.S_IFREG {
			line += fmt.Sprintf(" %x", content(t, path, st.Size))
		}
		lines = append(lines, line)
		return nil
	}))
	return strings.Join(lines, "\n")
}

func content(t *testing.T, path string, size int64) []byte {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	h := sha256.New()
	for pos := int64(0); ; {
		data, err := unix.Seek(int(f.Fd()), pos, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return h.Sum(nil)
		}
		must(t, err)
		end, err := unix.Seek(int(f.Fd()), data, unix.SEEK_HOLE)
		must(t, err)
		fmt.Fprintf(h, "%d %d\n", data, end)
		_, err = io.Copy(h, io.NewSectionReader(f, data, min(end, size)-data))
		must(t, err)
		pos = end
	}
}

func encrypted(t *testing.T, dir string) []byte {
	t.Helper()
	var out bytes.Buffer
	if _, err := crypt.Write(t.Context(), &out, dir, key(), id); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestRoundTrip(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: owners, whiteouts and attributes are root's to make")
	}
	dir, back := tree(t), t.TempDir()
	text := encrypted(t, dir)
	if bytes.Contains(text, []byte("secret")) || bytes.Contains(text, []byte("odd name")) || bytes.Contains(text, []byte("pages-1")) {
		t.Error("something can be read in the encrypted content")
	}
	if len(text) > 1<<20 {
		t.Errorf("%d bytes: holes were written", len(text))
	}
	if err := crypt.Read(t.Context(), bytes.NewReader(text), back, key(), id); err != nil {
		t.Fatal(err)
	}
	if got, want := look(t, back), look(t, dir); got != want {
		t.Errorf("decrypted:\n%s\n\nwant:\n%s", got, want)
	}
}

func TestSkip(t *testing.T) {
	dir, back := t.TempDir(), t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "criu"), 0o700), os.MkdirAll(filepath.Join(dir, "rootfs/etc"), 0o700))
	text := encrypted(t, dir)
	if err := crypt.Read(t.Context(), bytes.NewReader(text), back, key(), id, "rootfs"); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(back)
	if err != nil || len(entries) != 1 || entries[0].Name() != "criu" {
		t.Errorf("it has %v, %v; want criu alone", entries, err)
	}
}

// TestDamage changes one bit at a time, and takes the end away.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "pages"), bytes.Repeat([]byte("x"), 300_000), 0o600))
	text := encrypted(t, dir)
	var places []int
	for i := 0; i < len(text); i += 1 + len(text)/97 {
		places = append(places, i)
	}
	for i := range 60 {
		places = append(places, i, len(text)-1-i)
	}
	slices.Sort(places)
	for _, at := range slices.Compact(places) {
		altered := slices.Clone(text)
		altered[at] ^= 1 << (at % 8)
		for what, read := range map[string][]byte{"bit": altered, "end": text[:at]} {
			err := crypt.Read(t.Context(), bytes.NewReader(read), t.TempDir(), key(), id)
			if !errors.Is(err, crypt.ErrAltered) {
				t.Fatalf("%s at %d of %d: %v", what, at, len(text), err)
			}
		}
	}
	for what, read := range map[string][]byte{"MoreAtTheEnd": append(slices.Clone(text), 0), "Twice": append(slices.Clone(text), text...)} {
		if err := crypt.Read(t.Context(), bytes.NewReader(read), t.TempDir(), key(), id); !errors.Is(err, crypt.ErrAltered) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, read := range map[string]func() error{
		"OtherKey": func() error {
			return crypt.Read(t.Context(), bytes.NewReader(text), t.TempDir(), make([]byte, crypt.KeyBytes), id)
		},
		"OtherCheckpoint": func() error {
			return crypt.Read(t.Context(), bytes.NewReader(text), t.TempDir(), key(), "01KKNTQ2CNDSB0KFK8NV23KZV8")
		},
	} {
		if err := read(); !errors.Is(err, crypt.ErrAltered) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestDisk makes sure that a disk that cannot be read is not taken for damage.
func TestDisk(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "pages"), bytes.Repeat([]byte("x"), 300_000), 0o600))
	broken := io.MultiReader(bytes.NewReader(encrypted(t, dir)[:200_000]), failing{})
	err := crypt.Read(t.Context(), broken, t.TempDir(), key(), id)
	if errors.Is(err, crypt.ErrAltered) || !errors.Is(err, unix.EIO) {
		t.Errorf("it says %v", err)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, unix.EIO }

func TestEnds(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "pages"), nil, 0o600))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := crypt.Write(ctx, io.Discard, dir, key(), id); !errors.Is(err, context.Canceled) {
		t.Errorf("Write: %v", err)
	}
	if err := crypt.Read(ctx, bytes.NewReader(encrypted(t, dir)), t.TempDir(), key(), id); !errors.Is(err, context.Canceled) {
		t.Errorf("Read: %v", err)
	}
}
