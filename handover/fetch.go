package handover

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ErrOther is returned when a descriptor is not the socket that it is said to be.
var ErrOther = errors.New("another socket than the one that was held")

// firstFD is where the descriptors begin that are to be inherited: above those
// that the programs on the way give to one another.
const firstFD = 100

// Fetch duplicates held sockets out of the process that holds them. The
// duplicates are inherited by every program that this process starts from now
// on. It returns them with their new numbers. After an error none is open.
func Fetch(holder int, sockets []Socket) (fetched []Socket, err error) {
	defer func() {
		if err != nil {
			Release(fetched)
			fetched = nil
		}
	}()
	pidfd, err := unix.PidfdOpen(holder, 0)
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", holder, err)
	}
	defer func() { _ = unix.Close(pidfd) }()
	for _, s := range sockets {
		fd, err := fetch(pidfd, s)
		if err != nil {
			return fetched, fmt.Errorf("fetch socket %d: %w", s.Inode, err)
		}
		fetched = append(fetched, Socket{Inode: s.Inode, FD: fd})
	}
	return fetched, nil
}

func fetch(pidfd int, s Socket) (int, error) {
	fd, err := unix.PidfdGetfd(pidfd, s.FD, 0)
	if err != nil {
		return -1, err
	}
	defer func() { _ = unix.Close(fd) }()
	inode, err := inodeOfFD(fd)
	if err != nil {
		return -1, err
	}
	if inode != s.Inode {
		return -1, ErrOther
	}
	// Without close-on-exec, unlike what pidfd_getfd gives.
	return unix.FcntlInt(uintptr(fd), unix.F_DUPFD, firstFD)
}

// Release closes what Fetch has returned.
func Release(fetched []Socket) {
	for _, s := range fetched {
		_ = unix.Close(s.FD)
	}
}
