package probe

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

const (
	// silence is how long a client may say nothing before it is taken for one that
	// waits for the server to speak first. A TCP probe closes at once.
	silence = 250 * time.Millisecond
	// patience is how long a request may take to be complete; the kubelet sends
	// its own in one piece.
	patience = time.Second
	// mostRequest bounds a probe's request, in bytes.
	mostRequest = 16 << 10
	// agent begins the User-Agent of the kubelet's probes.
	agent = "kube-probe/"
)

// Answer looks at a connection that was made to a listener of the container, and
// answers a probe. If it is none, rest is all that the client has sent and will
// send, and the connection has no deadline. It returns within about two seconds.
func Answer(conn net.Conn) (answered bool, rest io.Reader) {
	c := &client{conn: conn}
	defer func() { _ = conn.SetDeadline(time.Time{}) }()
	_ = conn.SetDeadline(time.Now().Add(silence))
	switch err := c.more(); {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return false, conn
	case err != nil:
		return true, nil // closed or gone, without a byte
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	switch {
	case c.begins(preface):
		return c.health()
	case c.begins("GET "):
		return c.get(), c.rest()
	}
	return false, c.rest()
}

// isAgent tells whether a User-Agent is that of a probe.
func isAgent(value string) bool { return strings.HasPrefix(value, agent) }

// client is who is on the other end of a connection.
type client struct {
	conn net.Conn
	// said is what it has said so far.
	said []byte
}

// more reads once more.
func (c *client) more() error {
	if len(c.said) >= mostRequest {
		return errors.New("too much for a probe")
	}
	buffer := make([]byte, 2048)
	n, err := c.conn.Read(buffer)
	c.said = append(c.said, buffer[:n]...)
	if n > 0 {
		return nil
	}
	return err
}

// begins tells whether what it says begins so, and reads on as long as it might.
func (c *client) begins(with string) bool {
	for len(c.said) < len(with) && strings.HasPrefix(with, string(c.said)) {
		if c.more() != nil {
			return false
		}
	}
	return bytes.HasPrefix(c.said, []byte(with))
}

// rest is everything, from the first byte on.
func (c *client) rest() io.Reader { return io.MultiReader(bytes.NewReader(c.said), c.conn) }
