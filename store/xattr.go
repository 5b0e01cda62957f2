package store

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// digestXattrs digests the extended attributes of the file that name, a path
// whose last component is not followed, stands for. The form is: for each
// attribute in order of its name, the name, a zero byte, the length of the
// value as 8 bytes big-endian, the value.
func digestXattrs(name string) (string, error) {
	list, err := readXattr(func(buf []byte) (int, error) { return unix.Llistxattr(name, buf) })
	if errors.Is(err, unix.ENOTSUP) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("list extended attributes: %w", err)
	}
	attrs := slices.DeleteFunc(strings.Split(string(list), "\x00"), func(a string) bool { return !counts(a) })
	if len(attrs) == 0 {
		return "", nil
	}
	slices.Sort(attrs)
	h := sha256.New()
	for _, a := range attrs {
		value, err := readXattr(func(buf []byte) (int, error) { return unix.Lgetxattr(name, a, buf) })
		if err != nil {
			return "", fmt.Errorf("read extended attribute: %w", err)
		}
		h.Write(append([]byte(a), 0))
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(value))))
		h.Write(value)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// counts leaves out what the system may rewrite at will, such as SELinux labels.
func counts(attr string) bool {
	return strings.HasPrefix(attr, "user.") || strings.HasPrefix(attr, "trusted.") ||
		strings.HasPrefix(attr, "system.posix_acl_") || attr == "security.capability"
}

// readXattr asks for the size first and again if it grew in between.
func readXattr(read func([]byte) (int, error)) ([]byte, error) {
	for {
		n, err := read(nil)
		if err != nil || n == 0 {
			return nil, err
		}
		buf := make([]byte, n)
		n, err = read(buf)
		if errors.Is(err, unix.ERANGE) {
			continue
		}
		return buf[:max(n, 0)], err
	}
}
