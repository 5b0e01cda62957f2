package probe

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
)

// good is the answer to an HTTP probe.
const good = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

// get answers a GET request if it is a probe's.
func (c *client) get() bool {
	for !bytes.Contains(c.said, []byte("\r\n\r\n")) {
		if c.more() != nil {
			return false
		}
	}
	request, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(c.said)))
	if err != nil || !isAgent(request.UserAgent()) || request.ContentLength != 0 {
		return false
	}
	// Once it is begun there is no way back; a client that does not take the
	// answer has given up.
	_, _ = io.WriteString(c.conn, good)
	return true
}
