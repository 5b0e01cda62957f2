// Command tcpserver keeps TCP connections open on port 9000. Each line is
// answered with the number of lines this process has answered, the number this
// connection has sent, and the line itself. Port 8080 tells how many
// connections are open.
package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync/atomic"
)

func main() {
	var open atomic.Int64
	var lines atomic.Uint64
	listener, err := net.Listen("tcp", ":9000")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	go func() {
		err := http.ListenAndServe(":8080", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, "{\"open\":%d,\"lines\":%d}\n", open.Load(), lines.Load())
		}))
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}()
	for {
		connection, err := listener.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			continue
		}
		open.Add(1)
		go func() {
			defer open.Add(-1)
			defer func() { _ = connection.Close() }()
			scanner := bufio.NewScanner(connection)
			for own := 1; scanner.Scan(); own++ {
				if _, err := fmt.Fprintln(connection, lines.Add(1), own, scanner.Text()); err != nil {
					return
				}
			}
		}()
	}
}
