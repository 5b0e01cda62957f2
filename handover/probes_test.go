package handover_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/rekindle-dev/rekindle/handover"
	"github.com/rekindle-dev/rekindle/probe"
)

var answering = &handover.Probes{Answer: probe.Answer}

// TestProbes: the kubelet's probes come from the node, are answered, and leave a
// server asleep.
func TestProbes(t *testing.T) {
	for _, ip := range []string{podIP, podIPv6} {
		t.Run(ip, func(t *testing.T) {
			address := net.JoinHostPort(ip, "8080")
			p := start(t, "http="+address)
			p.sleep(t)
			h := take(t, p.pid)
			ended := make(chan string, 1)
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				w, err := h.Wait(ctx, answering)
				ended <- fmt.Sprintf("%v, %v", w, err)
			}()
			var probes sync.WaitGroup
			for range 5 {
				for _, probe := range []func(*testing.T, string){tcpProbe, httpProbe, grpcProbe} {
					probes.Go(func() { probe(t, address) })
				}
			}
			probes.Wait()
			select {
			case said := <-ended:
				t.Errorf("woken: %s", said)
			default:
			}
			cancel()
		})
	}
}

// TestProbesWake: with nobody to answer them, they wake.
func TestProbesWake(t *testing.T) {
	p := start(t, "http=:8080")
	p.sleep(t)
	h := take(t, p.pid)
	go tcpProbe(t, podIP+":8080")
	wakes(t, h, nil, handover.Connection)
}

// TestNodeTraffic: what comes from the node and is no probe wakes the server, and
// is relayed to it from its first byte on.
func TestNodeTraffic(t *testing.T) {
	tests := map[string]struct {
		sockets, port string
		say           string
		want          string
	}{
		"HTTP":        {"http=:8080", "8080", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\n"},
		"Line":        {"line=:9000", "9000", "asleep\n", "1 asleep\n"},
		"SpeaksFirst": {"greet=" + podIP + ":2525", "2525", "", "1 hello\n"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			p := start(t, tc.sockets)
			p.sleep(t)
			h := take(t, p.pid)
			began := time.Now()
			c := dial(t, "tcp", podIP+":"+tc.port)
			if _, err := io.WriteString(c, tc.say); err != nil {
				t.Fatal(err)
			}
			wakes(t, h, answering, handover.Connection)
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("woken after %s", took)
			}
			p.wake(t)
			h.HandedOver()
			_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
			if line, err := c.lines.ReadString('\n'); err != nil || line != tc.want {
				t.Errorf("answered %q, %v, want %q", line, err, tc.want)
			}
			// It goes on for as long as both want, and its end is passed on.
			if tc.sockets[:4] != "http" {
				c.say(t, "more")
				c.expect(t, "more")
			}
			_ = c.Conn.(*net.TCPConn).CloseWrite()
			_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
			if _, err := io.Copy(io.Discard, c.lines); err != nil {
				t.Errorf("the end: %v", err)
			}
		})
	}
}

// TestStrangers: others than the node wake the server at once, and are accepted
// by nobody else, whoever waits before them.
func TestStrangers(t *testing.T) {
	p := start(t, "line=:9000")
	p.sleep(t)
	h := take(t, p.pid)
	// A probe that waits for its turn, and a client behind it.
	node := dial(t, "tcp", podIP+":9000")
	_, _ = io.WriteString(node, "GET / HTTP/1.1\r\nUser-Agent: kube-probe/1\r\n\r\n")
	stranger := p.dialInside(t, "tcp", podIP+":9000")
	local := p.dialInside(t, "tcp", "127.0.0.1:9000")
	stranger.say(t, "asleep")
	local.say(t, "asleep")

	wakes(t, h, answering, handover.Connection)

	p.wake(t)
	h.HandedOver()
	stranger.expect(t, "asleep")
	local.expect(t, "asleep")
	// So the probe was the server's, which has another opinion of it.
	_ = node.SetReadDeadline(time.Now().Add(5 * time.Second))
	if line, err := node.lines.ReadString('\n'); err != nil || !strings.HasSuffix(line, " GET / HTTP/1.1\n") {
		t.Errorf("the probe was answered %q, %v", line, err)
	}
}

// TestGivenUp: clients that have gone before anybody looked wake nobody.
func TestGivenUp(t *testing.T) {
	p := start(t, "line=:9000")
	p.sleep(t)
	h := take(t, p.pid)
	for range 3 {
		c := dial(t, "tcp", podIP+":9000")
		_ = c.Conn.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
	asleep(t, h, answering)
	p.dialInside(t, "tcp", podIP+":9000")
	wakes(t, h, answering, handover.Connection)
}

// TestManyAtOnce: 200 clients connect and ask at the same time.
func TestManyAtOnce(t *testing.T) {
	p := start(t, "http=:8080")
	before := runtime.NumGoroutine()
	p.sleep(t)
	h := take(t, p.pid)
	var clients sync.WaitGroup
	for range 200 {
		clients.Go(func() {
			conn, err := net.DialTimeout("tcp", podIP+":8080", 10*time.Second)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil || response.StatusCode != http.StatusOK {
				t.Errorf("answered %v, %v", response, err)
				return
			}
			_ = response.Body.Close()
		})
	}
	wakes(t, h, answering, handover.Connection)
	p.wake(t)
	h.HandedOver()
	clients.Wait()
	for range 1000 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(time.Millisecond)
	}
	stacks := make([]byte, 1<<20)
	t.Errorf("goroutines are left:\n%s", stacks[:runtime.Stack(stacks, true)])
}

// TestDismissed: when the server does not come back, whoever was accepted here is
// cut, and does not wait for ever.
func TestDismissed(t *testing.T) {
	p := start(t, "line=:9000")
	p.sleep(t)
	h := take(t, p.pid)
	c := dial(t, "tcp", podIP+":9000")
	c.say(t, "asleep")
	wakes(t, h, answering, handover.Connection)
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("read %d, %v", n, err)
	}
}

func tcpProbe(t *testing.T, address string) {
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		t.Errorf("TCP probe: %v", err)
		return
	}
	_ = conn.Close()
}

func httpProbe(t *testing.T, address string) {
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/healthz", nil)
	if err != nil {
		t.Error(err)
		return
	}
	request.Header.Set("User-Agent", "kube-probe/1.37")
	request.Close = true
	response, err := (&http.Client{Timeout: 5 * time.Second}).Do(request)
	if err != nil {
		t.Errorf("HTTP probe: %v", err)
		return
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("HTTP probe: %s", response.Status)
	}
}

func grpcProbe(t *testing.T, address string) {
	conn, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithUserAgent("kube-probe/1.37"))
	if err != nil {
		t.Errorf("gRPC probe: %v", err)
		return
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	response, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
	if err != nil || response.Status != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("gRPC probe: %v, %v", response, err)
	}
}
