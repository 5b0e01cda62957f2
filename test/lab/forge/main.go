// Command forge alters a checkpoint as somebody could who can write to the
// store and read the node's keys, and makes its digests and its MAC right again:
//
//	forge KEYS DIR [WHAT=VALUE]...
//
// What is altered in the CRIU images of every process: capabilities (added to
// all sets), uid, no_new_privs, seccomp; of the container: mount (KIND:PLACE,
// added), writable (the mount at PLACE), namespace (KIND, made the node's), file
// (the name of the first open file). Of the manifest: arch, cpu, cgroup, kernel, criu,
// runc.
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/checkpoint-restore/go-criu/v8/crit"
	core "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/inventory"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/mnt"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/rekindle-dev/rekindle/store"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "forge:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 2 {
		return errors.New("which keys and which checkpoint?")
	}
	keys, dir := args[0], args[1]
	data, err := os.ReadFile(filepath.Join(dir, store.ManifestName))
	if err != nil {
		return err
	}
	m, err := store.ParseManifest(data)
	if err != nil {
		return err
	}
	for _, edit := range args[2:] {
		what, value, _ := strings.Cut(edit, "=")
		if err := alter(dir, &m, what, value); err != nil {
			return fmt.Errorf("%s: %w", edit, err)
		}
	}
	return seal(keys, dir, m)
}

func alter(dir string, m *store.Manifest, what, value string) error {
	number, _ := strconv.ParseUint(value, 10, 32)
	switch what {
	case "arch":
		m.Arch = value
	case "cpu":
		m.CPUFeatures = value
	case "cgroup":
		m.Cgroup = value
	case "kernel":
		m.Kernel = value
	case "criu":
		m.CRIU = value
	case "runc":
		m.Runc = value
	case "capabilities":
		return threads(dir, func(t *core.ThreadCoreEntry) {
			for _, set := range [][]uint32{t.Creds.CapBnd, t.Creds.CapPrm, t.Creds.CapEff} {
				set[0] |= uint32(number)
			}
		})
	case "uid":
		return threads(dir, func(t *core.ThreadCoreEntry) {
			id := uint32(number)
			t.Creds.Uid, t.Creds.Euid, t.Creds.Suid, t.Creds.Fsuid = &id, &id, &id, &id
		})
	case "no_new_privs":
		return threads(dir, func(t *core.ThreadCoreEntry) { t.Creds.NoNewPrivs = proto.Uint32(uint32(number)) })
	case "seccomp":
		return threads(dir, func(t *core.ThreadCoreEntry) {
			t.SeccompMode, t.SeccompFilter = core.SeccompMode(number).Enum(), nil
		})
	case "mount", "writable":
		return edit(dir, "mountpoints-*.img", &mnt.MntEntry{}, func(img *crit.CriuImage) { mounts(img, what, value) })
	case "namespace":
		return namespace(dir, value)
	case "file":
		return edit(dir, "files.img", &fdinfo.FileEntry{}, func(img *crit.CriuImage) {
			img.Entries[0].Message.(*fdinfo.FileEntry).Reg.Name = &value
		})
	default:
		return errors.New("no such thing to alter")
	}
	return nil
}

func threads(dir string, do func(*core.ThreadCoreEntry)) error {
	return edit(dir, "core-*.img", &core.CoreEntry{}, func(img *crit.CriuImage) {
		do(img.Entries[0].Message.(*core.CoreEntry).ThreadCore)
	})
}

// namespace says of the processes that they were in the same namespace of a kind
// as CRIU itself, which leaves them there then.
func namespace(dir, kind string) error {
	var node *core.TaskKobjIdsEntry
	err := edit(dir, "inventory.img", &inventory.InventoryEntry{}, func(img *crit.CriuImage) {
		node = img.Entries[0].Message.(*inventory.InventoryEntry).RootIds
	})
	if err != nil {
		return err
	}
	return edit(dir, "ids-*.img", &core.TaskKobjIdsEntry{}, func(img *crit.CriuImage) {
		ids := img.Entries[0].Message.(*core.TaskKobjIdsEntry)
		switch kind {
		case "pid":
			ids.PidNsId = node.PidNsId
		case "mount":
			ids.MntNsId = node.MntNsId
		}
	})
}

