package handover

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// Probes say what to do with connections that come from the node itself, as the
// kubelet's probes do.
type Probes struct {
	// Answer is what answers them.
	Answer Answer
	// Node returns the node's own addresses; nil for those of this process's
	// network namespace.
	Node func() ([]netip.Addr, error)
}

func (p *Probes) node() ([]netip.Addr, error) {
	if p.Node != nil {
		return p.Node()
	}
	return interfaceAddresses()
}

// interfaceAddresses are those that the node has outside. A connection from a
// loopback address comes from within the pod.
func interfaceAddresses() ([]netip.Addr, error) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("read the node's addresses: %w", err)
	}
	var list []netip.Addr
	for _, a := range addresses {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && !prefix.Addr().IsLoopback() {
			list = append(list, prefix.Addr().Unmap())
		}
	}
	return list, nil
}

// knock looks who waits in a listener's backlog. As soon as anybody but the node
// does, the container is woken and accepts them all itself. Those of the node
// are accepted and answered here, as long as nobody else waits.
func (h *Held) knock(s *socket, probes *Probes) {
	w := Wake{Cause: Connection}
	w.Local, _ = ends(s.fd)
	for {
		clients, err := h.backlog(s.fd, w.Local)
		if len(clients) > 0 {
			w.Remote = clients[0]
		}
		if err != nil || probes == nil || !h.guests.room() {
			h.wake(w)
			return
		}
		node, err := probes.node()
		stranger := slices.IndexFunc(clients, func(c netip.AddrPort) bool { return !slices.Contains(node, c.Addr()) })
		if stranger >= 0 {
			w.Remote = clients[stranger]
		}
		if err != nil || stranger >= 0 {
			h.wake(w)
			return
		}
		if !readable(s.fd) {
			return
		}
		if !h.receive(s.fd, w, node, probes.Answer) {
			return
		}
	}
}

// receive accepts the first connection of a backlog, which is one of the node,
// and has it looked at. It tells whether that went as it should; if not, the
// container is woken.
func (h *Held) receive(fd int, w Wake, node []netip.Addr, answer Answer) bool {
	conn, remote, err := accept(fd)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ECONNABORTED), errors.Is(err, unix.EINTR), errors.Is(err, unix.ENOTCONN):
		// The client has given up, or another process with this listener was faster.
		return true
	case err != nil:
		h.wake(w)
		return false
	}
	w.Remote = remote
	if !slices.Contains(node, remote.Addr()) {
		// It came just now, behind one that had given up.
		h.guests.keep(conn, conn)
		h.wake(w)
		return false
	}
	h.guests.admit(conn, answer, func() { h.wake(w) })
	return true
}

func readable(fd int) bool {
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(poll, 0)
	return err == nil && n > 0
}

// accept takes the first connection of a backlog. The listener may be a blocking
// one; its mode is the container's.
func accept(fd int) (net.Conn, netip.AddrPort, error) {
	accepted, address, err := unix.Accept4(fd, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
	if err != nil {
		return nil, netip.AddrPort{}, fmt.Errorf("accept: %w", err)
	}
	f := os.NewFile(uintptr(accepted), "connection")
	conn, err := net.FileConn(f)
	err = errors.Join(err, f.Close())
	return conn, addressOf(address), err
}

// Of the kernel's inet_diag.h.
const (
	sizeofInetRequest = 56 // struct inet_diag_req_v2
	sizeofInetMessage = 72 // struct inet_diag_msg
	inetState         = 1
	inetLocalPort     = 4
	inetRemotePort    = 6
	inetLocal         = 8
	inetRemote        = 24
	inetInode         = 68
)

// mostWaiting bounds the kernel's list of connections, in bytes.
const mostWaiting = 4 << 20

// backlog lists who waits to be accepted by a TCP listener: connections at its
// address that no process has yet.
func (h *Held) backlog(fd int, local netip.AddrPort) ([]netip.AddrPort, error) {
	family, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return nil, fmt.Errorf("read socket's type: %w", err)
	}
	request := make([]byte, sizeofInetRequest)
	request[0], request[1] = byte(family), unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(request[4:], 1<<stateEstablished|1<<stateCloseWait)
	var clients []netip.AddrPort
	err = h.diag.Ask(request, mostWaiting, func(message []byte) {
		if len(message) < sizeofInetMessage || binary.NativeEndian.Uint32(message[inetInode:]) != 0 {
			return
		}
		at := addressIn(message, inetLocal, inetLocalPort)
		if at.Port() == local.Port() && (local.Addr().IsUnspecified() || at.Addr() == local.Addr()) {
			clients = append(clients, addressIn(message, inetRemote, inetRemotePort))
		}
	})
	return clients, err
}

// addressIn reads an address of a struct inet_diag_msg.
func addressIn(message []byte, address, port int) netip.AddrPort {
	size := 4
	if message[0] == unix.AF_INET6 {
		size = 16
	}
	a, _ := netip.AddrFromSlice(message[address : address+size])
	return netip.AddrPortFrom(a.Unmap(), binary.BigEndian.Uint16(message[port:]))
}
