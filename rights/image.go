package rights

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"google.golang.org/protobuf/proto"
)

// What begins each kind of image, after the word that all share but the
// inventory.
const (
	magicCommon    = 0x54564319
	magicCore      = 0x55053847
	magicFiles     = 0x56303138
	magicIDs       = 0x54432030
	magicInventory = 0x58313116
	magicMounts    = 0x55563928
	magicTree      = 0x50273030
)

const (
	// maxImage bounds an image that is read, in bytes. A container with a
	// hundred thousand open files stays below it.
	maxImage = 32 << 20
	// maxEntry bounds one message of an image, in bytes.
	maxEntry = 4 << 20
)

// errImage is returned for an image that is not what its name says.
var errImage = errors.New("not an image of its kind")

// read decodes all messages of one image, and gives each to use, which must not
// keep it.
func read[M proto.Message](root *os.Root, name string, magic uint32, entry M, use func(M) error) error {
	f, err := root.Open(name)
	if err != nil {
		return fmt.Errorf("read image: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("read image %s: %w", name, err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxImage {
		return fmt.Errorf("read image %s: %w: %s, %d bytes", name, errImage, info.Mode().Type(), info.Size())
	}
	if err := decode(bufio.NewReader(f), magic, entry, use); err != nil {
		return fmt.Errorf("read image %s: %w", name, err)
	}
	return nil
}

func decode[M proto.Message](r io.Reader, magic uint32, entry M, use func(M) error) error {
	head := []uint32{magicCommon, magic}
	if magic == magicInventory {
		head = head[1:]
	}
	for _, want := range head {
		var word uint32
		if err := binary.Read(r, binary.LittleEndian, &word); err != nil {
			return fmt.Errorf("%w: %w", errImage, err)
		}
		if word != want {
			return errImage
		}
	}
	var buf []byte
	for {
		var size [4]byte
		if _, err := io.ReadFull(r, size[:]); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("%w: %w", errImage, err)
		}
		n := binary.LittleEndian.Uint32(size[:])
		if n > maxEntry {
			return fmt.Errorf("%w: a message of %d bytes", errImage, n)
		}
		if uint32(cap(buf)) < n {
			buf = make([]byte, n)
		}
		buf = buf[:n]
		if _, err := io.ReadFull(r, buf); err != nil {
			return fmt.Errorf("%w: %w", errImage, err)
		}
		proto.Reset(entry)
		if err := proto.Unmarshal(buf, entry); err != nil {
			return fmt.Errorf("%w: %w", errImage, err)
		}
		if err := use(entry); err != nil {
			return err
		}
	}
}
