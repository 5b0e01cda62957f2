package activity_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rekindle-dev/rekindle/activity"
)

// In the test's own child the binary is a server in a network namespace of its own.
func TestMain(m *testing.M) {
	if os.Getenv("ACTIVITY_TEST_SERVER") == "" {
		os.Exit(m.Run())
	}
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serve answers on a port of TCP and of UDP what it is sent, until its input ends.
func serve() error {
	// The server's is the first of its network, from which it answers datagrams.
	for _, a := range [][2]string{{"lo", "127.0.0.1"}, {"lo:1", "10.0.0.9"}, {"lo:2", "10.0.0.1"}, {"lo:3", "10.7.7.7"}} {
		if err := addAddress(a[0], a[1]); err != nil {
			return err
		}
	}
	listener, err := net.Listen("tcp4", "0.0.0.0:8080")
	if err != nil {
		return err
	}
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	packets, err := net.ListenPacket("udp4", "0.0.0.0:8080")
	if err != nil {
		return err
	}
	go func() {
		buffer := make([]byte, 1000)
		for {
			n, from, err := packets.ReadFrom(buffer)
			if err != nil {
				return
			}
			_, _ = packets.WriteTo(buffer[:n], from)
		}
	}()
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// addAddress gives the loopback interface one more address, and brings it up.
func addAddress(label, address string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq(label)
	if err != nil {
		return err
	}
	a := netip.MustParseAddr(address).As4()
	if err := r.SetInet4Addr(a[:]); err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFADDR, r); err != nil {
		return fmt.Errorf("address %s: %w", address, err)
	}
	r.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r)
}

// container is a server in a network namespace, as a pod's is.
type container struct {
	t   *testing.T
	pid int
}

func start(t *testing.T) container {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: network namespaces")
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = []string{"ACTIVITY_TEST_SERVER=1"}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("the server says %q, %v", line, err)
	}
	return container{t, cmd.Process.Pid}
}

// dial connects to the server from an address, from within its namespace.
func (c container) dial(network, from string) net.Conn {
	c.t.Helper()
	type result struct {
		net.Conn
		error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // and the thread ends with the goroutine
		ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", c.pid))
		if err != nil {
			done <- result{nil, err}
			return
		}
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- result{nil, err}
			return
		}
		local := net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0))
		d := net.Dialer{LocalAddr: local, Timeout: 5 * time.Second}
		if network == "udp4" {
			d.LocalAddr = net.UDPAddrFromAddrPort(local.AddrPort())
		}
		conn, err := d.Dial(network, "10.0.0.9:8080")
		done <- result{conn, err}
	}()
	r := <-done
	if r.error != nil {
		c.t.Fatal(r.error)
	}
	c.t.Cleanup(func() { _ = r.Close() })
	return r.Conn
}

// say sends a text and waits for the answer.
func say(t *testing.T, c net.Conn, text string) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, len(text))); err != nil {
		t.Fatal(err)
	}
}

// probe connects from the node, asks something and closes.
func (c container) probe(text string) {
	c.t.Helper()
	conn := c.dial("tcp4", "10.0.0.1")
	if text != "" {
		say(c.t, conn, text)
	}
	_ = conn.Close()
}

type watch struct {
	*activity.Watch
	t *testing.T
}

func (c container) watch() watch {
	c.t.Helper()
	w, err := activity.Open(c.pid, func() ([]int, error) { return []int{c.pid}, nil })
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(w.Close)
	return watch{w, c.t}
}

func (w watch) look() activity.Network {
	w.t.Helper()
	// The kernel tells of what has ended a little later.
	time.Sleep(50 * time.Millisecond)
	n, err := w.Look(map[netip.Addr]bool{netip.MustParseAddr("10.0.0.1"): true}, false)
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// quiet fails the test when anything has happened.
func (w watch) quiet(when string) {
	w.t.Helper()
	if n := w.look(); n.Bytes > 0 || n.Connections > 0 || n.Datagrams > 0 || n.Many {
		w.t.Errorf("%s: %+v", when, n)
	}
}

func TestWatch(t *testing.T) {
	c := start(t)
	old := c.dial("tcp4", "10.7.7.7")
	say(t, old, "before it is watched")
	w := c.watch()
	w.quiet("at first")
	w.quiet("when nothing happens")

	say(t, old, "twelve bytes")
	if n := w.look(); n.Bytes != 24 || n.Connections != 0 {
		t.Errorf("12 bytes there and back: %+v", n)
	}
	w.quiet("after that")

	fresh := c.dial("tcp4", "10.7.7.7")
	say(t, fresh, "x")
	if n := w.look(); n.Connections != 1 || n.Bytes < 2 {
		t.Errorf("a new connection: %+v", n)
	}
	w.quiet("while it is open")

	packet := c.dial("udp4", "10.7.7.7")
	say(t, packet, "one there and one back, and each is sent and received")
	if n := w.look(); n.Datagrams != 4 || n.Bytes > 0 {
		t.Errorf("a datagram and its answer: %+v", n)
	}
	w.quiet("after the datagrams")
}

// The client's end of a connection is in the same namespace here, and belongs to
// nobody when it has ended, so that it counts; what is looked at is the server's.
func TestWatchTellsProbesApart(t *testing.T) {
	c := start(t)
	w := c.watch()
	w.quiet("at first")
	c.probe("GET /healthz")
	if n := w.look(); n.Probes != 0 || n.Connections == 0 {
		t.Errorf("the first of its kind: %+v", n)
	}
	for range 3 {
		c.probe("GET /healthz")
		if n := w.look(); n.Probes != 1 {
			t.Errorf("another one: %+v", n)
		}
	}
	c.probe("")
	w.look()
	c.probe("")
	if n := w.look(); n.Probes != 1 {
		t.Errorf("a probe that only connects: %+v", n)
	}
	conn := c.dial("tcp4", "10.0.0.1")
	say(t, conn, "a connection from the node that stays")
	if n := w.look(); n.Connections != 0 || n.Probes != 0 {
		t.Errorf("it may be a probe yet: %+v", n)
	}
}

func TestWatchGivesUpCountingManyConnections(t *testing.T) {
	c := start(t)
	w := c.watch()
	w.quiet("at first")
	for range 100 {
		c.probe("x")
	}
	if n := w.look(); !n.Many {
		t.Errorf("100 connections at once: %+v", n)
	}
	// What ends now was not listened for.
	w.look()
	w.quiet("when it is over")
	c.probe("x")
	if n := w.look(); n.Many || n.Connections+n.Probes == 0 {
		t.Errorf("one more: %+v", n)
	}
}

func TestWatchSeesWhatEndsUnseen(t *testing.T) {
	c := start(t)
	conn := c.dial("tcp4", "10.7.7.7")
	w := c.watch()
	w.quiet("at first")
	say(t, conn, "last words")
	_ = conn.Close()
	if n := w.look(); n.Bytes < 20 {
		t.Errorf("10 bytes there and back, and the end: %+v", n)
	}
}
