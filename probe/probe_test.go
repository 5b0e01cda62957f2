package probe_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/rekindle-dev/rekindle/probe"
)

// TestAnswer lets clients speak to Answer, at once and in pieces.
func TestAnswer(t *testing.T) {
	const kubelet = "User-Agent: kube-probe/1.37\r\n"
	tests := map[string]struct {
		says     string
		answered bool
		answer   string
	}{
		"HTTP":            {"GET /healthz HTTP/1.1\r\nHost: a\r\n" + kubelet + "\r\n", true, "HTTP/1.1 200 OK"},
		"HTTPOtherAgent":  {"GET /healthz HTTP/1.1\r\nHost: a\r\nUser-Agent: curl/8\r\n\r\n", false, ""},
		"HTTPNoAgent":     {"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", false, ""},
		"HTTPPost":        {"POST /healthz HTTP/1.1\r\nHost: a\r\n" + kubelet + "\r\n", false, ""},
		"HTTPWithBody":    {"GET /healthz HTTP/1.1\r\nHost: a\r\n" + kubelet + "Content-Length: 3\r\n\r\nabc", false, ""},
		"HTTPMalformed":   {"GET \x01\r\n" + kubelet + "\r\n", false, ""},
		"HTTPAgentInPath": {"GET /?User-Agent:kube-probe/ HTTP/1.1\r\nHost: a\r\n\r\n", false, ""},
		"HTTPLong":        {"GET / HTTP/1.1\r\n" + kubelet + "X: " + strings.Repeat("x", 20<<10), false, ""},
		"Binary":          {"\x16\x03\x01\x02\x00", false, ""},
		"Redis":           {"PING\r\n", false, ""},
		"HTTP2Garbage":    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnot a frame of this protocol", false, ""},
	}
	for name, tc := range tests {
		for _, pace := range []string{"Whole", "Pieces"} {
			t.Run(name+pace, func(t *testing.T) {
				conn, result := answer(t)
				step := len(tc.says)
				if pace == "Pieces" {
					step = 1 + len(tc.says)/100
				}
				for i := 0; i < len(tc.says); i += step {
					if _, err := io.WriteString(conn, tc.says[i:min(i+step, len(tc.says))]); err != nil {
						t.Fatal(err)
					}
				}
				r := <-result
				if r.answered != tc.answered {
					t.Fatalf("answered = %v, want %v", r.answered, tc.answered)
				}
				if r.answered {
					_ = r.conn.Close()
					if line, err := bufio.NewReader(conn).ReadString('\r'); err != nil || line != tc.answer+"\r" {
						t.Errorf("the client got %q, %v", line, err)
					}
					return
				}
				_, _ = io.WriteString(conn, "and more")
				_ = conn.(*net.TCPConn).CloseWrite()
				if rest, err := io.ReadAll(r.rest); err != nil || string(rest) != tc.says+"and more" {
					t.Errorf("the container gets %.80q (%d bytes), %v", rest, len(rest), err)
				}
			})
		}
	}
}

// TestAnswerToTCPProbe: one that says nothing and closes is a probe; one that
// says nothing and stays waits for the server to speak.
func TestAnswerToTCPProbe(t *testing.T) {
	conn, result := answer(t)
	_ = conn.Close()
	if r := <-result; !r.answered {
		t.Error("a TCP probe was not answered")
	}
	conn, result = answer(t)
	began := time.Now()
	r := <-result
	if r.answered || time.Since(began) > 2*time.Second {
		t.Errorf("one that says nothing was answered: %v after %s", r.answered, time.Since(began))
	}
	_, _ = io.WriteString(conn, "late")
	_ = conn.Close()
	if rest, err := io.ReadAll(r.rest); err != nil || string(rest) != "late" {
		t.Errorf("the container gets %q, %v", rest, err)
	}
}

// TestAnswerToHTTPClient uses the client that the kubelet has.
func TestAnswerToHTTPClient(t *testing.T) {
	address, answers := serve(t)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/ready", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("User-Agent", "kube-probe/1.37+")
	request.Header.Set("Connection", "close")
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("status %s", response.Status)
	}
	if !<-answers {
		t.Error("not answered")
	}
}

// TestAnswerToGRPC uses gRPC's own client and server.
func TestAnswerToGRPC(t *testing.T) {
	tests := map[string]struct {
		agent    string
		method   string
		answered bool
	}{
		"Probe":       {"kube-probe/1.37", "Check", true},
		"OtherAgent":  {"grpcurl", "Check", false},
		"OtherMethod": {"kube-probe/1.37", "List", false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			address, answers := serve(t)
			conn, err := grpc.NewClient("passthrough:///"+address,
				grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithUserAgent(tc.agent))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			client := healthpb.NewHealthClient(conn)
			if tc.method == "Check" {
				// Several calls: the connection goes on as if nobody had looked at it.
				for range map[bool]int{true: 1, false: 3}[tc.answered] {
					response, err := client.Check(ctx, &healthpb.HealthCheckRequest{})
					if err != nil || response.Status != healthpb.HealthCheckResponse_SERVING {
						t.Fatalf("Check = %v, %v", response, err)
					}
				}
			} else if _, err := client.List(ctx, &healthpb.HealthListRequest{}); err != nil {
				t.Fatalf("List: %v", err)
			}
			_ = conn.Close()
			if got := <-answers; got != tc.answered {
				t.Errorf("answered = %v, want %v", got, tc.answered)
			}
		})
	}
}

type result struct {
	conn     net.Conn
	answered bool
	rest     io.Reader
}

// answer has the other end of a new connection looked at.
func answer(t *testing.T) (net.Conn, <-chan result) {
	t.Helper()
	l := listen(t)
	results := make(chan result, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		t.Cleanup(func() { _ = conn.Close() })
		answered, rest := probe.Answer(conn)
		results <- result{conn, answered, rest}
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn, results
}

// serve has every connection looked at; those that are no probe get to a real
// gRPC server.
func serve(t *testing.T) (address string, answers <-chan bool) {
	t.Helper()
	front, back := listen(t), listen(t)
	server := grpc.NewServer()
	healthpb.RegisterHealthServer(server, health.NewServer())
	go func() { _ = server.Serve(back) }()
	t.Cleanup(server.Stop)
	said := make(chan bool, 16)
	go func() {
		for {
			conn, err := front.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				answered, rest := probe.Answer(conn)
				said <- answered
				if answered {
					return
				}
				container, err := net.Dial("tcp", back.Addr().String())
				if err != nil {
					fmt.Println(err)
					return
				}
				defer container.Close()
				go func() { _, _ = io.Copy(container, rest) }()
				_, _ = io.Copy(conn, container)
			}()
		}
	}()
	return front.Addr().String(), said
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}
