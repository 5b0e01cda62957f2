package archive_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/rekindle-dev/rekindle/archive"
)

// part is an entry of an archive, or of a layer in one.
type part struct {
	tar.Header
	data string
}

func file(name, data string) part {
	return part{tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(data)), Mode: 0o600}, data}
}

func special(kind byte, name, link string) part {
	return part{tar.Header{Typeflag: kind, Name: name, Linkname: link, Mode: 0o600}, ""}
}

// sound are the parts of an archive that is accepted.
func sound() []part {
	return []part{
		file("spec.dump", `{"ociVersion":"1.2.0"}`), file("config.dump", `{"name":"app"}`),
		special(tar.TypeDir, "checkpoint/", ""),
		file("checkpoint/inventory.img", "i"), file("checkpoint/pstree.img", "p"), file("checkpoint/pages-1.img", strings.Repeat("m", 9000)),
		file("rootfs-diff.tar", layer(special(tar.TypeDir, "etc/", ""), file("etc/motd", "hello"), special(tar.TypeSymlink, "etc/l", "/etc/passwd"))),
	}
}

func pack(parts ...part) []byte {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, p := range parts {
		kind, name := p.Typeflag, p.Name
		if err := w.WriteHeader(&p.Header); err != nil {
			// What the library does not write, a forger writes by hand.
			p.Typeflag, p.Name, p.Linkname = tar.TypeReg, "NAME", ""
			_ = w.Flush()
			at := buf.Len()
			_ = w.WriteHeader(&p.Header)
			head := buf.Bytes()[at : at+512]
			head[156] = kind
			copy(head[:100], append([]byte(name), 0))
			checksum(head)
		}
		_, _ = io.WriteString(w, p.data)
	}
	_ = w.Close()
	return buf.Bytes()
}

func layer(parts ...part) string { return string(pack(parts...)) }

// names lead out of where they should be, or to what is no name.
var names = []string{
	"../evil", "checkpoint/../../evil", "/evil", "//evil", "checkpoint//../../evil", "./../evil", "checkpoint/./../evil", "..", "a/../../evil",
	"checkpoint/sub/evil.img", "checkpoint/.img", "checkpoint/-x.img", "evil", "manifest.json", "checkpoint/evil", "checkpoint/../manifest.json",
	"criu/inventory.img", "rootfs/evil", "checkpoint/a\x00b.img", "checkpoint/" + strings.Repeat("n", 400) + ".img", "CHECKPOINT/x.img",
	"volumes/data.tar", "config.json", "checkpoint/inventory.img/x", "spec.dump/x", "\\evil", "checkpoint\\evil.img",
}

// types are all kinds of entries but files and directories.
var types = []byte{tar.TypeSymlink, tar.TypeLink, tar.TypeChar, tar.TypeBlock, tar.TypeFifo, tar.TypeCont, tar.TypeGNUSparse, 'Z'}

