package store

import (
	"bytes"
	"errors"
)

// maxString is the longest text in a manifest as it stands there: the longest path,
// with every byte escaped.
const maxString = 3 * (maxDepth + 1) * 256

var (
	errTooMany  = errors.New("lists more than a checkpoint can have")
	errTooDeep  = errors.New("is nested deeper than a manifest is")
	errTooLong  = errors.New("has a longer text than a manifest has")
	errNoEnding = errors.New("ends within a text")
)

// shape tells, before anything is made of it, whether JSON can be that of a
// manifest: decoding what cannot be may take a thousand times its size in memory,
// and minutes.
func shape(data []byte) error {
	depth, objects := 0, 0
	for len(data) > 0 {
		switch data[0] {
		case '{', '[':
			if depth++; depth > 3 {
				return errTooDeep
			}
			if objects++; objects > maxFiles+MaxSet+3 {
				return errTooMany
			}
		case '}', ']':
			depth--
		case '"':
			n, err := text(data[1:])
			if err != nil {
				return err
			}
			data = data[1+n:]
			continue
		}
		data = data[1:]
	}
	return nil
}

// text returns the length of a text with the quote at its end.
func text(data []byte) (int, error) {
	for n := 0; n < maxString; {
		i := bytes.IndexAny(data[n:min(len(data), maxString)], "\"\\")
		switch {
		case i < 0 && len(data) < maxString:
			return 0, errNoEnding
		case i < 0:
			return 0, errTooLong
		case data[n+i] == '"':
			return n + i + 1, nil
		}
		if n += i + 2; n > len(data) {
			return 0, errNoEnding
		}
	}
	return 0, errTooLong
}
