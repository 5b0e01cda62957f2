package store_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rekindle-dev/rekindle/store"
)

// forger has a checkpoint in his hands, and puts something else in the place of
// its manifest.
type forger struct {
	*rand.Rand
	victim store.Checkpoint
	good   []byte // the manifest as it was
	other  []byte // one of another checkpoint of this node
	key    []byte // this node's key, of which there is only a use by a mistake of ours
}

func pick[T any](r *forger, all []T) T { return all[r.IntN(len(all))] }

// sealed spoils the manifest and gives it a digest and a MAC that fit.
func (r *forger) sealed(key []byte, spoil func(*store.Manifest)) []byte {
	m := r.victim.Manifest
	m.Files = slices.Clone(m.Files)
	spoil(&m)
	data, err := store.Seal(m, pick(r, []string{m.KeyID, m.KeyID, exampleKeyID, "../" + m.KeyID, ""}), key)
	if err != nil {
		panic(err)
	}
	return data
}

var (
	evilPaths = []string{
		"../evil", "/evil", "/etc/evil", "criu/../../../evil", "..", ".", "", "criu//x", "criu/./x", "criu/x/", "rootfs/../../evil", "a\x00b",
		strings.Repeat("d/", 300) + "x", strings.Repeat("n", 300), "manifest.json", "manifest.json/x", "..\\evil", "criu/../manifest.json",
	}
	evilNumbers = []int64{-1, 1 << 62, -1 << 63, 1<<63 - 1}
	evilTypes   = []store.FileType{"", "door", "FILE", "block", store.TypeSymlink, store.TypeWhiteout, store.TypeHardlink, store.TypeSocket}
	evilTokens  = []string{
		"null", "[]", "{}", `""`, "-1", "1e999", "18446744073709551616", "true", `"\ud800"`, `"\u0000"`, strings.Repeat("[", 20000),
		`"` + strings.Repeat("x", 70000) + `"`, "\xff", "/*x*/", "NaN", `{"a":{"a":{"a":{}}}}`, "\"../../../evil\"",
	}
)

// evilFile makes one of the listed files another than the one that is there.
func evilFile(r *forger, m *store.Manifest) {
	f := &m.Files[r.IntN(len(m.Files))]
	switch r.IntN(6) {
	case 0:
		f.Path = pick(r, evilPaths)
	case 1:
		f.Size = pick(r, evilNumbers)
	case 2:
		f.Type = pick(r, evilTypes)
	case 3:
		f.Mode ^= 1 << r.IntN(20)
	case 4:
		f.Link = pick(r, evilPaths[:8]) + "x"
	case 5:
		m.Files = append(m.Files, store.File{Path: pick(r, evilPaths), Type: store.TypeDir})
	}
}

// evilName has the manifest belong to something else.
func evilName(r *forger, m *store.Manifest) {
	switch r.IntN(5) {
	case 0:
		m.ID = pick(r, []string{"01ARZ3NDEKTSV4RRFFQ69G5FAV", "../x", "", strings.ToLower(m.ID)})
	case 1:
		m.Namespace = pick(r, []string{"bank", "..", "", "shop/../bank", "SHOP"})
	case 2:
		m.Workload = pick(r, []string{"redis-1", ".", "redis-0/..", strings.Repeat("w", 300)})
	case 3:
		m.Container = pick(r, []string{"other", "", "redis\x00"})
	case 4:
		m.Schema = pick(r, []int{0, 1, 3, -1, 1 << 30})
	}
}

