package criu_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rekindle-dev/rekindle/criu"
	"github.com/rekindle-dev/rekindle/handover"
)

// TestHandOver suspends a server of every kind of socket with the real CRIU and
// resumes it: clients that speak to it meanwhile are answered by the same
// process, on the same connections, and the checkpoint is not changed.
func TestHandOver(t *testing.T) {
	server := serve(t, "http", "line", "greet", "udp", "unix", "dgram")
	line, udp := server.dial(t, "line"), server.dial(t, "udp")
	local, dgram := server.dial(t, "unix"), server.dial(t, "dgram")
	var answers int
	for _, c := range []*client{line, udp, dgram} {
		c.say(t, "before")
		answers = c.expect(t, "before")
	}
	// CRIU would not dump one end of a connection to a unix socket.
	_ = local.Close()

	server.suspend(t)

	// Each of them is one more answer of the restored process. A new connection
	// is accepted by the kernel.
	line.say(t, "asleep")
	udp.say(t, "asleep")
	dgram.say(t, "asleep")
	fresh, greeted, named := server.dial(t, "line"), server.dial(t, "greet"), server.dial(t, "unix")
	fresh.say(t, "new")
	named.say(t, "new")
	wake, err := server.held.Wait(t.Context(), nil)
	if err != nil || wake.Cause == "" {
		t.Fatalf("Wait = %v, %v", wake, err)
	}

	server.resume(t)

	for _, c := range []*client{line, udp, dgram} {
		c.expect(t, "asleep")
	}
	fresh.expect(t, "new")
	named.expect(t, "new")
	greeted.expect(t, "hello")
	line.say(t, "after")
	if got, want := line.expect(t, "after"), answers+7; got != want {
		t.Errorf("%d answers, want %d", got, want)
	}
	for _, c := range []*client{line, fresh, greeted, named} {
		_ = c.Close()
	}
	// The restored process has one descriptor of each, and closed what it closes.
	await(t, func() bool { return server.open(t) == len(server.addresses) })
}

// TestHandOverAgain suspends the restored server again, from the sockets that it
// was given.
func TestHandOverAgain(t *testing.T) {
	server := serve(t, "line", "udp")
	line, udp := server.dial(t, "line"), server.dial(t, "udp")
	for round := range 3 {
		server.suspend(t)
		line.say(t, "line")
		udp.say(t, "udp")
		if _, err := server.held.Wait(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		server.resume(t)
		line.expect(t, "line")
		udp.expect(t, "udp")
		line.say(t, "all")
		if got, want := line.expect(t, "all"), 3*(round+1); got != want {
			t.Errorf("%d answers, want %d", got, want)
		}
	}
}

// server is the workload, a process that CRIU dumps and restores.
type server struct {
	pid       int
	addresses map[string]string
	images    string
	held      *handover.Held
	criu      string
}

func serve(t *testing.T, kinds ...string) *server {
	t.Helper()
	s := &server{addresses: map[string]string{}, criu: criuBinary(t)}
	var arguments []string
	for _, kind := range kinds {
		s.addresses[kind] = freeAddress(t, kind)
		arguments = append(arguments, kind+"="+s.addresses[kind])
	}
	binary := filepath.Join(t.TempDir(), "sockets")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./sockets")
	build.Dir = "../test/lab/workloads"
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build workload: %v\n%s", err, out)
	}
	// What this process was given by its own parent is not the server's.
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, arguments...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.pid = cmd.Process.Pid
	go func() { _ = cmd.Wait() }()
	t.Cleanup(func() { _ = syscall.Kill(s.pid, syscall.SIGKILL) })
	for _, kind := range kinds {
		await(t, func() bool { return s.ready(kind) })
	}
	await(t, func() bool { return s.open(t) == len(kinds) })
	return s
}

// ready tells whether a socket of the server is there, and hears its greeting.
func (s *server) ready(kind string) bool {
	if network(kind) == "udp" {
		return true
	}
	conn, err := net.Dial(network(kind), s.addresses[kind])
	if err != nil {
		return false
	}
	defer conn.Close()
	if kind == "greet" {
		_, err = conn.Read(make([]byte, 64))
	}
	return err == nil
}

func network(kind string) string {
	switch kind {
	case "udp", "unix":
		return kind
	case "dgram":
		return "unixgram"
	}
	return "tcp"
}

