package handover_test

import (
	"context"
	"errors"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rekindle-dev/rekindle/handover"
)

// TestWait wakes a server by everything that its sockets can say.
func TestWait(t *testing.T) {
	tests := map[string]struct {
		sockets []string
		// before the sleep, a client connects; then it does this.
		network, address string
		act              func(*testing.T, *client)
		want             handover.Cause
	}{
		"Data": {[]string{"line=:9000"}, "tcp", podIP + ":9000", func(t *testing.T, c *client) { c.say(t, "x") }, handover.Data},
		"DataIPv6": {
			[]string{"line=[::]:9000"},
			"tcp", "[" + podIPv6 + "]:9000",
			func(t *testing.T, c *client) { c.say(t, "x") }, handover.Data,
		},
		"End": {[]string{"line=:9000"}, "tcp", podIP + ":9000", func(_ *testing.T, c *client) { _ = c.Close() }, handover.Ended},
		"Reset": {[]string{"line=:9000"}, "tcp", podIP + ":9000", func(t *testing.T, c *client) {
			_ = c.Conn.(*net.TCPConn).SetLinger(0)
			_ = c.Close()
		}, handover.Failed},
		"Connection": {[]string{"line=:9000"}, "tcp", podIP + ":9000", func(t *testing.T, _ *client) {
			dial(t, "tcp", podIP+":9000")
		}, handover.Connection},
		"ConnectionPodIPOnly": {[]string{"line=" + podIP + ":9000"}, "tcp", podIP + ":9000", func(t *testing.T, _ *client) {
			dial(t, "tcp", podIP+":9000")
		}, handover.Connection},
		"ConnectionIPv6": {
			[]string{"line=[" + podIPv6 + "]:9000"},
			"tcp", "[" + podIPv6 + "]:9000",
			func(t *testing.T, _ *client) { dial(t, "tcp", "["+podIPv6+"]:9000") }, handover.Connection,
		},
		"Datagram": {[]string{"udp=:9000"}, "udp", podIP + ":9000", func(t *testing.T, c *client) { c.say(t, "x") }, handover.Data},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			p := start(t, tc.sockets...)
			c := dial(t, tc.network, tc.address)
			if tc.network != "udp" {
				await(t, func() bool { return p.sockets() > len(tc.sockets) })
			}
			p.sleep(t)
			h := take(t, p.pid)
			asleep(t, h, nil)
			tc.act(t, c)
			wakes(t, h, nil, tc.want)
			// Nothing was taken from the server.
			wakes(t, h, nil, tc.want)
		})
	}
}

// TestWaitUnix wakes a server by unix sockets.
func TestWaitUnix(t *testing.T) {
	stream, datagrams := path(t), path(t)
	p := start(t, "unix="+stream, "dgram="+datagrams)
	p.sleep(t)
	h := take(t, p.pid)
	asleep(t, h, nil)
	c := dial(t, "unixgram", datagrams)
	c.say(t, "x")
	wakes(t, h, nil, handover.Data)
	p.wake(t)
	c.expect(t, "x")
	p.sleep(t)
	h = take(t, p.pid)
	asleep(t, h, nil)
	dial(t, "unix", stream)
	wakes(t, h, nil, handover.Connection)
}

// TestWaitForRoom: a server that waits to write is woken when it can.
func TestWaitForRoom(t *testing.T) {
	client, server := connected(t, "tcp4", "127.0.0.1:0")
	_ = server.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
	for buffer := make([]byte, 1<<20); ; {
		if _, err := server.Write(buffer); errors.Is(err, os.ErrDeadlineExceeded) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	h := take(t, os.Getpid())
	go func() {
		for buffer := make([]byte, 1<<20); ; {
			if _, err := client.Read(buffer); err != nil {
				return
			}
		}
	}()
	// This process has both ends; the reading one has its data unread.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if w, err := h.Wait(ctx, nil); err != nil {
		t.Errorf("Wait = %v, %v", w, err)
	}
}

// TestWaitForNews: what a connection had unread for long before the freeze does
// not wake, what comes after it does.
func TestWaitForNews(t *testing.T) {
	client, server := connected(t, "tcp4", "127.0.0.1:0")
	if _, err := client.Write([]byte("unread")); err != nil {
		t.Fatal(err)
	}
	await(t, func() bool { return unread(t, server) > 0 })
	fresh := take(t, os.Getpid())
	wakes(t, fresh, nil, handover.Data)

	h, err := handover.Take(t.Context(), []int{os.Getpid()}, handover.Terms{Frozen: time.Now().Add(-time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	closing(t, h)
	wakes(t, h, nil, handover.Data)

	// Frozen now, and the data is older than a second.
	await(t, func() bool { return lastReceived(t, server) > 1100*time.Millisecond })
	h = take(t, os.Getpid())
	asleep(t, h, nil)
	if _, err := client.Write([]byte("news")); err != nil {
		t.Fatal(err)
	}
	wakes(t, h, nil, handover.Data)
}

// TestWaitEnds: a wait that is given up leaves nothing behind, and one of closed
// sockets says so.
func TestWaitEnds(t *testing.T) {
	listen(t, "tcp4", "127.0.0.1:0")
	before := runtime.NumGoroutine()
	h := take(t, os.Getpid())
	for range 50 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		if _, err := h.Wait(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Wait = %v", err)
		}
		cancel()
	}
	ended := make(chan error)
	go func() {
		_, err := h.Wait(t.Context(), nil)
		ended <- err
	}()
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, handover.ErrClosed) {
		t.Errorf("Wait = %v", err)
	}
	if err := h.Close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
	await(t, func() bool { return runtime.NumGoroutine() <= before })
}

// TestWaitCostsNothing: a minute of sleep takes no CPU time.
func TestWaitCostsNothing(t *testing.T) {
	for range 200 {
		listen(t, "tcp4", "127.0.0.1:0")
	}
	h := take(t, os.Getpid())
	used := cpuTime(t)
	asleep(t, h, nil)
	asleep(t, h, nil)
	if used = cpuTime(t) - used; used > 20*time.Millisecond {
		t.Errorf("waiting took %s", used)
	}
}

// asleep waits, in vain.
func asleep(t *testing.T, h *handover.Held, probes *handover.Probes) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if w, err := h.Wait(ctx, probes); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Wait = %v, %v; nothing has happened", w, err)
	}
}

func wakes(t *testing.T, h *handover.Held, probes *handover.Probes, want handover.Cause) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	w, err := h.Wait(ctx, probes)
	if err != nil || w.Cause != want {
		t.Fatalf("Wait = %v, %v, want %s", w, err, want)
	}
}

func descriptor(t *testing.T, conn net.Conn, f func(fd int)) {
	t.Helper()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { f(int(fd)) })
	}
	if err != nil {
		t.Fatal(err)
	}
}

func unread(t *testing.T, conn net.Conn) (n int) {
	t.Helper()
	descriptor(t, conn, func(fd int) { n, _ = unix.IoctlGetInt(fd, unix.SIOCINQ) })
	return n
}

func lastReceived(t *testing.T, conn net.Conn) (ago time.Duration) {
	t.Helper()
	descriptor(t, conn, func(fd int) {
		if info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			ago = time.Duration(info.Last_ack_recv) * time.Millisecond
		}
	})
	return ago
}

func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
