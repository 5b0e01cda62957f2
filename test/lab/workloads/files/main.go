// Command files is a program whose state is also in files: in the root file
// system it changes one file of the image (and keeps it open), makes one with
// an extended attribute, and deletes one; in /dev/shm it writes one and maps
// another. / answers with what it finds of each, by name and through what it
// holds open, beside a counter in memory that the mapped file repeats: after a
// restore all must agree.
package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

const (
	changed = "/data/changed"
	created = "/data/made/created"
	deleted = "/data/deleted"
	plain   = "/dev/shm/plain"
	mapped  = "/dev/shm/mapped"
)

// attribute is the extended attribute that the file made at the start carries.
const attribute = "user.rekindle.test"

type found struct {
	Exists    bool   `json:"exists"`
	Size      int64  `json:"size,omitempty"`
	SHA256    string `json:"sha256,omitempty"`
	Text      string `json:"text,omitempty"`
	Attribute string `json:"attribute,omitempty"`
	Error     string `json:"error,omitempty"`
}

type program struct {
	mutex   sync.Mutex
	counter uint64
	open    *os.File
	memory  []byte
}

func main() {
	p := &program{}
	if err := p.prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "files:", err)
		os.Exit(1)
	}
	go p.work()
	http.Handle("/", p)
	http.HandleFunc("/crash", func(http.ResponseWriter, *http.Request) { os.Exit(3) })
	fmt.Fprintln(os.Stderr, http.ListenAndServe(":8080", nil))
	os.Exit(1)
}

// prepare runs at a cold start only. A restored process never comes here, so
// "started" in a file tells which start the content is from.
func (p *program) prepare() error {
	started := fmt.Appendf(nil, "started %d\n", time.Now().UnixNano())
	var err error
	if p.open, err = os.OpenFile(changed, os.O_RDWR|os.O_APPEND, 0); err != nil {
		return fmt.Errorf("the image must hold %s: %w", changed, err)
	}
	if _, err := p.open.Write(started); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(created), 0o750); err != nil {
		return err
	}
	if err := os.WriteFile(created, started, 0o640); err != nil {
		return err
	}
	if err := syscall.Setxattr(created, attribute, []byte("kept"), 0); err != nil {
		return fmt.Errorf("set attribute of %s: %w", created, err)
	}
	// A second cold start in one container finds it gone already.
	if err := os.Remove(deleted); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.WriteFile(plain, started, 0o600); err != nil {
		return err
	}
	return p.mapFile()
}

func (p *program) mapFile() error {
	file, err := os.OpenFile(mapped, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	size := os.Getpagesize()
	if err := file.Truncate(int64(size)); err != nil {
		return err
	}
	p.memory, err = syscall.Mmap(int(file.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	return err
}

func (p *program) work() {
	for range time.Tick(100 * time.Millisecond) {
		p.mutex.Lock()
		p.counter++
		binary.LittleEndian.PutUint64(p.memory, p.counter)
		if p.counter%10 == 0 {
			if _, err := fmt.Fprintln(p.open, p.counter); err != nil {
				fmt.Fprintln(os.Stderr, "files:", err)
			}
		}
		p.mutex.Unlock()
	}
}

func (p *program) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	answer := struct {
		Counter    uint64           `json:"counter"`
		Mapped     uint64           `json:"mapped"`
		MappedFile uint64           `json:"mapped_file"`
		Open       found            `json:"open"`
		Files      map[string]found `json:"files"`
	}{
		Counter: p.counter,
		Mapped:  binary.LittleEndian.Uint64(p.memory),
		Open:    lookInto(p.openAgain()),
		Files:   map[string]found{},
	}
	if data, err := os.ReadFile(mapped); err == nil && len(data) >= 8 {
		answer.MappedFile = binary.LittleEndian.Uint64(data)
	}
	for _, name := range []string{changed, created, deleted, plain, mapped} {
		f := lookInto(os.ReadFile(name))
		value := make([]byte, 64)
		if n, err := syscall.Getxattr(name, attribute, value); err == nil {
			f.Attribute = string(value[:n])
		}
		answer.Files[name] = f
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(answer)
}

// openAgain reads through the descriptor that has been open since the start.
func (p *program) openAgain() ([]byte, error) {
	info, err := p.open.Stat()
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.NewSectionReader(p.open, 0, info.Size()))
}

func lookInto(data []byte, err error) found {
	if errors.Is(err, os.ErrNotExist) {
		return found{}
	}
	if err != nil {
		return found{Error: err.Error()}
	}
	digest := sha256.Sum256(data)
	first := data[:min(len(data), 60)]
	f := found{Exists: true, Size: int64(len(data)), SHA256: hex.EncodeToString(digest[:])}
	if len(first) > 0 && first[0] >= ' ' {
		f.Text = string(first)
	}
	return f
}
