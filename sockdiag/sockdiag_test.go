package sockdiag_test

import (
	"net"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rekindle-dev/rekindle/sockdiag"
)

func TestUnix(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := sockdiag.Open(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	list, err := conn.Unix()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := list[inodeOf(t, l.(*net.UnixListener))].Waiting, []uint64{inodeOf(t, client.(*net.UnixConn))}; !reflect.DeepEqual(got, want) {
		t.Errorf("in the backlog are %d, want %d", got, want)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	if list, err = conn.Unix(); err != nil {
		t.Fatal(err)
	}
	if got, want := list[inodeOf(t, client.(*net.UnixConn))].Peer, inodeOf(t, accepted.(*net.UnixConn)); got != want {
		t.Errorf("the peer is %d, want %d", got, want)
	}
}

// inodeOf returns the inode of a socket.
func inodeOf(t *testing.T, s interface{ File() (*os.File, error) }) uint64 {
	t.Helper()
	f, err := s.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

func TestClosed(t *testing.T) {
	conn, err := sockdiag.Open(os.Getpid())
	if err != nil || !conn.IsOpen() {
		t.Fatalf("open: %v", err)
	}
	conn.Close()
	conn.Close()
	if conn.IsOpen() {
		t.Error("it is still open")
	}
	if _, err := sockdiag.Open(1 << 30); err == nil {
		t.Error("a process that is not there has a network namespace")
	}
}

func TestAttributes(t *testing.T) {
	tests := map[string]struct {
		data []byte
		want map[uint16]string
	}{
		"two, the first padded": {[]byte("\x05\x00\x01\x00a\x00\x00\x00\x06\x00\x02\x00bc"), map[uint16]string{1: "a", 2: "bc"}},
		"one without a value":   {[]byte("\x04\x00\x07\x00"), map[uint16]string{7: ""}},
		"one that is cut off":   {[]byte("\x05\x00\x01\x00a\x00\x00\x00\x09\x00\x02\x00b"), map[uint16]string{1: "a"}},
		"one too short":         {[]byte("\x03\x00\x01\x00a"), map[uint16]string{}},
		"none":                  {nil, map[uint16]string{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := map[uint16]string{}
			for kind, value := range sockdiag.Attributes(test.data) {
				got[kind] = string(value)
			}
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}
