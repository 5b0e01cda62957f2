package probe

import (
	"bytes"
	"io"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	preface = http2.ClientPreface
	// healthCheck is the method of gRPC's health service that the kubelet calls.
	healthCheck = "/grpc.health.v1.Health/Check"
	// mostFrames is how many frames a client may send before its first request.
	mostFrames = 32
)

// serving is a HealthCheckResponse{Status: SERVING}, behind the five bytes that
// gRPC puts before a message.
var serving = []byte{0, 0, 0, 0, 2, 0x08, 0x01}

// health answers an HTTP/2 client if its first request is a gRPC probe. It has
// to say something itself before it knows: clients wait for the server's
// settings before they ask. To send settings a second time, as the container
// will, is in order; but the client acknowledges them both, and the container
// must not hear of ours.
func (c *client) health() (answered bool, rest io.Reader) {
	s := &session{client: c, from: io.MultiReader(bytes.NewReader(c.said[len(preface):]), c.conn)}
	s.framer = http2.NewFramer(c.conn, io.TeeReader(s.from, &s.frame))
	s.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	s.framer.MaxHeaderListSize = mostRequest
	s.framer.SetMaxReadFrameSize(mostRequest)
	s.kept.WriteString(preface)
	if s.framer.WriteSettings() != nil {
		return true, nil
	}
	request, ended := s.request()
	if request == 0 {
		return false, s.rest()
	}
	for !ended {
		f, err := s.framer.ReadFrame()
		if err != nil {
			return true, nil
		}
		ended = f.Header().StreamID == request && f.Header().Flags.Has(http2.FlagDataEndStream)
	}
	s.answer(request)
	return true, nil
}

// session is a client that speaks HTTP/2.
type session struct {
	*client
	// from is what the client says after the preface.
	from   io.Reader
	framer *http2.Framer
	// frame is what was read of the present frame; kept are those before it that
	// the container has to see.
	frame, kept  bytes.Buffer
	acknowledged bool
}

// request reads up to the first request, and returns the number of its stream if
// it is a probe's, and 0 if it is not, or does not come.
func (s *session) request() (stream uint32, ended bool) {
	for range mostFrames {
		s.frame.Reset()
		f, err := s.framer.ReadFrame()
		if err != nil {
			// Part of a frame may have been read.
			s.kept.Write(s.frame.Bytes())
			return 0, false
		}
		if settings, ok := f.(*http2.SettingsFrame); ok && settings.IsAck() && !s.acknowledged {
			s.acknowledged = true
			continue
		}
		s.kept.Write(s.frame.Bytes())
		if head, ok := f.(*http2.MetaHeadersFrame); ok {
			if head.PseudoValue("path") == healthCheck && isAgent(field(head, "user-agent")) {
				return head.StreamID, head.StreamEnded()
			}
			return 0, false
		}
	}
	return 0, false
}

func field(head *http2.MetaHeadersFrame, name string) string {
	for _, f := range head.RegularFields() {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// answer says that the container is serving, and waits a moment for the client
// to hang up: to close before would cut the answer off.
func (s *session) answer(stream uint32) {
	var head bytes.Buffer
	encoder := hpack.NewEncoder(&head)
	block := func(fields ...string) []byte {
		head.Reset()
		for i := 0; i < len(fields); i += 2 {
			_ = encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
		}
		return head.Bytes()
	}
	_ = s.framer.WriteSettingsAck()
	_ = s.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: stream, EndHeaders: true,
		BlockFragment: block(":status", "200", "content-type", "application/grpc"),
	})
	_ = s.framer.WriteData(stream, false, serving)
	_ = s.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: stream, EndHeaders: true, EndStream: true,
		BlockFragment: block("grpc-status", "0"),
	})
	_ = s.conn.SetReadDeadline(time.Now().Add(patience))
	_, _ = io.Copy(io.Discard, io.LimitReader(s.conn, mostRequest))
}

// rest is all that the client says, but for its word that it got our settings.
func (s *session) rest() io.Reader {
	kept := bytes.NewReader(s.kept.Bytes())
	if s.acknowledged {
		return io.MultiReader(kept, s.from)
	}
	return &unacknowledged{from: io.MultiReader(kept, s.from), left: len(preface)}
}
