package handover_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rekindle-dev/rekindle/handover"
)

// TestTakeKinds opens a socket of each kind in this process, and takes them from
// it.
func TestTakeKinds(t *testing.T) {
	tests := map[string]struct {
		open func(*testing.T)
		held int
		// words are part of how they are described.
		words string
		left  handover.Reason
	}{
		"Nothing":         {func(*testing.T) {}, 0, "", ""},
		"TCPListener":     {func(t *testing.T) { listen(t, "tcp4", "127.0.0.1:0") }, 1, "tcp 127.0.0.1:", ""},
		"TCPListenerIPv6": {func(t *testing.T) { listen(t, "tcp6", "[::1]:0") }, 1, "tcp [::1]:", ""},
		"TCPConnection":   {func(t *testing.T) { connected(t, "tcp4", "127.0.0.1:0") }, 3, " with 127.0.0.1:", ""},
		"TCPFresh":        {func(t *testing.T) { open(t, unix.AF_INET, unix.SOCK_STREAM, 0) }, 1, "", ""},
		"UDP":             {func(t *testing.T) { open(t, unix.AF_INET, unix.SOCK_DGRAM, 0) }, 1, "", ""},
		"UDPv6":           {func(t *testing.T) { open(t, unix.AF_INET6, unix.SOCK_DGRAM, 0) }, 1, "", ""},
		"Netlink":         {func(t *testing.T) { open(t, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE) }, 1, "", ""},
		"UnixListener":    {func(t *testing.T) { listen(t, "unix", path(t)) }, 1, `unix "/`, ""},
		"UnixAbstract":    {func(t *testing.T) { listen(t, "unix", "@"+path(t)) }, 1, "", ""},
		"UnixPair":        {func(t *testing.T) { pair(t, unix.SOCK_STREAM) }, 0, "", ""},
		"UnixConnection":  {func(t *testing.T) { connected(t, "unix", path(t)) }, 1, "", ""},
		"UnixWaiting": {func(t *testing.T) {
			l := listen(t, "unix", path(t))
			closing(t, dialUnix(t, "unix", l.Addr().String()))
		}, 2, "", ""},
		"UnixDatagrams": {func(t *testing.T) {
			address := path(t)
			conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
			if err != nil {
				t.Fatal(err)
			}
			closing(t, conn)
			closing(t, dialUnix(t, "unixgram", address))
		}, 2, "", ""},
		"UnixDatagramPair": {func(t *testing.T) { pair(t, unix.SOCK_DGRAM) }, 0, "", ""},
		"UnixPassing": {func(t *testing.T) {
			l := listen(t, "unix", path(t))
			conn := dialUnix(t, "unix", l.Addr().String()).(*net.UnixConn)
			closing(t, conn)
			if _, _, err := conn.WriteMsgUnix([]byte("x"), unix.UnixRights(0), nil); err != nil {
				t.Fatal(err)
			}
		}, 2, "", handover.Passing},
		"UnixOutside": {outside, 0, "", handover.Outside},
		"Raw":         {func(t *testing.T) { open(t, unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP) }, 0, "", handover.Raw},
		"Packet":      {func(t *testing.T) { open(t, unix.AF_PACKET, unix.SOCK_RAW, 0) }, 0, "", handover.Packet},
		"Multipath":   {func(t *testing.T) { open(t, unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP) }, 0, "", handover.Multipath},
		"Other":       {func(t *testing.T) { open(t, unix.AF_VSOCK, unix.SOCK_STREAM, 0) }, 0, "", handover.Unsupported},
		"Connecting":  {connecting, 0, "", handover.Connecting},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			h := take(t, os.Getpid())
			before := len(h.Sockets())
			_ = h.Close()
			tc.open(t)
			looked, err := handover.Look(t.Context(), []int{os.Getpid()}, handover.Terms{})
			if err != nil {
				t.Fatal(err)
			}
			h, err = handover.Take(t.Context(), []int{os.Getpid()}, handover.Terms{Frozen: time.Now()})
			if tc.left != "" {
				var refusal *handover.Refusal
				if !errors.As(err, &refusal) || len(refusal.Left) != 1 || refusal.Left[0].Reason != tc.left || !slices.Equal(looked, refusal.Left) {
					t.Fatalf("Take = %v, want %s", err, tc.left)
				}
				if !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) {
					t.Errorf("%q does not name the process", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			closing(t, h)
			if got := len(h.Sockets()) - before; got != tc.held || len(looked) > 0 {
				t.Errorf("%d sockets are held, want %d; Look = %v", got, tc.held, looked)
			}
			words := h.Describe(100)
			if len(words) != len(h.Sockets()) || !strings.Contains(strings.Join(words, "\n"), tc.words) {
				t.Errorf("described as %q, want %q", words, tc.words)
			}
		})
	}
}

