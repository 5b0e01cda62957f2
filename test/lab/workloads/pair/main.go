// Command pair is one of two programs that can tell whether they are of one
// moment. "pair lead" counts, and goes on to the next number only when "pair
// follow" has taken the last one; both also keep their number, and one that grows
// all the time, in a file in /dev/shm, or in the folder that is the second
// argument. A follower that is given another number than the one it took last, or
// the one after that, has met a leader of another time, and remembers it. /
// answers with what each knows: the leader on port 8080, the follower on 8081.
package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	leads   = ":8080"
	follows = ":8081"
	// pace is the time between two numbers: short against a dump.
	pace = 2 * time.Millisecond
)

// program is what both keep.
type program struct {
	mutex  sync.Mutex
	Number uint64 `json:"number"`
	// Torn says where a number did not follow upon the one before.
	Torn string `json:"torn"`
	// Shared is false when what it keeps in the file was changed by somebody else.
	Shared bool `json:"shared"`
	// ticks counts on, whether or not the other one is there.
	ticks  uint64
	memory []byte
}

func main() {
	role, folder := "lead", "/dev/shm"
	if len(os.Args) > 1 {
		role = os.Args[1]
	}
	if len(os.Args) > 2 {
		folder = os.Args[2]
	}
	fmt.Fprintln(os.Stderr, "pair:", run(role, folder))
	os.Exit(1)
}

func run(role, folder string) error {
	p := &program{Shared: true}
	if err := p.share(folder + "/pair-" + role); err != nil {
		return err
	}
	go p.tick()
	http.HandleFunc("/{$}", p.tell)
	http.HandleFunc("/crash", func(http.ResponseWriter, *http.Request) { os.Exit(3) })
	if role == "follow" {
		http.HandleFunc("/take/{n}", p.take)
		return http.ListenAndServe(follows, nil)
	}
	go p.lead()
	return http.ListenAndServe(leads, nil)
}

// share maps the file that repeats the number.
func (p *program) share(name string) error {
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := file.Truncate(int64(os.Getpagesize())); err != nil {
		return err
	}
	p.memory, err = syscall.Mmap(int(file.Fd()), 0, os.Getpagesize(), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	return err
}

// set takes a number over.
func (p *program) set(n uint64) {
	p.Number = p.keep(0, p.Number, n)
}

// tick changes the file all the time.
func (p *program) tick() {
	for range time.Tick(pace) {
		p.mutex.Lock()
		p.ticks = p.keep(8, p.ticks, p.ticks+1)
		p.mutex.Unlock()
	}
}

// keep replaces a number in the file.
func (p *program) keep(at int, was, now uint64) uint64 {
	p.Shared = p.Shared && binary.LittleEndian.Uint64(p.memory[at:]) == was
	binary.LittleEndian.PutUint64(p.memory[at:], now)
	return now
}

func (p *program) lead() {
	client := &http.Client{Timeout: 5 * time.Second}
	for range time.Tick(pace) {
		next := p.Number + 1 // nobody else changes it
		resp, err := client.Post("http://127.0.0.1"+follows+"/take/"+strconv.FormatUint(next, 10), "", nil)
		if err != nil {
			continue // it is not there yet, or not any more
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			p.mutex.Lock()
			p.set(next)
			p.mutex.Unlock()
		}
	}
}

func (p *program) take(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.ParseUint(r.PathValue("n"), 10, 64)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if n != p.Number && n != p.Number+1 && p.Torn == "" {
		p.Torn = fmt.Sprintf("%d after %d", n, p.Number)
	}
	p.set(n)
}

func (p *program) tell(w http.ResponseWriter, _ *http.Request) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	_ = json.NewEncoder(w).Encode(p)
}
