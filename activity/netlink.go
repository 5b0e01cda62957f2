package activity

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/rekindle-dev/rekindle/sockdiag"
)

// Of the kernel's inet_diag.h.
const (
	sizeofDiagRequest = 56 // struct inet_diag_req_v2
	sizeofDiagMessage = 72 // struct inet_diag_msg
	attributeInfo     = 2  // INET_DIAG_INFO: struct tcp_info
	ackedInInfo       = 120
	receivedInInfo    = 128
	sizeofInfo        = 136 // as much of it as is read
)

// destroyed are the groups for TCP sockets that cease to be, SKNLGRP_INET_TCP_DESTROY
// and SKNLGRP_INET6_TCP_DESTROY.
const destroyed = 1<<0 | 1<<2

// The kernel's states of a TCP socket.
const (
	stateEstablished = 1
	stateFinWait1    = 4
	stateFinWait2    = 5
	stateCloseWait   = 8
	stateLastAck     = 9
	stateListen      = 10
	stateClosing     = 11

	statesAsked = 1<<stateEstablished | 1<<stateFinWait1 | 1<<stateFinWait2 | 1<<stateCloseWait |
		1<<stateLastAck | 1<<stateListen | 1<<stateClosing
)

const (
	// mostAnswer bounds one list of sockets, in bytes.
	mostAnswer = 16 << 20
	// keptEvents is how much of what the kernel tells between two looks is kept, in
	// bytes. More is not needed to know that much has happened.
	keptEvents = 256 << 10
)

// socket is what the kernel says of one TCP socket.
type socket struct {
	// cookie is unique in its network namespace.
	cookie        uint64
	inode         uint32
	state         uint8
	local, remote netip.AddrPort
	// received and sent are the bytes of data in all; sent is what has arrived.
	received, sent uint64
}

func (s socket) bytes() uint64 { return s.received + s.sent }

// list asks for the TCP sockets of one address family.
func list(diag sockdiag.Conn, family uint8, visit func(socket)) error {
	request := make([]byte, sizeofDiagRequest) // struct inet_diag_req_v2
	request[0], request[1], request[2] = family, unix.IPPROTO_TCP, 1<<(attributeInfo-1)
	binary.NativeEndian.PutUint32(request[4:], statesAsked)
	return diag.Ask(request, mostAnswer, func(message []byte) {
		if s, ok := parseSocket(message); ok {
			visit(s)
		}
	})
}

// parseSocket reads a struct inet_diag_msg and, of its attributes, struct tcp_info.
func parseSocket(data []byte) (socket, bool) {
	if len(data) < sizeofDiagMessage {
		return socket{}, false
	}
	order := binary.NativeEndian
	s := socket{
		state: data[1],
		// struct inet_diag_sockid has ports and addresses in network order.
		local:  addrPort(data[0], data[8:24], data[4:6]),
		remote: addrPort(data[0], data[24:40], data[6:8]),
		cookie: uint64(order.Uint32(data[44:])) | uint64(order.Uint32(data[48:]))<<32,
		inode:  order.Uint32(data[68:]),
	}
	for kind, info := range sockdiag.Attributes(data[sizeofDiagMessage:]) {
		if kind == attributeInfo && len(info) >= sizeofInfo {
			s.sent, s.received = order.Uint64(info[ackedInInfo:]), order.Uint64(info[receivedInInfo:])
		}
	}
	return s, true
}

func addrPort(family uint8, address, port []byte) netip.AddrPort {
	n := binary.BigEndian.Uint16(port)
	if family == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(address)), n)
	}
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(address)).Unmap(), n)
}
