package handover

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Socket is a held socket.
type Socket struct {
	// Inode identifies the kernel's object, and the socket in CRIU's images.
	Inode uint64 `json:"inode"`
	// FD is its descriptor in the process that holds it.
	FD int `json:"fd"`
}

// Reason says why a socket cannot be handed over.
type Reason string

// Reasons.
const (
	// Raw: it receives what others receive too, probes included, and would wake
	// the container all the time.
	Raw Reason = "raw socket"
	// Packet: as Raw.
	Packet Reason = "packet socket"
	// Connecting: a connection that is being opened. It passes.
	Connecting Reason = "connection that is being opened"
	// Multipath is MPTCP, and Unsupported another protocol, that CRIU does not dump.
	Multipath   Reason = "MPTCP socket"
	Unsupported Reason = "socket of an unsupported protocol"
	// Outside: a unix socket that is connected to outside the container.
	Outside Reason = "unix socket connected to outside the container"
	// Passing: descriptors are on their way through a unix socket. It passes.
	Passing Reason = "unix socket with descriptors on their way"
	// TooMany: there are more sockets than are held for one container.
	TooMany Reason = "too many sockets"
)

// Closes tells whether the container can be suspended nevertheless when it is
// allowed to lose the socket's connection: CRIU then makes a new socket. Of the
// other ones it dumps none.
func (r Reason) Closes() bool { return r == Raw || r == Packet || r == Connecting }

// Left is a socket that cannot be handed over.
type Left struct {
	Reason Reason
	// Where is the process that has it, printable and bounded.
	Where string
}

// String returns what a person should read.
func (l Left) String() string { return fmt.Sprintf("%s in %s", l.Reason, l.Where) }

// Refusal is the error of a container with sockets that cannot be handed over.
type Refusal struct {
	// Left are some of these sockets, at least one.
	Left []Left
}

// Error names the first one, and says what can be done.
func (r *Refusal) Error() string {
	s := r.Left[0].String()
	if more := len(r.Left) - 1; more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	s += " cannot be kept open while the container is suspended"
	for _, l := range r.Left {
		if !l.Reason.Closes() {
			return s
		}
	}
	return s + "; with rekindle.dev/connections: close it is closed instead"
}

// kind is what a socket is, and so how it is waited for.
type kind int

const (
	// inImage: CRIU makes it anew.
	inImage kind = iota
	listener
	stream
	datagram
	unixListener
	// unixDatagram is bound to a name, so that others can send to it.
	unixDatagram
	// unixClient is held only because its peer is.
	unixClient
	netlink
)

// socket is an open socket of the container.
type socket struct {
	fd    int
	inode uint64
	kind  kind
	where string
	// passing is set when descriptors are on their way through it.
	passing bool
	// blocked is set when the container could not write to it.
	blocked bool
}

// facts are what the kernel says of a socket by its descriptor.
type facts struct{ domain, kind, protocol int }

func factsOf(fd int) (f facts, err error) {
	for option, value := range map[int]*int{unix.SO_DOMAIN: &f.domain, unix.SO_TYPE: &f.kind, unix.SO_PROTOCOL: &f.protocol} {
		if *value, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, option); err != nil {
			return f, fmt.Errorf("read socket's type: %w", err)
		}
	}
	return f, nil
}

// classify tells what kind a socket is, or why it cannot be handed over.
func classify(fd int) (kind, Reason, error) {
	f, err := factsOf(fd)
	if err != nil {
		return inImage, "", err
	}
	switch f.domain {
	case unix.AF_INET, unix.AF_INET6:
		return classifyInet(fd, f)
	case unix.AF_UNIX:
		return classifyUnix(fd, f), "", nil
	case unix.AF_NETLINK:
		return netlink, "", nil
	case unix.AF_PACKET:
		return inImage, Packet, nil
	}
	return inImage, Unsupported, nil
}

func classifyInet(fd int, f facts) (kind, Reason, error) {
	switch {
	case f.kind == unix.SOCK_RAW:
		return inImage, Raw, nil
	case f.protocol == unix.IPPROTO_MPTCP:
		return inImage, Multipath, nil
	case f.protocol == unix.IPPROTO_TCP && listens(fd):
		return listener, "", nil
	case f.protocol == unix.IPPROTO_TCP:
		state, err := tcpState(fd)
		if err == nil && state == stateSynSent {
			return inImage, Connecting, nil
		}
		return stream, "", err
	case f.kind == unix.SOCK_DGRAM:
		return datagram, "", nil
	}
	return inImage, Unsupported, nil
}

// classifyUnix looks for those to which somebody outside the container can
// connect or send.
func classifyUnix(fd int, f facts) kind {
	if listens(fd) {
		return unixListener
	}
	if _, named := unixName(fd); named && f.kind == unix.SOCK_DGRAM {
		return unixDatagram
	}
	return inImage
}

func listens(fd int) bool {
	value, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	return err == nil && value == 1
}

// States of a TCP socket, from the kernel's list.
const (
	stateEstablished = 1
	stateSynSent     = 2
	stateClosed      = 7
	stateCloseWait   = 8
)

func tcpState(fd int) (uint8, error) {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0, fmt.Errorf("read state of connection: %w", err)
	}
	return info.State, nil
}
