package handover

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// addressOf returns an address of the inet families, its IPv4 form where it has
// one.
func addressOf(address unix.Sockaddr) netip.AddrPort {
	switch a := address.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}

// ends returns the addresses of a socket; the zero value where it has none.
func ends(fd int) (local, remote netip.AddrPort) {
	if address, err := unix.Getsockname(fd); err == nil {
		local = addressOf(address)
	}
	if address, err := unix.Getpeername(fd); err == nil {
		remote = addressOf(address)
	}
	return local, remote
}

// unixName returns the name of a unix socket, if it has one.
func unixName(fd int) (string, bool) {
	address, err := unix.Getsockname(fd)
	name, ok := address.(*unix.SockaddrUnix)
	// An unnamed one reads as the empty name of the abstract ones.
	if err != nil || !ok || name.Name == "" || name.Name == "@" {
		return "", false
	}
	return name.Name, true
}

// words are what a person should read about a held socket.
func (s *socket) words() string {
	if s.kind == netlink {
		return "netlink"
	}
	if s.kind == unixListener || s.kind == unixDatagram || s.kind == unixClient {
		if name, ok := unixName(s.fd); ok {
			return fmt.Sprintf("unix %.80q", name)
		}
		return "unix"
	}
	words := "tcp"
	if s.kind == datagram {
		words = "udp"
	}
	local, remote := ends(s.fd)
	if local.IsValid() && local.Port() != 0 {
		words += " " + local.String()
	}
	if remote.IsValid() {
		words += " with " + remote.String()
	}
	return words
}