func freeAddress(t *testing.T, kind string) string {
	t.Helper()
	switch network(kind) {
	case "udp":
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.LocalAddr().String()
	case "tcp":
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return l.Addr().String()
	}
	return filepath.Join(t.TempDir(), kind)
}

// suspend dumps the server and lets it go.
func (s *server) suspend(t *testing.T) {
	t.Helper()
	// Nothing may happen between the look at the sockets and the dump.
	if err := syscall.Kill(s.pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	await(t, func() bool { return strings.Contains(status(s.pid), "T (stopped)") })
	var err error
	if s.held, err = handover.Take(t.Context(), []int{s.pid}, handover.Terms{Frozen: time.Now()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.held.Close() })
	s.images = t.TempDir()
	s.run(t, "dump", "--tree", fmt.Sprint(s.pid), "--images-dir", s.images, "--tcp-close", "--skip-in-flight")
	await(t, func() bool { return errors.Is(syscall.Kill(s.pid, 0), syscall.ESRCH) })
}

// resume restores the server with its sockets.
func (s *server) resume(t *testing.T) {
	t.Helper()
	sum := digests(t, s.images)
	var inodes []uint64
	for _, held := range s.held.Sockets() {
		inodes = append(inodes, held.Inode)
	}
	private := filepath.Join(t.TempDir(), "images")
	if err := criu.HandOver(s.images, private, inodes); err != nil {
		t.Fatal(err)
	}
	fetched, err := handover.Fetch(os.Getpid(), s.held.Sockets())
	if err != nil {
		t.Fatal(err)
	}
	defer handover.Release(fetched)
	args := []string{"restore", "--images-dir", private, "--tcp-close", "--restore-detached"}
	for _, f := range fetched {
		args = append(args, "--inherit-fd", fmt.Sprintf("fd[%d]:handover-%d", f.FD, f.Inode))
	}
	s.run(t, args...)
	if err := syscall.Kill(s.pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	s.held.HandedOver()
	if got := digests(t, s.images); !bytes.Equal(got, sum) {
		t.Errorf("the checkpoint has changed:\n%s\nbefore:\n%s", got, sum)
	}
}

func (s *server) run(t *testing.T, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	work := t.TempDir()
	args = append(args, "--work-dir", work, "--log-file", "log", "-v4", "--network-lock", "skip", "--manage-cgroups=ignore")
	if out, err := exec.CommandContext(ctx, s.criu, args...).CombinedOutput(); err != nil {
		log, _ := exec.CommandContext(ctx, "grep", "Error", filepath.Join(work, "log")).Output()
		t.Fatalf("criu %s: %v\n%s%s", args[0], err, out, log)
	}
}

// open counts the server's descriptors that are sockets.
func (s *server) open(t *testing.T) int {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", s.pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, e := range entries {
		if target, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil && strings.HasPrefix(target, "socket:") {
			count++
		}
	}
	return count
}

// client is a connection to the server.
type client struct {
	net.Conn
	lines *bufio.Reader
}

func (s *server) dial(t *testing.T, kind string) *client {
	t.Helper()
	dialer := net.Dialer{Timeout: 5 * time.Second}
	if kind == "dgram" {
		// The server answers to the name of who sends.
		dialer.LocalAddr = &net.UnixAddr{Name: filepath.Join(t.TempDir(), "client"), Net: "unixgram"}
	}
	conn, err := dialer.DialContext(t.Context(), network(kind), s.addresses[kind])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &client{conn, bufio.NewReader(conn)}
}

func (c *client) say(t *testing.T, line string) {
	t.Helper()
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		t.Fatal(err)
	}
}

// expect reads an answer, and returns its number.
func (c *client) expect(t *testing.T, what string) (number int) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	line, err := c.lines.ReadString('\n')
	var said string
	if _, serr := fmt.Sscan(line, &number, &said); err != nil || serr != nil || said != what {
		t.Fatalf("%s answered %q (%v), want %q", c.RemoteAddr(), line, err, what)
	}
	return number
}

// criuBinary is the CRIU that the lab has.
func criuBinary(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "../test/lab/distribution.sh", "criu").Output()
	if err != nil {
		t.Fatalf("find criu: %v", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "criu")
}

// digests tells the contents of all files of a directory.
func digests(t *testing.T, dir string) []byte {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "sh", "-c", `cd "$1" && sha256sum *`, "sh", dir).Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}
