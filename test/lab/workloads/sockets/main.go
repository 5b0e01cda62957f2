// Command sockets is a server of many kinds of sockets at once, one for each
// argument KIND=ADDRESS:
//
//	http   HTTP/1.1, connections are kept alive
//	grpc   gRPC's health service, and no other
//	line   answers every line on a connection, as long as it is open
//	greet  speaks first: a line as soon as somebody connects, then as line
//	udp    answers every datagram
//	unix   as line, on a unix socket
//	dgram  answers every datagram of a unix socket to its sender
//	group  HTTP/1.1 on several listeners of one port (SO_REUSEPORT)
//	narrow HTTP/1.1, with a short backlog
//	lend   HTTP/1.1 on ADDRESS,PATH; its listener is given to who connects to PATH
//	borrow HTTP/1.1 on a listener that is lent there
//	heap   no socket, but that many MiB of memory with something in it
//	tell   no socket, but from then on the number of each answer is printed
//
// Every answer has a number that counts all answers since the start: it shows
// that the memory is the old one.
package main

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

var answers atomic.Uint64

// telling is held while a number is drawn and printed, so that they stand in order.
var (
	telling sync.Mutex
	tells   atomic.Bool
)

func answer(to string) string {
	if !tells.Load() {
		return fmt.Sprintf("%d %s\n", answers.Add(1), to)
	}
	telling.Lock()
	defer telling.Unlock()
	number := answers.Add(1)
	fmt.Println(number)
	return fmt.Sprintf("%d %s\n", number, to)
}

func main() {
	failed := make(chan error)
	for _, argument := range os.Args[1:] {
		kind, address, _ := strings.Cut(argument, "=")
		serve, known := kinds[kind]
		if !known {
			fmt.Fprintln(os.Stderr, "sockets: what is", argument)
			os.Exit(2)
		}
		go func() { failed <- serve(address) }()
	}
	fmt.Fprintln(os.Stderr, "sockets:", <-failed)
	os.Exit(1)
}

var kinds = map[string]func(address string) error{
	"http": func(address string) error {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, answer(r.RemoteAddr))
		}))
	},
	"grpc":   health,
	"line":   func(address string) error { return lines("tcp", address, false) },
	"greet":  func(address string) error { return lines("tcp", address, true) },
	"unix":   func(address string) error { return lines("unix", address, false) },
	"udp":    func(address string) error { return datagrams("udp", address) },
	"dgram":  func(address string) error { return datagrams("unixgram", address) },
	"group":  group,
	"narrow": narrow,
	"lend":   lend,
	"borrow": borrow,
	"heap":   heap,
	"tell": func(string) error {
		tells.Store(true)
		select {}
	},
}

// health answers every call as Check of gRPC's health service does when all is
// well: a message with one field, of one byte, behind the five that gRPC puts
// before a message.
func health(address string) error {
	var plain http.Protocols
	plain.SetUnencryptedHTTP2(true)
	server := http.Server{Addr: address, Protocols: &plain, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		answers.Add(1)
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status")
		_, _ = w.Write([]byte{0, 0, 0, 0, 2, 8, 1})
		w.Header().Set("Grpc-Status", "0")
	})}
	return server.ListenAndServe()
}

func lines(network, address string, greet bool) error {
	l, err := net.Listen(network, address)
	if err != nil {
		return err
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer func() { _ = conn.Close() }()
			if greet {
				fmt.Fprint(conn, answer("hello"))
			}
			for said := bufio.NewScanner(conn); said.Scan(); {
				fmt.Fprint(conn, answer(said.Text()))
			}
		}()
	}
}

func datagrams(network, address string) error {
	conn, err := net.ListenPacket(network, address)
	if err != nil {
		return err
	}
	buffer := make([]byte, 2048)
	for {
		n, from, err := conn.ReadFrom(buffer)
		if err != nil {
			return err
		}
		if _, err := conn.WriteTo([]byte(answer(strings.TrimSpace(string(buffer[:n])))), from); err != nil {
			fmt.Fprintln(os.Stderr, "sockets:", err)
		}
	}
}

var memory []byte

// heap holds memory that cannot be compressed or shared.
func heap(size string) error {
	mebibytes, err := strconv.Atoi(size)
	if err != nil {
		return err
	}
	memory = make([]byte, mebibytes<<20)
	for i := 0; i < len(memory); i += 8 {
		word := rand.Uint64()
		for b := range 8 {
			memory[i+b] = byte(word >> (8 * b))
		}
	}
	fmt.Fprintln(os.Stderr, "sockets: heap is there,", len(memory), "bytes")
	select {}
}
