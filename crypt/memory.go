package crypt

import (
	"bufio"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// spare is what is left to the node at least, in bytes.
const spare = 64 << 20

// ErrNoMemory is returned when plain text does not fit into the node's memory.
var ErrNoMemory = errors.New("not enough memory for the plain text of an encrypted checkpoint")

// Fits makes sure that so many bytes of plain text find room in a directory in
// memory, and all that is going to be needed in the memory that is available.
func Fits(dir string, plain, all int64) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("ask for room in memory: %w", err)
	}
	if free := int64(fs.Bavail) * fs.Bsize; plain > free {
		return fmt.Errorf("%w: it needs %d bytes, and %d of encryption.memory are free", ErrNoMemory, plain, free)
	}
	available, err := memAvailable()
	if err != nil {
		return err
	}
	if all+spare > available {
		return fmt.Errorf("%w: it needs %d bytes, and %d are available", ErrNoMemory, all, available)
	}
	return nil
}

// memAvailable is what the kernel can give to programs without swapping, in bytes.
func memAvailable() (int64, error) {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0, fmt.Errorf("ask for available memory: %w", err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		var kib int64
		if _, err := fmt.Sscanf(s.Text(), "MemAvailable: %d kB", &kib); err == nil {
			return kib << 10, nil
		}
	}
	return 0, errors.New("ask for available memory: /proc/meminfo does not say")
}
