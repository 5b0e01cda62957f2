package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"
)

// reusePort is SO_REUSEPORT on Linux, which package syscall does not know.
const reusePort = 15

// group serves HTTP on several listeners of one port, among which the kernel shares
// connections out.
func group(address string) error {
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		cerr := c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, reusePort, 1) })
		return errors.Join(err, cerr)
	}}
	failed := make(chan error)
	for member := range 4 {
		l, err := config.Listen(context.Background(), "tcp", address)
		if err != nil {
			return err
		}
		go func() { failed <- serve(l, fmt.Sprint("member ", member)) }()
	}
	return <-failed
}

// narrow serves HTTP on a listener in whose backlog there is room for few.
func narrow(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		return err
	}
	if cerr := raw.Control(func(fd uintptr) { err = syscall.Listen(int(fd), 4) }); cerr != nil || err != nil {
		return errors.Join(cerr, err)
	}
	return serve(l, "one of few")
}

// lend serves HTTP on an address, and gives its listener to whoever comes first to a
// unix socket; borrow fetches it there and serves on it, too.
func lend(what string) error {
	address, path, _ := strings.Cut(what, ",")
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	counter, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return err
	}
	to, err := counter.AcceptUnix()
	if err != nil {
		return err
	}
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	_, _, err = to.WriteMsgUnix([]byte("."), syscall.UnixRights(int(f.Fd())), nil)
	if err = errors.Join(err, to.Close(), counter.Close(), f.Close()); err != nil {
		return err
	}
	return serve(l, "lender")
}

func borrow(path string) error {
	from, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	for err != nil { // it is not there yet
		time.Sleep(100 * time.Millisecond)
		from, err = net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	}
	rights := make([]byte, syscall.CmsgSpace(4))
	_, n, _, _, err := from.ReadMsgUnix(make([]byte, 1), rights)
	if err = errors.Join(err, from.Close()); err != nil {
		return err
	}
	messages, err := syscall.ParseSocketControlMessage(rights[:n])
	if err != nil || len(messages) != 1 {
		return fmt.Errorf("no listener came: %w", err)
	}
	fds, err := syscall.ParseUnixRights(&messages[0])
	if err != nil {
		return err
	}
	l, err := net.FileListener(os.NewFile(uintptr(fds[0]), "listener"))
	if err != nil {
		return err
	}
	return serve(l, "borrower")
}

// serve answers who asks on a listener, and says who answered.
func serve(l net.Listener, who string) error {
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, answer(who))
	}))
}
