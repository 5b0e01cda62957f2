package archive_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rekindle-dev/rekindle/archive"
	"github.com/rekindle-dev/rekindle/store"
)

var lineage = store.Lineage{Namespace: "shop", Workload: "pod.redis-0", Container: "redis"}

// checkpoint commits one that has all that a container's files can be.
func checkpoint(t *testing.T, s *store.Store) store.Checkpoint {
	t.Helper()
	st, err := s.Begin(context.Background(), lineage, 0)
	if err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(st.Dir(), name) }
	put := func(name, data string, mode os.FileMode) error {
		return errors.Join(os.WriteFile(at(name), []byte(data), 0o600), os.Chmod(at(name), mode))
	}
	for _, err := range []error{
		put("config.json", `{"ociVersion":"1.2.0"}`, 0o600), put("dump.log", "log", 0o600),
		os.Mkdir(at("criu"), 0o700), put("criu/inventory.img", "i", 0o600), put("criu/pstree.img", "p", 0o600),
		put("criu/pages-1.img", string(bytes.Repeat([]byte("page"), 100_000)), 0o600), put("criu/descriptors.json", "[]", 0o600),
		os.Mkdir(at("rootfs"), 0o755), os.Mkdir(at("rootfs/data"), 0o700), put("rootfs/data/dump.rdb", "rdb", 0o640),
		put("rootfs/data/su", "x", 0o755|os.ModeSetuid), os.Chown(at("rootfs/data"), 999, 1000),
		os.Link(at("rootfs/data/dump.rdb"), at("rootfs/data/other")), os.Symlink("/nowhere/../x", at("rootfs/link")),
		unix.Mkfifo(at("rootfs/pipe"), 0o640), unix.Mknod(at("rootfs/gone"), unix.S_IFCHR, 0),
		os.Mkdir(at("rootfs/opaque"), 0o755), unix.Setxattr(at("rootfs/opaque"), "trusted.overlay.opaque", []byte("y"), 0),
		unix.Setxattr(at("rootfs/data"), "user.note", []byte{0, 1, 2}, 0),
		os.Mkdir(at("shm"), 0o777), put("shm/segment", "s", 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	c, err := st.Commit(context.Background(), store.Manifest{
		ImageDigest: "sha256:1", Fingerprint: "f", Arch: "amd64", Kernel: "6.1", CRIU: "4.2", PodName: "redis-0", Trigger: "request",
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestRoundTrip writes a checkpoint and takes it in again: all files are as they
// were, and so is what is claimed of it.
func TestRoundTrip(t *testing.T) {
	for name, format := range map[string]archive.Format{
		"Archive": {Name: "archive"}, "ArchiveZstd": {Name: "archive", Compress: true},
		"OCI": {Name: "oci"}, "OCIZstd": {Name: "oci", Compress: true},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := store.Open(filepath.Join(t.TempDir(), "store"))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			c := checkpoint(t, s)
			var buf, again bytes.Buffer
			source := archive.Source{Manifest: c.Manifest, Dir: c.Dir()}
			for _, out := range []*bytes.Buffer{&buf, &again} {
				if err := archive.Write(context.Background(), out, source, format); err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(buf.Bytes(), again.Bytes()) {
				t.Error("the same checkpoint makes two different archives")
			}
			st, err := s.Begin(context.Background(), lineage, 0)
			if err != nil {
				t.Fatal(err)
			}
			claims, err := archive.Read(context.Background(), &buf, st.Dir(), archive.Limits{Bytes: 1 << 30, Entries: 1000, Ratio: 1000})
			if err != nil {
				t.Fatal(err)
			}
			if claims.Checkpoint != c.ID || claims.ImageDigest != "sha256:1" || claims.Fingerprint != "f" || claims.Kernel != "6.1" || claims.Pod != "redis-0" {
				t.Errorf("claims=%+v", claims)
			}
			copied, err := st.Commit(context.Background(), store.Manifest{})
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(copied.Files, c.Files) {
				t.Errorf("files=%+v\nwant %+v", copied.Files, c.Files)
			}
		})
	}
}

func TestWriteAltered(t *testing.T) {
	s, err := store.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c := checkpoint(t, s)
	if err := os.WriteFile(filepath.Join(c.Dir(), "criu/pages-1.img"), bytes.Repeat([]byte("Page"), 100_000), 0o600); err != nil {
		t.Fatal(err)
	}
	err = archive.Write(context.Background(), &bytes.Buffer{}, archive.Source{Manifest: c.Manifest, Dir: c.Dir()}, archive.Format{Name: "archive"})
	if !errors.Is(err, archive.ErrAltered) {
		t.Fatalf("Write=%v, want ErrAltered", err)
	}
}
