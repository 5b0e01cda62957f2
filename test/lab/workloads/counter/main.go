// Command counter is the smallest program with something to lose: a number in
// memory that grows every 100 ms. It is printed each second and served on
// port 8080; /add/N makes it jump ahead, so that no other start can have come
// as far; /crash ends the process with code 3, /hang makes every later request
// wait for ever (the number goes on growing), /healthz says 200 until then, as it
// does for a gRPC probe.
package main

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"
)

func main() {
	address := flag.String("listen", ":8080", "address to serve on")
	file := flag.String("file", "", "also write the number to this file each second (default: nothing touches the disk)")
	ballast := flag.Int("ballast", 0, "MiB of memory to fill with data that does not compress to nothing")
	delay := flag.Duration("delay", 0, "how long to take before serving, as a slow starter does")
	flag.Parse()

	var count atomic.Uint64
	var hung atomic.Bool
	held := fill(*ballast)

	time.Sleep(*delay)
	go func() {
		for range time.Tick(100 * time.Millisecond) {
			count.Add(1)
		}
	}()
	go func() {
		for range time.Tick(time.Second) {
			fmt.Println(count.Load())
			if *file == "" {
				continue
			}
			if err := os.WriteFile(*file, fmt.Appendln(nil, count.Load()), 0o644); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}
	}()

	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		if hung.Load() {
			select {}
		}
		fmt.Fprintln(w, count.Load())
	})
	http.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if hung.Load() {
			select {}
		}
		fmt.Fprintln(w, "ok", len(held))
	})
	http.HandleFunc("/add/{n}", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.ParseUint(r.PathValue("n"), 10, 32)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprintln(w, count.Add(n))
	})
	http.HandleFunc("/crash", func(http.ResponseWriter, *http.Request) { os.Exit(3) })
	http.HandleFunc("/hang", func(w http.ResponseWriter, _ *http.Request) {
		hung.Store(true)
		fmt.Fprintln(w, "hung")
	})
	http.HandleFunc("/grpc.health.v1.Health/Check", serving)
	server := &http.Server{Addr: *address, Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	fmt.Fprintln(os.Stderr, server.ListenAndServe())
	os.Exit(1)
}

// serving answers gRPC's health check: one message, of which the first field is 1.
func serving(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status")
	_, _ = w.Write([]byte{0, 0, 0, 0, 2, 1 << 3, 1})
	w.Header().Set("Grpc-Status", "0")
}

// fill makes pages that differ from each other and from zero.
func fill(mebibytes int) []byte {
	data := make([]byte, mebibytes<<20)
	state := uint64(1)
	for i := range data {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		data[i] = byte(state)
	}
	return data
}
