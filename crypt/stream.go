package crypt

import (
	"errors"
	"fmt"
	"io"

	"github.com/tink-crypto/tink-go/v2/streamingaead/subtle"
)

// Scheme names how content is encrypted.
const Scheme = "aes256-gcm-hkdf-64k"

// segment is how much is encrypted, and authenticated, at a time, in bytes.
const segment = 64 << 10

// encrypting returns a writer that encrypts to w what is written to it; its Close
// writes the end, without which nothing decrypts.
func encrypting(w io.Writer, dataKey []byte, checkpoint string) (io.WriteCloser, error) {
	aead, err := streaming(dataKey)
	if err != nil {
		return nil, err
	}
	enc, err := aead.NewEncryptingWriter(w, []byte(checkpoint))
	if err != nil {
		return nil, fmt.Errorf("begin to encrypt: %w", err)
	}
	return enc, nil
}

// decrypting returns a reader of what was encrypted. It gives out nothing that was
// not authenticated.
func decrypting(r io.Reader, dataKey []byte, checkpoint string) (io.Reader, error) {
	aead, err := streaming(dataKey)
	if err != nil {
		return nil, err
	}
	source := &source{r: r}
	dec, err := aead.NewDecryptingReader(source, []byte(checkpoint))
	if err != nil {
		return nil, source.verdict(err)
	}
	return &authentic{dec, source}, nil
}

func streaming(dataKey []byte) (*subtle.AESGCMHKDF, error) {
	aead, err := subtle.NewAESGCMHKDF(dataKey, "SHA256", KeyBytes, segment, 0)
	if err != nil {
		return nil, fmt.Errorf("use data key: %w", err)
	}
	return aead, nil
}

// source remembers why it could not be read, which is not to be taken for damage.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

func (s *source) verdict(err error) error {
	if s.err != nil {
		return fmt.Errorf("read encrypted content: %w", s.err)
	}
	return fmt.Errorf("%w: %w", ErrAltered, err)
}

// authentic tells damage from the end.
type authentic struct {
	r      io.Reader
	source *source
}

func (a *authentic) Read(p []byte) (int, error) {
	n, err := a.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = a.source.verdict(err)
	}
	return n, err
}
