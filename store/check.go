package store

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

const (
	maxText  = 4096 // bytes of any text field
	maxDepth = 256  // directories above a file
)

// check tells whether the manifest could belong to a checkpoint. It looks at
// nothing but the manifest.
func (m Manifest) check() error {
	if !validID(m.ID) {
		return errors.New("id is not a ULID")
	}
	if err := m.Lineage.Validate(); err != nil {
		return err
	}
	for _, id := range []string{m.Parent, m.RestoredFrom} {
		if id != "" && !validID(id) {
			return errors.New("parent or restoredFrom is not a ULID")
		}
	}
	if !validID(m.KeyID) || !validMAC(m.MAC) {
		return errors.New("keyId or mac is not of the form of one")
	}
	if err := m.checkSet(); err != nil {
		return err
	}
	if err := m.checkEncryption(); err != nil {
		return err
	}
	if m.Pause < 0 || m.Dump < 0 {
		return errors.New("a duration is negative")
	}
	if err := m.checkTexts(); err != nil {
		return err
	}
	return m.checkFiles()
}

func (m Manifest) checkTexts() error {
	for _, text := range []string{
		m.Node, m.BootID, m.Kernel, m.Arch, m.CPUFeatures, m.CRIU, m.Runc, m.Cgroup, m.PodName, m.PodUID, m.SandboxID,
		m.ContainerID, m.ImageName, m.ImageDigest, m.Fingerprint, m.Trigger, m.Reason,
	} {
		if len(text) > maxText {
			return fmt.Errorf("a text is longer than %d bytes", maxText)
		}
	}
	return nil
}

// checkSet makes sure that a set names its containers and checkpoints once each,
// and this one among them.
func (m Manifest) checkSet() error {
	if len(m.Set) == 0 {
		return nil
	}
	if len(m.Set) > MaxSet {
		return fmt.Errorf("the set has more than %d members", MaxSet)
	}
	ids := map[string]bool{}
	for i, member := range m.Set {
		switch {
		case !validName(member.Container) || !validID(member.ID):
			return errors.New("a member of the set has no sound name or id")
		case i > 0 && m.Set[i-1].Container >= member.Container || ids[member.ID]:
			return errors.New("a member of the set is repeated or out of order")
		}
		ids[member.ID] = true
	}
	if !slices.Contains(m.Set, Member{m.Container, m.ID}) {
		return errors.New("the set does not have this checkpoint")
	}
	return nil
}

// checkEncryption makes sure that an encrypted checkpoint has its content in one
// file, and nothing of the container beside it.
func (m Manifest) checkEncryption() error {
	if (m.Encryption != nil) != (m.Schema == SchemaEncrypted) {
		return errors.New("encryption does not go with the schema")
	}
	if m.Encryption == nil {
		return nil
	}
	e := *m.Encryption
	if e.Bytes < 0 || e.Scheme == "" || max(len(e.Scheme), len(e.Key), len(e.DataKey)) > maxText {
		return errors.New("encryption is not of the form of one")
	}
	found := false
	for _, f := range m.Files {
		if f.Type != TypeFile || strings.Contains(f.Path, "/") {
			return fmt.Errorf("file %.200q is not encrypted", f.Path)
		}
		found = found || f.Path == ContentName
	}
	if !found {
		return errors.New("the encrypted content is missing")
	}
	return nil
}

func (m Manifest) checkFiles() error {
	var sum int64
	for i, f := range m.Files {
		if i > 0 && m.Files[i-1].Path >= f.Path {
			return fmt.Errorf("file %.200q is repeated or out of order", f.Path)
		}
		if err := f.check(); err != nil {
			return fmt.Errorf("file %.200q %w", f.Path, err)
		}
		if sum += f.Size; sum < 0 {
			return errors.New("the sum of sizes overflows")
		}
	}
	if sum != m.Bytes {
		return errors.New("bytes is not the sum of sizes")
	}
	return nil
}

func (f File) check() error {
	switch {
	case !validPath(f.Path):
		return errors.New("is not a clean relative path")
	case reserved(f.Path):
		return errors.New("has a name of the store's own")
	case !allowedAt(f.Type, f.Path):
		return fmt.Errorf("cannot be of type %.20q there", f.Type)
	case f.Size < 0 || f.Size > 0 && f.Type != TypeFile:
		return errors.New("has an impossible size")
	case f.Mode > 0o7777:
		return errors.New("has an impossible mode")
	case (f.Type == TypeFile) != (f.SHA256 != "") || !validSum(f.SHA256) || !validSum(f.Xattrs):
		return errors.New("has no sound digest")
	case (f.Type == TypeHardlink || f.Type == TypeSymlink) != (f.Link != ""):
		return errors.New("has a link target that does not fit its type")
	case f.Type == TypeHardlink && (!validPath(f.Link) || f.Link >= f.Path):
		return errors.New("is a hard link to something that does not precede it")
	}
	return nil
}

// validPath accepts clean relative paths only. It does not judge characters:
// in rootfs/ a tenant chooses them.
func validPath(p string) bool {
	parts := strings.Split(p, "/")
	if len(parts) > maxDepth {
		return false
	}
	for _, part := range parts {
		if part == "" || part == "." || part == ".." || len(part) > 255 || strings.ContainsRune(part, 0) {
			return false
		}
	}
	return true
}

// reserved reports whether a path at the top of a checkpoint is the store's.
func reserved(p string) bool { return p == ManifestName || p == ManifestName+tempExt }

// inTree reports whether p is in a tree of the container's own files.
func inTree(p string) bool { return under(p, RootfsDir) || under(p, ShmDir) }

func under(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

// allowedAt says which types may be where: CRIU and the shim write regular
// files; a link, a pipe or a device of a tenant's stays in rootfs/.
func allowedAt(t FileType, p string) bool {
	switch t {
	case TypeDir:
		return true
	case TypeFile:
		return p != RootfsDir && p != ShmDir
	case TypeHardlink:
		return inTree(p) && p != RootfsDir && p != ShmDir
	case TypeSymlink, TypeFIFO, TypeSocket, TypeWhiteout:
		return under(p, RootfsDir) && p != RootfsDir
	}
	return false
}

func validMAC(mac string) bool {
	sum, found := strings.CutPrefix(mac, macStart)
	return found && sum != "" && validSum(sum)
}

// validSum accepts a SHA-256 in lower-case hexadecimal, or nothing.
func validSum(sum string) bool {
	if sum == "" {
		return true
	}
	raw, err := hex.DecodeString(sum)
	return err == nil && len(raw) == 32 && strings.ToLower(sum) == sum
}
