package handover_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain runs the tests in a network namespace of their own, which is the
// node's for them.
func TestMain(m *testing.M) {
	const inside = "HANDOVER_TEST_NODE"
	if os.Getenv(inside) == "" {
		cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
		cmd.Env = append(os.Environ(), inside+"=1")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
		// The signal comes when the thread ends that has started the process.
		runtime.LockOSThread()
		err := cmd.Run()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			fmt.Fprintln(os.Stderr, "make a network namespace, for which root is needed:", err)
			os.Exit(1)
		}
		os.Exit(cmd.ProcessState.ExitCode())
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "ip: %v\n%s", err, out)
		os.Exit(1)
	}
	status := m.Run()
	_ = os.Remove(built)
	os.Exit(status)
}

// Addresses of the node and of the pod, on the link between them.
const (
	nodeIP  = "10.99.0.1"
	podIP   = "10.99.0.2"
	podIPv6 = "fd99::2"
)

// pod is a server in a network namespace of its own. To stand still is for it
// what sleep is: it accepts nothing, reads nothing, and its sockets live on.
type pod struct{ pid int }

// start runs the workload with the sockets that its arguments say.
func start(t *testing.T, sockets ...string) *pod {
	t.Helper()
	cmd := exec.Command(workload(t), sockets...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	// It must not run before its addresses are there.
	cmd.Path, cmd.Args = "/bin/sh", append([]string{"sh", "-c", `kill -STOP $$; exec "$@"`, "sh", cmd.Path}, sockets...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &pod{cmd.Process.Pid}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	p.awaitState(t, "T (stopped)")
	link := fmt.Sprintf("pod%d", p.pid)
	ip(t, "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", fmt.Sprint(p.pid))
	// A pod that has ended takes the link along, but not at once.
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", link).Run() })
	ip(t, "addr", "add", nodeIP+"/24", "dev", link)
	ip(t, "addr", "add", "fd99::1/64", "dev", link, "nodad")
	ip(t, "link", "set", link, "up")
	p.ip(t, "addr", "add", podIP+"/24", "dev", "eth0")
	p.ip(t, "addr", "add", podIPv6+"/64", "dev", "eth0", "nodad")
	p.ip(t, "link", "set", "eth0", "up")
	p.ip(t, "link", "set", "lo", "up")
	p.wake(t)
	await(t, func() bool { return p.ready(len(sockets)) })
	return p
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func (p *pod) ip(t *testing.T, args ...string) {
	t.Helper()
	args = append([]string{"--net=/proc/" + fmt.Sprint(p.pid) + "/ns/net", "ip"}, args...)
	if out, err := exec.CommandContext(t.Context(), "nsenter", args...).CombinedOutput(); err != nil {
		t.Fatalf("nsenter %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func (p *pod) sleep(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(p.pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	p.awaitState(t, "T (stopped)")
}

func (p *pod) wake(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(p.pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}

func (p *pod) awaitState(t *testing.T, state string) {
	t.Helper()
	await(t, func() bool {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
		return err == nil && strings.Contains(string(status), state)
	})
}

// ready tells whether the pod has that many sockets, which listen if they are to.
func (p *pod) ready(sockets int) bool {
	const listening, bound = " 0A ", " 07 "
	count := 0
	for table, state := range map[string]string{"tcp": listening, "tcp6": listening, "udp": bound, "udp6": bound} {
		data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", p.pid, table))
		count += strings.Count(string(data), state)
	}
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/unix", p.pid))
	// Listening, and datagram sockets with a name.
	count += strings.Count(string(data), " 00010000 0001 01 ")
	for line := range strings.Lines(string(data)) {
		if strings.Contains(line, " 0002 01 ") && strings.Contains(line, "/") {
			count++
		}
	}
	return count >= sockets
}

// sockets counts the descriptors of its process that are sockets.
func (p *pod) sockets() int {
	dir := fmt.Sprintf("/proc/%d/fd", p.pid)
	entries, _ := os.ReadDir(dir)
	count := 0
	for _, e := range entries {
		if target, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil && strings.HasPrefix(target, "socket:") {
			count++
		}
	}
	return count
}

// inside calls f in the pod's network namespace.
func (p *pod) inside(t *testing.T, f func() error) {
	t.Helper()
	done := make(chan error)
	var enter func()
	enter = func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			go enter() // the first thread does not end; this one is occupied
			return
		}
		ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", p.pid))
		if err == nil {
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
			_ = ns.Close()
		}
		if err == nil {
			err = f()
		}
		done <- err
	}
	go enter()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// client is a connection to the pod.
type client struct {
	net.Conn
	lines *bufio.Reader
}

// dial connects from the node, and tries until the server listens.
func dial(t *testing.T, network, address string) *client {
	t.Helper()
	var conn net.Conn
	dialer := net.Dialer{Timeout: 5 * time.Second}
	await(t, func() bool {
		if network == "unixgram" {
			// The server answers to the name of who sends.
			dialer.LocalAddr = &net.UnixAddr{Name: path(t), Net: network}
		}
		var err error
		conn, err = dialer.DialContext(t.Context(), network, address)
		return err == nil
	})
	t.Cleanup(func() { _ = conn.Close() })
	return &client{conn, bufio.NewReader(conn)}
}

// dialInside connects from within the pod, as its other containers do.
func (p *pod) dialInside(t *testing.T, network, address string) (c *client) {
	t.Helper()
	p.inside(t, func() error {
		conn, err := net.DialTimeout(network, address, 5*time.Second)
		c = &client{conn, bufio.NewReader(conn)}
		return err
	})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func (c *client) say(t *testing.T, line string) {
	t.Helper()
	if _, err := c.Write([]byte(line + "\n")); err != nil {
		t.Fatal(err)
	}
}

// expect reads an answer, which is a number and that word.
func (c *client) expect(t *testing.T, word string) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	line, err := c.lines.ReadString('\n')
	if err != nil || !strings.HasSuffix(line, " "+word+"\n") {
		t.Fatalf("%s answered %q (%v), want %q", c.RemoteAddr(), line, err, word)
	}
}

func await(t *testing.T, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
	}
}

var (
	buildOnce  sync.Once
	built      string
	buildError error
)

// workload builds the server once.
func workload(t *testing.T) string {
	t.Helper()
	buildOnce.Do(func() {
		built = filepath.Join(os.TempDir(), fmt.Sprintf("sockets-%d", os.Getpid()))
		cmd := exec.Command("go", "build", "-o", built, "./sockets")
		cmd.Dir = "../test/lab/workloads"
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			buildError = fmt.Errorf("build workload: %w\n%s", err, out)
		}
	})
	if buildError != nil {
		t.Fatal(buildError)
	}
	return built
}
