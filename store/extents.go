package store

import (
	"fmt"
	"os"
	"sort"
	"unsafe"

	"golang.org/x/sys/unix"
)

// extent is a piece of a file and where on the disk it is, in bytes.
type extent struct {
	logical, physical, length uint64
	// shared tells that others may be in the same place.
	shared bool
}

// The ioctl that tells them, and flags of an extent (linux/fiemap.h).
const (
	fiemapCall   = 0xc020660b
	fiemapLast   = 0x1
	fiemapShared = 0x2000
	// Of an extent like these it is not known where it is, or nothing is there.
	fiemapNowhere = 0x2 | 0x4 | 0x200 | 0x800

	extentsAtOnce = 256
)

type fiemap struct {
	start, length        uint64
	flags, mapped, count uint32
	_                    uint32
	extents              [extentsAtOnce]fiemapExtent
}

type fiemapExtent struct {
	logical, physical, length uint64
	_                         [2]uint64
	flags                     uint32
	_                         [3]uint32
}

// extentsOf lists the extents of a file that has been synced, sorted.
func extentsOf(f *os.File) ([]extent, error) {
	var list []extent
	m := &fiemap{}
	for from := uint64(0); ; {
		*m = fiemap{start: from, length: ^uint64(0) - from, count: extentsAtOnce}
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), fiemapCall, uintptr(unsafe.Pointer(m))); errno != 0 {
			return nil, fmt.Errorf("ask for extents: %w", errno)
		}
		for _, e := range m.extents[:min(m.mapped, extentsAtOnce)] {
			if e.flags&fiemapNowhere == 0 {
				list = append(list, extent{e.logical, e.physical, e.length, e.flags&fiemapShared != 0})
			}
			if e.flags&fiemapLast != 0 || e.logical+e.length <= from {
				return list, nil
			}
			from = e.logical + e.length
		}
		if m.mapped == 0 {
			return list, nil
		}
	}
}

// place returns where on the disk a byte of a file is, and how far it goes on
// there; for a hole 0, and how far that goes.
func place(list []extent, at uint64) (physical, length uint64) {
	i := sort.Search(len(list), func(i int) bool { return list[i].logical+list[i].length > at })
	if i == len(list) {
		return 0, ^uint64(0) - at
	}
	if e := list[i]; at >= e.logical {
		return e.physical + at - e.logical, e.logical + e.length - at
	}
	return 0, list[i].logical - at
}

// samePlace tells whether pieces of two files are in the same place on the disk,
// or holes both.
func samePlace(a, b []extent, aAt, bAt, length uint64) bool {
	for length > 0 {
		pa, na := place(a, aAt)
		pb, nb := place(b, bAt)
		step := min(na, nb, length)
		if pa != pb {
			return false
		}
		aAt, bAt, length = aAt+step, bAt+step, length-step
	}
	return true
}
