package probe_test

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/rekindle-dev/rekindle/probe"
)

// TestAcknowledgementOfSettings: Answer speaks to an HTTP/2 client before it knows
// that it is no probe; that the client acknowledges is not for the container,
// whenever it comes, and all the rest is.
func TestAcknowledgementOfSettings(t *testing.T) {
	const ours = "our acknowledgement"
	frames := map[string]func(*http2.Framer) error{
		"settings": func(f *http2.Framer) error { return f.WriteSettings() },
		"headers": func(f *http2.Framer) error {
			return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, BlockFragment: request()})
		},
		"data":   func(f *http2.Framer) error { return f.WriteData(1, false, bytes.Repeat([]byte("data"), 1000)) },
		"window": func(f *http2.Framer) error { return f.WriteWindowUpdate(0, 1<<20) },
		"ack":    func(f *http2.Framer) error { return f.WriteSettingsAck() },
		ours:     func(f *http2.Framer) error { return f.WriteSettingsAck() },
	}
	tests := map[string][]string{
		"BeforeRequest": {"settings", "window", ours, "headers", "data", "ack", "data"},
		"AfterRequest":  {"settings", "headers", ours, "data", "ack"},
		"Late":          {"settings", "headers", "data", "window", "data", ours, "data", "ack"},
		"Never":         {"settings", "headers", "data"},
		"NoRequest":     {"settings", "window", ours, "window"},
	}
	for name, sequence := range tests {
		t.Run(name, func(t *testing.T) {
			var said, want bytes.Buffer
			said.WriteString(http2.ClientPreface)
			want.WriteString(http2.ClientPreface)
			for _, what := range sequence {
				if err := frames[what](http2.NewFramer(&said, nil)); err != nil {
					t.Fatal(err)
				}
				if what == ours {
					continue
				}
				if err := frames[what](http2.NewFramer(&want, nil)); err != nil {
					t.Fatal(err)
				}
			}
			conn, results := answer(t)
			if _, err := conn.Write(said.Bytes()); err != nil {
				t.Fatal(err)
			}
			r := <-results
			if r.answered {
				t.Fatal("answered")
			}
			_ = conn.(*net.TCPConn).CloseWrite()
			if rest, err := io.ReadAll(r.rest); err != nil || !bytes.Equal(rest, want.Bytes()) {
				t.Errorf("the container gets %q, %v, want %q", rest, err, want.Bytes())
			}
		})
	}
}

func request() []byte {
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":path", "/a.Service/Call"}, {"user-agent", "grpc-go"}} {
		_ = e.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	return block.Bytes()
}

// FuzzAnswer: whatever a client says, Answer returns in time, and nothing is lost
// of what it does not answer, but for one acknowledgement of settings.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\nUser-Agent: kube-probe/1\r\n\r\n"))
	f.Add([]byte(http2.ClientPreface + "\x00\x00\x00\x04\x01\x00\x00\x00\x00\x00\x00\x01\x01\x05\x00\x00\x00\x01x"))
	f.Add([]byte(http2.ClientPreface + "\xff\xff\xff\x00\x00\x00\x00\x00\x01"))
	f.Fuzz(func(t *testing.T, said []byte) {
		client, server := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, client) }()
		go func() {
			_, _ = client.Write(said)
			_ = client.Close()
		}()
		began := time.Now()
		answered, rest := probe.Answer(server)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("took %s", took)
		}
		if answered {
			return
		}
		got, err := io.ReadAll(rest)
		if lost := len(said) - len(got); err != nil || lost != 0 && lost != 9 {
			t.Errorf("%d of %d bytes, %v", len(got), len(said), err)
		}
	})
}
