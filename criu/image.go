package criu

import (
	"encoding/binary"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// An image is two words of magic and a row of messages, each behind its length.
const (
	magicSize  = 8
	lengthSize = 4
)

// messages calls fn for every message of an image.
func messages(image []byte, fn func([]byte) error) error {
	if len(image) < magicSize {
		return fmt.Errorf("%w: %d bytes", ErrBadImage, len(image))
	}
	for rest := image[magicSize:]; len(rest) > 0; {
		if len(rest) < lengthSize {
			return fmt.Errorf("%w: it ends within a length", ErrBadImage)
		}
		size := binary.LittleEndian.Uint32(rest)
		rest = rest[lengthSize:]
		if uint64(size) > uint64(len(rest)) {
			return fmt.Errorf("%w: it ends within a message", ErrBadImage)
		}
		if err := fn(rest[:size]); err != nil {
			return err
		}
		rest = rest[size:]
	}
	return nil
}

// eachEntry returns an image with every message replaced by what change makes of
// it. What is not changed stays as it is, byte for byte, fields that we do not
// know included.
func eachEntry(image []byte, change func([]byte) ([]byte, error)) ([]byte, error) {
	out := append(make([]byte, 0, len(image)+len(image)/4), image[:min(magicSize, len(image))]...)
	err := messages(image, func(message []byte) error {
		entry, err := change(message)
		out = binary.LittleEndian.AppendUint32(out, uint32(len(entry)))
		out = append(out, entry...)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// field is the value of a field: a number, or bytes.
type field struct {
	number uint64
	bytes  []byte
}

// fields reads the fields of a message; of one that occurs several times, the
// last.
func fields(message []byte) (map[protowire.Number]field, error) {
	found := map[protowire.Number]field{}
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return nil, fmt.Errorf("%w: %w", ErrBadImage, protowire.ParseError(n))
		}
		message = message[n:]
		var f field
		switch kind {
		case protowire.VarintType:
			f.number, n = protowire.ConsumeVarint(message)
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(message)
		default:
			n = protowire.ConsumeFieldValue(number, kind, message)
		}
		if n < 0 {
			return nil, fmt.Errorf("%w: %w", ErrBadImage, protowire.ParseError(n))
		}
		found[number] = f
		message = message[n:]
	}
	return found, nil
}

func appendNumber(b []byte, number protowire.Number, value uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, number, protowire.VarintType), value)
}

func appendBytes(b []byte, number protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, number, protowire.BytesType), value)
}

// numbered returns the number in the name of an image.
func numbered(form, name string) (number uint64, ok bool) {
	_, err := fmt.Sscanf(name, form, &number)
	return number, err == nil && fmt.Sprintf(form, number) == name
}

// is tells whether an image has a name of that form.
func is(form, name string) bool {
	_, ok := numbered(form, name)
	return ok
}