// tricks are ways to write a manifest; each makes another one for another random
// source.
var tricks = map[string]func(*forger) []byte{
	"Bits": func(r *forger) []byte {
		data := bytes.Clone(r.good)
		for range 1 + r.IntN(4) {
			data[r.IntN(len(data))] ^= byte(1 + r.IntN(255))
		}
		return data
	},
	"Cut": func(r *forger) []byte { return r.good[:r.IntN(len(r.good))] },
	"Doubled": func(r *forger) []byte {
		from := r.IntN(len(r.good))
		to := from + 1 + r.IntN(len(r.good)-from)
		return slices.Concat(r.good[:to], r.good[from:to], r.good[to:])
	},
	"Taken": func(r *forger) []byte {
		from := r.IntN(len(r.good))
		return slices.Concat(r.good[:from], r.good[from+1+r.IntN(len(r.good)-from):])
	},
	"Value": func(r *forger) []byte {
		lines := bytes.Split(r.good, []byte("\n"))
		at := 1 + r.IntN(len(lines)-3)
		name, _, _ := bytes.Cut(lines[at], []byte(":"))
		lines[at] = slices.Concat(name, []byte(": "), []byte(pick(r, evilTokens)), []byte(","))
		return bytes.Join(lines, []byte("\n"))
	},
	"LineTwice": func(r *forger) []byte {
		lines := bytes.Split(r.good, []byte("\n"))
		at := 1 + r.IntN(len(lines)-3)
		return bytes.Join(slices.Insert(lines, at, lines[at]), []byte("\n"))
	},
	"LinesSwapped": func(r *forger) []byte {
		lines := bytes.Split(r.good, []byte("\n"))
		at := 1 + r.IntN(len(lines)-4)
		if bytes.Equal(lines[at], lines[at+1]) {
			at = 1
		}
		lines[at], lines[at+1] = lines[at+1], lines[at]
		return bytes.Join(lines, []byte("\n"))
	},
	"Space":    func(r *forger) []byte { at := r.IntN(len(r.good)); return slices.Insert(bytes.Clone(r.good), at, ' ') },
	"OfOther":  func(r *forger) []byte { return r.other },
	"OwnKey":   func(r *forger) []byte { return r.sealed(exampleKey(), func(m *store.Manifest) { m.Fingerprint = "x" }) },
	"OwnFiles": func(r *forger) []byte { return r.sealed(exampleKey(), func(m *store.Manifest) { evilFile(r, m) }) },
	"OwnName":  func(r *forger) []byte { return r.sealed(exampleKey(), func(m *store.Manifest) { evilName(r, m) }) },
	// As if a bug of ours had sealed it.
	"KeyFiles": func(r *forger) []byte { return r.sealed(r.key, func(m *store.Manifest) { evilFile(r, m) }) },
	"KeyName":  func(r *forger) []byte { return r.sealed(r.key, func(m *store.Manifest) { evilName(r, m) }) },
	"ManyFiles": func(r *forger) []byte {
		return r.sealed(r.key, func(m *store.Manifest) {
			for i := range 60_000 {
				m.Files = append(m.Files, store.File{Path: fmt.Sprintf("x/%06d", i), Type: store.TypeDir, Mode: 0o700})
			}
		})
	},
	"Nested": func(r *forger) []byte {
		open := pick(r, []string{"[", `{"a":`, `{"files":[`})
		return bytes.Repeat([]byte(open), store.MaxManifest/len(open))
	},
	"Spaces": func(*forger) []byte { return bytes.Repeat([]byte(" "), store.MaxManifest) },
	"Text": func(*forger) []byte {
		return []byte(`{"schema":2,"id":"` + strings.Repeat("x", store.MaxManifest-20) + `"}`)
	},
	"Escapes": func(*forger) []byte {
		return []byte(`{"schema":2,"id":"` + strings.Repeat(`\u0041`, store.MaxManifest/6-9) + `"}`)
	},
	"Empties": func(*forger) []byte {
		return []byte(`{"schema":2,"files":[` + strings.Repeat("{},", store.MaxManifest/3-20) + `{}]}`)
	},
	"Numbers":  func(*forger) []byte { return []byte(`{"schema":` + strings.Repeat("9", store.MaxManifest-20) + `}`) },
	"TooLarge": func(r *forger) []byte { return append(bytes.Clone(r.good), make([]byte, store.MaxManifest)...) },
}

// What looking three times at one checkpoint with a hostile manifest may take: of
// processor time, for others may be busy meanwhile, and of all memory that is asked
// for on the way, freed in between or not.
// The most, some 500 MiB, is taken by a manifest that is as large as one may be.
const (
	mostTime   = 3 * time.Second * slowdown
	mostMemory = 1 << 30
)

