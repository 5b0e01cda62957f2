package agent

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rekindle-dev/rekindle/policy"
)

// maxSockets bounds how much of the kernel's list of sockets is read, in bytes;
// listening ones come first in it.
const maxSockets = 4 << 20

// listening is TCP_LISTEN, as the kernel's list writes it.
const listening = "0A"

// listens tells whether something listens on a TCP port in the network
// namespace of a process. The kernel's own list is read: a connection would be
// seen by the application, and could be in the way of the dump.
func listens(pid, port int) (bool, error) {
	for _, list := range []string{"tcp", "tcp6"} {
		f, err := os.Open(fmt.Sprintf("/proc/%d/net/%s", pid, list))
		if errors.Is(err, os.ErrNotExist) && list == "tcp6" {
			continue // a kernel without IPv6
		}
		if err != nil {
			return false, fmt.Errorf("list sockets: %w", err)
		}
		found, err := listed(f, port)
		_ = f.Close()
		if found || err != nil {
			return found, err
		}
	}
	return false, nil
}

// listed looks for a listener on a port in a list of sockets.
func listed(r io.Reader, port int) (bool, error) {
	s := bufio.NewScanner(io.LimitReader(r, maxSockets))
	for s.Scan() {
		// number, local address, remote address, state, ...
		fields := strings.Fields(s.Text())
		if len(fields) < 4 || fields[3] != listening {
			continue
		}
		_, hex, _ := strings.Cut(fields[1], ":")
		if n, err := strconv.ParseUint(hex, 16, 16); err == nil && int(n) == port {
			return true, nil
		}
	}
	if err := s.Err(); err != nil {
		return false, fmt.Errorf("list sockets: %w", err)
	}
	return false, nil
}

// saysReady tells whether the file by which a container says that it is ready
// is there, below the root of one of its processes. The names are ours, links
// that the tenant has made lead nowhere but below that root, and nothing is
// opened, only found.
func saysReady(pid int) (bool, error) {
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, fmt.Errorf("open the container's root: %w", err)
	}
	defer unix.Close(root)
	for _, name := range policy.ReadyFiles {
		fd, err := unix.Openat2(root, name, &unix.OpenHow{
			Flags:   unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC,
			Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
		})
		if err == nil {
			return true, unix.Close(fd)
		}
		if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) {
			return false, fmt.Errorf("look for %s in the container: %w", name, err)
		}
	}
	return false, nil
}