// TestTakeWithoutConnections holds what clients can connect to, and what would
// be in the way is not.
func TestTakeWithoutConnections(t *testing.T) {
	connected(t, "tcp4", "127.0.0.1:0")
	open(t, unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)
	terms := handover.Terms{Frozen: time.Now(), CloseConnections: true}
	h, err := handover.Take(t.Context(), []int{os.Getpid()}, terms)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, h)
	words := strings.Join(h.Describe(10), "\n")
	if strings.Count(words, "tcp") != 1 || strings.Contains(words, "with") {
		t.Errorf("held %q, want the listener", words)
	}
	open(t, unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP)
	var refusal *handover.Refusal
	if _, err := handover.Take(t.Context(), []int{os.Getpid()}, terms); !errors.As(err, &refusal) {
		t.Errorf("Take = %v", err)
	}
}

// TestTakeShared: a socket that several processes and descriptors share is one.
func TestTakeShared(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0").(*net.TCPListener)
	var shared []*os.File
	for range 3 {
		f, err := l.File()
		if err != nil {
			t.Fatal(err)
		}
		closing(t, f)
		shared = append(shared, f)
	}
	child := exec.CommandContext(t.Context(), "sleep", "60")
	child.ExtraFiles = shared
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = child.Process.Kill(); _ = child.Wait() })

	held := take(t, os.Getpid(), child.Process.Pid).Sockets()

	count := 0
	for _, s := range held {
		if s.Inode == inodeOf(t, shared[0]) {
			count++
		}
	}
	if count != 1 {
		t.Errorf("the socket is held %d times: %v", count, held)
	}
}

// TestTakeOfTheGone: processes that have ended meanwhile have no sockets.
func TestTakeOfTheGone(t *testing.T) {
	child := exec.CommandContext(t.Context(), "true")
	if err := child.Run(); err != nil {
		t.Fatal(err)
	}
	if held := take(t, child.Process.Pid).Sockets(); len(held) != 0 {
		t.Errorf("held %v", held)
	}
}

// TestFetch gives held sockets to a program that is started afterwards.
func TestFetch(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0")
	held := take(t, os.Getpid()).Sockets()

	fetched, err := handover.Fetch(os.Getpid(), held)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { handover.Release(fetched) })

	for i, s := range fetched {
		if s.Inode != held[i].Inode || s.FD < 100 {
			t.Errorf("fetched %v for %v", s, held[i])
		}
	}
	// The child has it under the same number.
	target, err := exec.CommandContext(t.Context(), "readlink", fmt.Sprintf("/proc/self/fd/%d", fetched[0].FD)).Output()
	if want := fmt.Sprintf("socket:[%d]\n", fetched[0].Inode); err != nil || string(target) != want {
		t.Errorf("the child has %q (%v), want %q", target, err, want)
	}
	_ = l.Close()
	other := []handover.Socket{{Inode: held[0].Inode + 1, FD: held[0].FD}}
	if _, err := handover.Fetch(os.Getpid(), other); !errors.Is(err, handover.ErrOther) {
		t.Errorf("fetched another socket: %v", err)
	}
}

func take(t *testing.T, pids ...int) *handover.Held {
	t.Helper()
	h, err := handover.Take(t.Context(), pids, handover.Terms{Frozen: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	closing(t, h)
	return h
}

func closing(t *testing.T, c interface{ Close() error }) {
	t.Helper()
	t.Cleanup(func() { _ = c.Close() })
}

func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	l, err := config.Listen(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, l)
	return l
}

// connected opens a listener and a connection to it, both ends.
func connected(t *testing.T, network, address string) (client, server net.Conn) {
	t.Helper()
	l := listen(t, network, address)
	client, err := net.Dial(network, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	closing(t, client)
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	closing(t, server)
	return client, server
}

func dialUnix(t *testing.T, network, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func open(t *testing.T, domain, kind, protocol int) int {
	t.Helper()
	fd, err := unix.Socket(domain, kind|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

func pair(t *testing.T, kind int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fds[0]); _ = unix.Close(fds[1]) })
}

// outside has one end of a pair; a child has the other.
func outside(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fds[0]) })
	theirs := os.NewFile(uintptr(fds[1]), "pair")
	child := exec.CommandContext(t.Context(), "sleep", "60")
	child.ExtraFiles = []*os.File{theirs}
	err = child.Start()
	_ = theirs.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = child.Process.Kill(); _ = child.Wait() })
}

// connecting has a connection to where nobody answers: the neighbour is not there,
// and the kernel looks for it for some seconds.
func connecting(t *testing.T) {
	ip(t, "link", "add", "nowhere", "type", "veth", "peer", "name", "nobody")
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", "nowhere").Run() })
	ip(t, "addr", "add", "10.98.0.1/24", "dev", "nowhere")
	ip(t, "link", "set", "nowhere", "up")
	ip(t, "link", "set", "nobody", "up")
	fd := open(t, unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	err := unix.Connect(fd, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{10, 98, 0, 2}})
	if !errors.Is(err, unix.EINPROGRESS) {
		t.Fatalf("connect: %v", err)
	}
}

func path(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "s")
}

func inodeOf(t *testing.T, f *os.File) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}