// mischief is a way to spoil an archive: each returns its bytes for one random
// source.
var mischief = map[string]func(*rand.Rand) []byte{
	"Name": func(r *rand.Rand) []byte { return with(r, file(pick(r, names), "x")) },
	"Type": func(r *rand.Rand) []byte {
		return with(r, special(pick(r, types), pick(r, append(names, "spec.dump", "checkpoint/core-1.img")), "../../evil"))
	},
	"Twice":    func(r *rand.Rand) []byte { return pack(append(sound(), sound()[r.IntN(2)])...) },
	"TwiceDot": func(r *rand.Rand) []byte { return pack(append(sound(), file("./spec.dump", "{}"))...) },
	"Missing":  func(r *rand.Rand) []byte { return without(pick(r, []int{0, 3, 4})) },
	"TooMany": func(*rand.Rand) []byte {
		all := sound()
		for i := range 2000 {
			all = append(all, file(fmt.Sprintf("checkpoint/core-%d.img", i), ""))
		}
		return pack(all...)
	},
	"TooLarge":     func(r *rand.Rand) []byte { return with(r, file("checkpoint/pages-2.img", strings.Repeat("x", 3<<20))) },
	"UnreadLarge":  func(r *rand.Rand) []byte { return with(r, file("container.log", strings.Repeat("x", 3<<20))) },
	"SizeOfHeader": func(r *rand.Rand) []byte { return resize(pack(sound()...), r) },
	"CutShort":     func(r *rand.Rand) []byte { data := pack(sound()...); return data[:r.IntN(len(data)-2048)] },
	"Noise":        noise,
	"ZstdCut":      func(r *rand.Rand) []byte { data := zstded(pack(sound()...)); return data[:r.IntN(len(data)-1)] },
	"ZstdBomb": func(*rand.Rand) []byte {
		return zstded(pack(append(sound(), file("checkpoint/pages-2.img", strings.Repeat("\x00", 8<<20)))...))
	},
	"GzipBomb": func(*rand.Rand) []byte {
		return gzipped(pack(append(sound(), file("container.log", strings.Repeat("\x00", 8<<20)))...))
	},
	"LayerBomb": func(*rand.Rand) []byte {
		return replaced(gzipped([]byte(layer(file("zero", strings.Repeat("\x00", 8<<20))))))
	},
	"ZstdWindow":  func(*rand.Rand) []byte { return []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf8, 0x01, 0x00, 0x00} },
	"SparsePAX":   func(r *rand.Rand) []byte { return rawPAX(r, "GNU.sparse.size=1099511627776") },
	"SparseMap":   func(r *rand.Rand) []byte { return rawPAX(r, "GNU.sparse.map=0,1099511627776") },
	"PAXPath":     func(r *rand.Rand) []byte { return rawPAX(r, "path=../../evil") },
	"PAXSize":     func(r *rand.Rand) []byte { return rawPAX(r, "size=9223372036854775807") },
	"PAXLink":     func(r *rand.Rand) []byte { return rawPAX(r, "linkpath=/etc/shadow") },
	"LayerName":   func(r *rand.Rand) []byte { return replaced([]byte(layer(file(pick(r, names[:9]), "x")))) },
	"LayerDevice": func(r *rand.Rand) []byte { return replaced([]byte(layer(special(pick(r, types[2:4]), "dev", "")))) },
	"LayerHardlink": func(*rand.Rand) []byte {
		return replaced([]byte(layer(special(tar.TypeLink, "l", "../../../../etc/shadow"))))
	},
	"LayerLinkOut": func(*rand.Rand) []byte {
		return replaced([]byte(layer(special(tar.TypeSymlink, "s", "/etc"), special(tar.TypeLink, "l", "s"))))
	},
	"LayerThrough": func(r *rand.Rand) []byte {
		return replaced([]byte(layer(special(tar.TypeSymlink, "d", pick(r, []string{"/etc", "..", "../../..", "."})), file("d/evil", "x"))))
	},
	"LayerOver": func(*rand.Rand) []byte {
		return replaced([]byte(layer(file("f", "x"), special(tar.TypeDir, "f/", ""))))
	},
	"LayerSwap": func(*rand.Rand) []byte {
		return replaced([]byte(layer(special(tar.TypeDir, "d/", ""), special(tar.TypeSymlink, "d", "/etc"), file("d/evil", "x"))))
	},
	"LayerWhiteout": func(r *rand.Rand) []byte {
		return replaced([]byte(layer(file(pick(r, []string{".wh...", ".wh..", ".wh.", ".wh..wh.aufs", "a/.wh.../x"}), ""))))
	},
	"LayerHides":   func(*rand.Rand) []byte { return replaced([]byte(layer(file("f", "x"), file(".wh.f", "")))) },
	"LayerDeep":    func(*rand.Rand) []byte { return replaced([]byte(layer(file(strings.Repeat("d/", 3000)+"f", "x")))) },
	"LayerTrusted": func(*rand.Rand) []byte { return replaced([]byte(layer(special('Z', "f", "")))) },
	"ShmLink": func(*rand.Rand) []byte {
		return pack(append(sound(), file("devshm-checkpoint.tar", layer(special(tar.TypeSymlink, "s", "/etc"))))...)
	},
	"Deleted": func(*rand.Rand) []byte {
		return pack(append(sound(), file("deleted.files", `["../../etc/passwd"]`))...)
	},
	"Claims": func(*rand.Rand) []byte { return pack(append(sound(), file("rekindle.json", `{"imageDigest": 7}`))...) },
	"ClaimsLarge": func(*rand.Rand) []byte {
		return pack(append(sound(), file("rekindle.json", strings.Repeat("[", 5<<20)))...)
	},
	"Bundle": func(r *rand.Rand) []byte {
		return pack(file("oci-layout", "{}"), file("index.json", `{"manifests":[{"digest":"sha256:../../evil"}]}`), file(pick(r, names), "x"))
	},
}

func pick[T any](r *rand.Rand, all []T) T { return all[r.IntN(len(all))] }

// with puts something hostile anywhere into a sound archive.
func with(r *rand.Rand, p part) []byte {
	all := sound()
	at := r.IntN(len(all) + 1)
	return pack(append(append(append([]part{}, all[:at]...), p), all[at:]...)...)
}

func without(at int) []byte { return pack(slices.Delete(sound(), at, at+1)...) }

// replaced is a sound archive with another layer.
func replaced(layer []byte) []byte {
	all := sound()
	all[len(all)-1] = file("rootfs-diff.tar", string(layer))
	return pack(all...)
}