func mounts(img *crit.CriuImage, what, value string) {
	for _, e := range img.Entries {
		if m := e.Message.(*mnt.MntEntry); what == "writable" && m.GetMountpoint() == value {
			m.Flags = proto.Uint32(m.GetFlags() &^ unix.MS_RDONLY)
			m.SbFlags = proto.Uint32(m.GetSbFlags() &^ unix.MS_RDONLY)
		}
	}
	if what != "mount" {
		return
	}
	kind, place, _ := strings.Cut(value, ":")
	more := proto.Clone(img.Entries[0].Message).(*mnt.MntEntry)
	more.ExtKey, more.Root, more.Mountpoint = nil, proto.String("/"), &place
	more.MntId, more.Flags, more.SbFlags = proto.Uint32(9999), proto.Uint32(0), proto.Uint32(0)
	more.Fstype, more.Fsname, more.Source, more.Options = proto.Uint32(uint32(mnt.Fstype_AUTO)), &kind, &kind, proto.String("")
	if kind == "proc" {
		more.Fstype = proto.Uint32(uint32(mnt.Fstype_PROC))
	}
	img.Entries = append([]*crit.CriuEntry{{Message: more}}, img.Entries...)
}

// edit rewrites the images whose names match.
func edit(dir, pattern string, entry proto.Message, do func(*crit.CriuImage)) error {
	names, err := filepath.Glob(filepath.Join(dir, "criu", pattern))
	if err != nil || len(names) == 0 {
		return errors.Join(err, fmt.Errorf("no image %s", pattern))
	}
	for _, name := range names {
		in, err := os.Open(name)
		if err != nil {
			return err
		}
		img, err := crit.New(in, nil, "", false, false).Decode(entry)
		in.Close()
		if err != nil {
			return err
		}
		do(img)
		// In its place: a file has the owner and mode that the manifest says.
		out, err := os.OpenFile(name, os.O_WRONLY|os.O_TRUNC, 0)
		if err != nil {
			return err
		}
		if err := errors.Join(crit.New(nil, out, "", false, false).Encode(img), out.Close()); err != nil {
			return err
		}
	}
	return nil
}

// seal writes a manifest that fits the files as they are now.
func seal(keys, dir string, m store.Manifest) error {
	m.Bytes = 0
	for i, f := range m.Files {
		if f.Type != store.TypeFile {
			continue
		}
		if strings.HasPrefix(f.Path, "criu/") && !strings.HasPrefix(f.Path, "criu/pages-") {
			data, err := os.ReadFile(filepath.Join(dir, f.Path))
			if err != nil {
				return err
			}
			sum := sha256.Sum256(data)
			m.Files[i].SHA256, m.Files[i].Size = hex.EncodeToString(sum[:]), int64(len(data))
		}
		m.Bytes += m.Files[i].Size
	}
	m.Digest, m.MAC = "", ""
	data, err := m.Encode()
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	m.Digest = "sha256:" + hex.EncodeToString(sum[:])
	if data, err = m.Encode(); err != nil {
		return err
	}
	key, err := readKey(filepath.Join(keys, m.KeyID+".key"))
	if err != nil {
		return err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(data)
	m.MAC = "hmac-sha256:" + hex.EncodeToString(mac.Sum(nil))
	if data, err = m.Encode(); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, store.ManifestName), data, 0o600)
}

// readKey reads a key of the node, and not the digest behind it.
func readKey(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	text, _, _ := strings.Cut(string(data), " ")
	return hex.DecodeString(text)
}
