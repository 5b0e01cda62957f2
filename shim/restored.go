package shim

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/rekindle-dev/rekindle/api"
)

// restoredSize is the length of every such file, in bytes. A process that had
// the former one open at the dump must find one of the same length, or CRIU
// refuses the restore.
const restoredSize = 2048

var errLongNote = errors.New("its text is too long")

// noteRestored puts the file by which a container can tell that it was restored
// into its writable layer, which is not mounted yet: so it is there in a
// read-only root file system too, whatever is mounted below the root, and no
// process of the tenant can be in the way. What has the name already is replaced,
// a link itself and not what it points to; only a directory stays. The returned
// function, never nil, takes the file out again.
func noteRestored(upper string, note api.Restored) (undo func() error, err error) {
	undo = func() error { return nil }
	if upper == "" {
		return undo, errors.New("make restored file: the snapshotter gives no overlay")
	}
	seed := make([]byte, 32)
	if _, err := rand.Read(seed); err != nil {
		return undo, fmt.Errorf("make restored file: %w", err)
	}
	note.Time, note.Random = time.Now().UTC(), hex.EncodeToString(seed)
	data, err := encodeNote(note)
	if err != nil {
		return undo, fmt.Errorf("make restored file: %w", err)
	}
	root, err := os.OpenRoot(upper)
	if err != nil {
		return undo, fmt.Errorf("make restored file: %w", err)
	}
	defer root.Close()
	if err := writeNote(root, data); err != nil {
		return undo, fmt.Errorf("make restored file: %w", err)
	}
	return func() error { return removeNote(upper) }, nil
}

// encodeNote fills the text up with spaces to restoredSize.
func encodeNote(note api.Restored) ([]byte, error) {
	data, err := json.Marshal(note)
	if err != nil {
		return nil, err
	}
	if len(data) >= restoredSize {
		return nil, errLongNote
	}
	data = append(data, bytes.Repeat([]byte(" "), restoredSize-1-len(data))...)
	return append(data, '\n'), nil
}

func writeNote(root *os.Root, data []byte) error {
	if info, err := root.Lstat(api.RestoredFile); err == nil && info.IsDir() {
		return fmt.Errorf("%s is a directory", api.RestoredFile)
	}
	if err := root.Remove(api.RestoredFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := root.OpenFile(api.RestoredFile, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		// Whatever the umask: every user of the container may read it.
		err = f.Chmod(0o444)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, root.Remove(api.RestoredFile))
	}
	return nil
}

func removeNote(upper string) error {
	root, err := os.OpenRoot(upper)
	if err != nil {
		return fmt.Errorf("remove restored file: %w", err)
	}
	defer root.Close()
	if err := root.Remove(api.RestoredFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove restored file: %w", err)
	}
	return nil
}