// rawPAX writes a record that the library would not, before a harmless file.
func rawPAX(r *rand.Rand, record string) []byte {
	n := len(record) + 4
	for len(fmt.Sprintf("%d %s\n", n, record)) != n {
		n++
	}
	data := fmt.Sprintf("%d %s\n", n, record)
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "x", Size: int64(len(data)), Mode: 0o600})
	_, _ = io.WriteString(w, data)
	_ = w.Flush()
	head := buf.Bytes()
	head[156] = 'x'
	checksum(head[:512])
	return append(head, pack(append([]part{file("checkpoint/core-1.img", strings.Repeat("x", r.IntN(900)))}, sound()...)...)...)
}

// resize writes another size into a header.
func resize(data []byte, r *rand.Rand) []byte {
	copy(data[124:136], fmt.Sprintf("%011o\x00", r.Int64N(1<<33)))
	checksum(data[:512])
	return data
}

func checksum(head []byte) {
	copy(head[148:156], "        ")
	sum := 0
	for _, b := range head {
		sum += int(b)
	}
	copy(head[148:156], fmt.Sprintf("%06o\x00 ", sum))
}

// noise changes bytes of a sound archive's headers.
func noise(r *rand.Rand) []byte {
	data := pack(sound()...)
	for range 1 + r.IntN(20) {
		data[r.IntN(512)] ^= byte(1 + r.IntN(255))
	}
	return data
}

func zstded(data []byte) []byte {
	e, _ := zstd.NewWriter(nil)
	return e.EncodeAll(data, nil)
}

func gzipped(data []byte) []byte {
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	_, _ = w.Write(data)
	_ = w.Close()
	return buf.Bytes()
}

var limits = archive.Limits{Bytes: 2 << 20, Entries: 1000, Ratio: 100}

// What reading one archive may take at most.
const (
	mostTime   = 10 * time.Second
	mostMemory = 64 << 20
)

// TestHostile reads archives that nobody means well with, more than a thousand: all are
// refused, and nothing is written but in the directory they are given.
func TestHostile(t *testing.T) {
	for name := range mischief {
		t.Run(name, func(t *testing.T) {
			for seed := range 1200 / len(mischief) {
				if seed == 3 && (strings.HasSuffix(name, "Bomb") || strings.Contains(name, "Large")) {
					break // they are all the same
				}
				data := mischief[name](rand.New(rand.NewPCG(uint64(seed), 1)))
				outside := t.TempDir()
				dir := filepath.Join(outside, "a", "staging")
				if err := os.MkdirAll(dir, 0o700); err != nil {
					t.Fatal(err)
				}
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				began := time.Now()
				_, err := archive.Read(context.Background(), bytes.NewReader(data), dir, limits)
				took := time.Since(began)
				runtime.ReadMemStats(&after)
				if err == nil {
					t.Fatalf("seed %d: accepted", seed)
				}
				if took > mostTime {
					t.Errorf("seed %d: took %s", seed, took)
				}
				if n := after.TotalAlloc - before.TotalAlloc; n > mostMemory {
					t.Errorf("seed %d: took %d MiB", seed, n>>20)
				}
				alone(t, outside, seed)
				if err := os.RemoveAll(outside); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// alone sees to it that nothing lies beside the directory, and that what lies in
// it is no device.
func alone(t *testing.T, outside string, seed int) {
	t.Helper()
	for _, dir := range []string{outside, filepath.Join(outside, "a")} {
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 1 {
			t.Fatalf("seed %d: %s has %v, %v", seed, dir, entries, err)
		}
	}
	for _, evil := range []string{"/evil", "/etc/evil"} {
		if _, err := os.Lstat(evil); err == nil {
			t.Fatalf("seed %d: there is %s", seed, evil)
		}
	}
}

// FuzzRead reads anything: it never writes outside.
func FuzzRead(f *testing.F) {
	f.Add(pack(sound()...))
	for _, spoil := range mischief {
		if data := spoil(rand.New(rand.NewPCG(1, 1))); len(data) < 64<<10 {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		outside := t.TempDir()
		dir := filepath.Join(outside, "a", "staging")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		_, _ = archive.Read(context.Background(), bytes.NewReader(data), dir, limits)
		alone(t, outside, 0)
	})
}

func TestSound(t *testing.T) {
	for name, data := range map[string][]byte{"Plain": pack(sound()...), "Zstd": zstded(pack(sound()...)), "Gzip": gzipped(pack(sound()...))} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			claims, err := archive.Read(context.Background(), bytes.NewReader(data), dir, limits)
			if err != nil || claims.Container != "app" {
				t.Fatalf("Read=%+v, %v", claims, err)
			}
			if link, err := os.Readlink(filepath.Join(dir, "rootfs/etc/l")); err != nil || link != "/etc/passwd" {
				t.Fatalf("link=%q, %v", link, err)
			}
		})
	}
}
