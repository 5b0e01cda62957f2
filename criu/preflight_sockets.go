package criu

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rekindle-dev/rekindle/sockdiag"
)

// knownSockets are the kernel's names of the protocols whose sockets CRIU dumps,
// but for unix sockets.
var knownSockets = []string{
	"TCP", "TCPv6", "UDP", "UDPv6", "UDP-Lite", "UDPLITEv6", "RAW", "RAWv6", "PING", "PINGv6",
	"NETLINK", "PACKET",
}

// socket looks at one open socket. target is "socket:[inode]".
func (s *scan) socket(p process, target, path string) {
	inode, err := strconv.ParseUint(strings.Trim(target, "socket:[]"), 10, 64)
	if err != nil {
		return
	}
	s.sockets[inode] = p.name()
	var name [32]byte
	n, err := unix.Getxattr(path, "system.sockprotoname", name[:])
	if err != nil {
		return
	}
	switch protocol := strings.TrimRight(string(name[:n]), "\x00"); {
	case strings.HasPrefix(protocol, "MPTCP"):
		s.found("mptcp", p.name())
	case strings.HasPrefix(protocol, "UNIX"):
		s.unix[inode] = path
	case !slices.Contains(knownSockets, protocol):
		s.found("socket", shown(protocol)+" in "+p.name())
	}
}

// connections looks at what the sockets of the container are connected to.
func (s *scan) connections() {
	s.established("net/tcp")
	s.established("net/tcp6")
	s.outsiders()
}

// established counts the TCP connections of the container in one of the
// kernel's tables.
func (s *scan) established(table string) {
	const (
		stateField, inodeField = 3, 9
		closed, listening      = "07", "0A"
	)
	f, err := os.Open(s.path(s.Init, table))
	if err != nil {
		return
	}
	defer f.Close()
	lines := bufio.NewScanner(io.LimitReader(f, mostText))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) <= inodeField || fields[stateField] == closed || fields[stateField] == listening {
			continue
		}
		inode, err := strconv.ParseUint(fields[inodeField], 10, 64)
		if owner := s.sockets[inode]; err == nil && owner != "" {
			s.found("connection", owner)
		}
	}
}

// outsiders looks for unix sockets that are connected to outside the container.
// A client knows its peer, wherever that is. A server's end is counted to the
// network namespace of its client, and so is not to be found in ours. Sockets
// that come or go while they are looked at do not count: what is connected has
// to be so before and after the descriptors were read.
func (s *scan) outsiders() {
	if s.before == nil {
		return // noted when it was opened
	}
	after, err := s.diag.Unix()
	if err != nil {
		return
	}
	for inode, path := range s.unix {
		socket, listed := after[inode]
		_, known := s.sockets[socket.Peer]
		switch {
		case listed && (socket.Peer == 0 || known || s.before[inode].Peer != socket.Peer):
			continue
		case !listed && !sameSocket(path, inode):
			continue
		}
		s.found("unix", s.sockets[inode])
	}
}

// sameSocket tells whether a descriptor still is that socket.
func sameSocket(path string, inode uint64) bool {
	target, err := os.Readlink(path)
	return err == nil && target == fmt.Sprintf("socket:[%d]", inode)
}

// enterIn looks at what can be seen from within the container's namespaces only:
// its System V objects, and its unix sockets, whose listing is left open.
func (s *scan) enterIn() {
	var err error
	sockdiag.OnThread(func() { err = s.within() })
	if err != nil {
		s.found("incomplete", err.Error())
	}
}

func (s *scan) within() error {
	if err := s.enter("net", unix.CLONE_NEWNET); err != nil {
		return err
	}
	var err error
	if s.diag, err = sockdiag.OpenHere(); err != nil {
		return err
	}
	if s.before, err = s.diag.Unix(); err != nil {
		return err
	}
	if err := s.enter("ipc", unix.CLONE_NEWIPC); err != nil {
		return err
	}
	s.objects()
	return nil
}

func (s *scan) enter(name string, flag int) error {
	f, err := os.Open(s.path(s.Init, "ns/"+name))
	if err != nil {
		return fmt.Errorf("open %s namespace: %w", name, err)
	}
	defer f.Close()
	var theirs, ours unix.Stat_t
	if unix.Fstat(int(f.Fd()), &theirs) == nil && unix.Stat("/proc/thread-self/ns/"+name, &ours) == nil && theirs.Ino == ours.Ino {
		return nil
	}
	if err := unix.Setns(int(f.Fd()), flag); err != nil {
		return fmt.Errorf("enter %s namespace: %w", name, err)
	}
	return nil
}

// objects looks for System V objects, which outlive processes in the IPC
// namespace of the pod. Those lists show the namespace of who reads them.
func (s *scan) objects() {
	for _, kind := range []string{"shm", "sem", "msg"} {
		f, err := os.Open("/proc/sysvipc/" + kind)
		if err != nil {
			continue
		}
		lines := bufio.NewScanner(io.LimitReader(f, mostText))
		for count := 0; lines.Scan(); count++ {
			if count > 0 { // the first line is the heading
				s.found("sysv", kind)
			}
		}
		_ = f.Close()
	}
}