// TestHostileManifests puts more than a thousand of them in the place of a sound one. None
// is listed or verifies, none takes long or much memory, and nothing is written but
// in the store; when it is put back as it was it is sound again.
func TestHostileManifests(t *testing.T) {
	outside := memoryDir(t)
	dir := filepath.Join(outside, "a", "store")
	s := open(t, dir)
	other := commit(t, s, store.Lineage{Namespace: "shop", Workload: "redis-1", Container: "redis"})
	neighbour, victim := commit(t, s, redis), commit(t, s, redis)
	path := filepath.Join(victim.Dir(), "manifest.json")
	good := read(t, path)
	text, _, _ := strings.Cut(string(read(t, keyFiles(t, filepath.Join(dir, "keys"))[0])), " ")
	key, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	others := [][]byte{read(t, filepath.Join(other.Dir(), "manifest.json")), read(t, filepath.Join(neighbour.Dir(), "manifest.json"))}
	before := names(t, outside)
	tried := 0
	for name, trick := range tricks {
		t.Run(name, func(t *testing.T) {
			for seed := range 1700 / len(tricks) {
				r := &forger{rand.New(rand.NewPCG(uint64(seed), 7)), victim, good, others[seed%2], key}
				data := trick(r)
				if seed == 1 && len(data) > 1<<20 {
					break // they are all the same
				}
				if bytes.Equal(data, good) {
					continue
				}
				tried++
				if err := os.WriteFile(path, data, 0o600); err != nil {
					t.Fatal(err)
				}
				refused(t, s, victim, neighbour, fmt.Sprintf("seed %d", seed))
			}
		})
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if tried < 1000 {
		t.Errorf("there were only %d", tried)
	}
	if after := names(t, outside); !slices.Equal(before, after) {
		t.Errorf("there are %v, before there were %v", after, before)
	}
	if err := s.Verify(context.Background(), victim, store.Full); err != nil {
		t.Errorf("put back as it was: %v", err)
	}
}

// refused makes sure that a checkpoint is of no use, whoever asks, and that the one
// beside it is.
func refused(t *testing.T, s *store.Store, cp, neighbour store.Checkpoint, what string) {
	t.Helper()
	var was, is runtime.MemStats
	runtime.ReadMemStats(&was)
	began := worked(t)
	listed := list(t, s, redis)
	var found error
	if slices.Contains(ids(listed), cp.ID) {
		// The manifest is one of ours by its looks; so it is compared with the files.
		found = s.Verify(context.Background(), listed[0], store.Quick)
	} else {
		_, found = s.Get(cp.ID)
	}
	if found == nil {
		t.Errorf("%s: it can be selected", what)
	}
	if err := store.VerifyDir(context.Background(), cp.Dir(), cp.Sum()); err == nil {
		t.Errorf("%s: the executor would restore it", what)
	}
	took := worked(t) - began
	runtime.ReadMemStats(&is)
	if took > mostTime {
		t.Errorf("%s: took %s", what, took)
	}
	if n := is.TotalAlloc - was.TotalAlloc; n > mostMemory {
		t.Errorf("%s: took %d MiB", what, n>>20)
	}
	if !slices.Contains(ids(listed), neighbour.ID) {
		t.Errorf("%s: the checkpoint beside it is not listed", what)
	}
	for _, evil := range []string{"/evil", "/etc/evil"} {
		if _, err := os.Lstat(evil); err == nil {
			t.Fatalf("%s: there is %s", what, evil)
		}
	}
}

// worked returns the processor time that this process has used up.
func worked(t *testing.T) time.Duration {
	t.Helper()
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// names lists everything below a directory.
func names(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		all = append(all, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestManifestsThatAreNoFiles puts something else than a file there, which hangs,
// leads elsewhere or has no end.
func TestManifestsThatAreNoFiles(t *testing.T) {
	needRoot(t)
	sparse := func(path string) error {
		return errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 1<<40))
	}
	tests := map[string]func(path string, neighbour store.Checkpoint) error{
		"FIFO":      func(p string, _ store.Checkpoint) error { return syscall.Mkfifo(p, 0o600) },
		"Directory": func(p string, _ store.Checkpoint) error { return os.Mkdir(p, 0o700) },
		"Link":      func(p string, n store.Checkpoint) error { return os.Symlink(n.Dir()+"/manifest.json", p) },
		"Near":      func(p string, n store.Checkpoint) error { return os.Symlink("../"+n.ID+"/manifest.json", p) },
		"Loop":      func(p string, _ store.Checkpoint) error { return os.Symlink("manifest.json", p) },
		"Passwords": func(p string, _ store.Checkpoint) error { return os.Symlink("/etc/shadow", p) },
		"Hardlink":  func(p string, n store.Checkpoint) error { return os.Link(n.Dir()+"/manifest.json", p) },
		"Zero":      func(p string, _ store.Checkpoint) error { return unix.Mknod(p, unix.S_IFCHR|0o600, 1<<8|5) },
		"Socket":    func(p string, _ store.Checkpoint) error { return unix.Mknod(p, unix.S_IFSOCK|0o600, 0) },
		"Sparse":    func(p string, _ store.Checkpoint) error { return sparse(p) },
		"Nothing":   func(string, store.Checkpoint) error { return nil },
	}
	for name, put := range tests {
		t.Run(name, func(t *testing.T) {
			s := open(t, memoryDir(t))
			neighbour, victim := commit(t, s, redis), commit(t, s, redis)
			path := filepath.Join(victim.Dir(), "manifest.json")
			if err := errors.Join(os.Remove(path), put(path, neighbour)); err != nil {
				t.Fatal(err)
			}
			refused(t, s, victim, neighbour, name)
		})
	}
}
