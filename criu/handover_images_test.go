package criu_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/rekindle-dev/rekindle/criu"
)

// image is one of CRIU's: two words of magic, and messages behind their lengths.
func image(messages ...[]byte) []byte {
	b := []byte("magic!!!")
	for _, m := range messages {
		b = append(binary.LittleEndian.AppendUint32(b, uint32(len(m))), m...)
	}
	return b
}

// message has fields that are numbers or bytes.
func message(fields ...any) []byte {
	var b []byte
	for i := 0; i < len(fields); i += 2 {
		number := protowire.Number(fields[i].(int))
		switch value := fields[i+1].(type) {
		case int:
			b = protowire.AppendVarint(protowire.AppendTag(b, number, protowire.VarintType), uint64(value))
		case []byte:
			b = protowire.AppendBytes(protowire.AppendTag(b, number, protowire.BytesType), value)
		}
	}
	return b
}

// Files as CRIU notes them: type, id and what it is.
var (
	owner      = message(1, 0, 2, 0, 3, 0, 4, 0, 5, 0)
	file       = message(1, 1, 2, 10, 3, message(1, 10, 2, 0, 3, 0, 5, owner, 6, []byte("/data")), 99, 7)
	inet       = message(1, 4, 2, 11, 4, message(1, 11, 2, 1234, 9, 2050, 13, owner))
	otherInet  = message(1, 4, 2, 12, 4, message(1, 12, 2, 5678, 9, 2, 13, owner))
	impostor   = message(1, 1, 2, 13, 3, message(1, 13, 5, owner, 6, []byte("/handover-1234")))
	descriptor = func(id, kind, fd int) []byte { return message(1, id, 2, 0, 3, kind, 4, fd) }
)

func checkpointOf(t *testing.T, files, fdinfo []byte) (images, dir string) {
	t.Helper()
	images = t.TempDir()
	for name, data := range map[string][]byte{"files.img": files, "fdinfo-2.img": fdinfo, "pages-1.img": []byte("pages")} {
		if data == nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(images, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return images, filepath.Join(t.TempDir(), "handover")
}

// TestHandOverImages changes what is handed over, and nothing else.
func TestHandOverImages(t *testing.T) {
	files := image(file, inet, otherInet)
	fdinfo := image(descriptor(10, 1, 3), descriptor(11, 4, 5), descriptor(12, 4, 6), descriptor(11, 4, 7))
	images, dir := checkpointOf(t, files, fdinfo)
	if err := criu.HandOver(images, dir, []uint64{1234, 999}); err != nil {
		t.Fatal(err)
	}
	regular := message(1, 1, 2, 11, 3,
		message(1, 11, 2, 2050, 3, 0, 5, owner, 6, []byte("/handover-1234"), 7, 1))
	changed := func(fd int) []byte { return append(descriptor(11, 4, fd), message(3, 1)...) }
	for name, want := range map[string][]byte{
		"files.img":    image(file, regular, otherInet),
		"fdinfo-2.img": image(descriptor(10, 1, 3), changed(5), descriptor(12, 4, 6), changed(7)),
		"pages-1.img":  []byte("pages"),
	} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is %q, %v, want %q", name, got, err, want)
		}
	}
	// From within another root an absolute link would lead elsewhere.
	if target, err := os.Readlink(filepath.Join(dir, "pages-1.img")); err != nil || filepath.IsAbs(target) {
		t.Errorf("the link to the pages is %q, %v", target, err)
	}
}

// TestHandOverFails leaves nothing behind.
func TestHandOverFails(t *testing.T) {
	whole := image(file, inet)
	tests := map[string]struct {
		files, fdinfo []byte
		want          error
	}{
		"NoFiles":       {nil, image(), os.ErrNotExist},
		"Empty":         {[]byte{}, image(), criu.ErrBadImage},
		"CutInMessage":  {whole[:len(whole)-1], image(), criu.ErrBadImage},
		"CutInLength":   {append(bytes.Clone(whole), 1, 0), image(), criu.ErrBadImage},
		"NotAMessage":   {image([]byte{0xff, 0xff}), image(), criu.ErrBadImage},
		"BadDescriptor": {whole, image([]byte{0xff}), criu.ErrBadImage},
		"NameTaken":     {image(inet, impostor), image(), criu.ErrNameTaken},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			images, dir := checkpointOf(t, tc.files, tc.fdinfo)
			if err := criu.HandOver(images, dir, []uint64{1234}); !errors.Is(err, tc.want) {
				t.Errorf("HandOver = %v, want %v", err, tc.want)
			}
			if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the directory is left: %v", err)
			}
		})
	}
}

// FuzzHandOver: whatever the image, it fails in order or is changed within bounds.
func FuzzHandOver(f *testing.F) {
	f.Add(image(file, inet, otherInet))
	f.Add(image(impostor))
	f.Add([]byte("magic!!!\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, files []byte) {
		images, dir := checkpointOf(t, files, image(descriptor(11, 4, 5)))
		if criu.HandOver(images, dir, []uint64{1234}) != nil {
			return
		}
		got, err := os.ReadFile(filepath.Join(dir, "files.img"))
		if err != nil || len(got) > 2*len(files)+64 {
			t.Errorf("%d bytes of %d, %v", len(got), len(files), err)
		}
	})
}
