// Command threads counts in fifty operating-system threads at once. / answers
// with each thread's id and count, and with the smallest and largest count: a
// thread that did not come back falls behind.
package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
)

const threads = 50

func main() {
	var ids, counts [threads]atomic.Uint64
	for number := range threads {
		go func() {
			runtime.LockOSThread()
			ids[number].Store(uint64(syscall.Gettid()))
			for {
				// A blocking system call keeps the thread a thread of its own,
				// which the runtime's timers would not.
				pause := syscall.NsecToTimespec(int64(100 * time.Millisecond))
				_ = syscall.Nanosleep(&pause, nil)
				counts[number].Add(1)
			}
		}()
	}
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		answer := struct {
			Least   uint64   `json:"least"`
			Most    uint64   `json:"most"`
			Threads []uint64 `json:"threads"`
			Counts  []uint64 `json:"counts"`
		}{Least: ^uint64(0)}
		for number := range threads {
			count := counts[number].Load()
			answer.Least, answer.Most = min(answer.Least, count), max(answer.Most, count)
			answer.Threads = append(answer.Threads, ids[number].Load())
			answer.Counts = append(answer.Counts, count)
		}
		_ = json.NewEncoder(w).Encode(answer)
	})
	fmt.Fprintln(os.Stderr, http.ListenAndServe(":8080", nil))
	os.Exit(1)
}
