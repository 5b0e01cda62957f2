// Command visitor puts a pod to sleep, over and over, and asks each time as a
// client would, whether it is still there:
//
//	visitor -rounds N -suspend COMMAND KIND=ADDRESS[*COUNT]...
//
// COMMAND puts the pod to sleep, or waits until it is asleep by itself, and returns
// when it sleeps; $ROUND tells it which time this is, from 1 on. Then all COUNT
// clients of all kinds ask at the same moment:
//
//	http   GET on a new connection
//	line   a line on a connection that was opened before the first sleep
//	new    a line on a new connection
//	greet  a new connection, on which the server speaks first
//	redis  PING on a new connection
//	udp    a datagram
//	unix   as new, over a unix socket
//
// In the end it prints, as JSON, how many were answered, what went wrong, and how
// long it took from the first byte of all to the first answer of all, in
// milliseconds, for each round.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// patience is how long a client waits for its answer.
const patience = 20 * time.Second

type report struct {
	Rounds   int       `json:"rounds"`
	Answered int       `json:"answered"`
	Failed   []string  `json:"failed"`
	First    []float64 `json:"first"`
	Last     []float64 `json:"last"`
}

func main() {
	rounds := flag.Int("rounds", 1, "how often the pod is put to sleep")
	suspend := flag.String("suspend", "true", "what puts it to sleep, a shell command")
	flag.Parse()
	r := report{Rounds: *rounds, Failed: []string{}}
	var clients []*client
	for _, target := range flag.Args() {
		more, err := open(target)
		if err != nil {
			fmt.Fprintln(os.Stderr, "visitor:", err)
			os.Exit(1)
		}
		clients = append(clients, more...)
	}
	for round := range *rounds {
		command := exec.Command("sh", "-c", *suspend)
		command.Env = append(os.Environ(), fmt.Sprintf("ROUND=%d", round+1))
		if out, err := command.CombinedOutput(); err != nil {
			r.Failed = append(r.Failed, fmt.Sprintf("round %d: put to sleep: %v: %s", round, err, out))
			break
		}
		r.visit(round, clients)
	}
	_ = json.NewEncoder(os.Stdout).Encode(r)
}

// visit has all clients ask at once.
func (r *report) visit(round int, clients []*client) {
	var (
		mu          sync.Mutex
		asked       sync.WaitGroup
		first, last time.Duration
		began       = time.Now()
	)
	for _, c := range clients {
		asked.Go(func() {
			err := c.ask(c)
			took := time.Since(began)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				r.Failed = append(r.Failed, fmt.Sprintf("round %d: %s: %v", round, c.target, err))
				return
			}
			r.Answered++
			if first == 0 || took < first {
				first = took
			}
			last = max(last, took)
		})
	}
	asked.Wait()
	r.First = append(r.First, milliseconds(first))
	r.Last = append(r.Last, milliseconds(last))
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

type client struct {
	target, address string
	ask             func(*client) error
	// conn stays open; nil for those that open a new one each time.
	conn  net.Conn
	lines *bufio.Reader
}

var kinds = map[string]func(*client) error{
	"http":  get,
	"line":  func(c *client) error { return c.say("still there", "still there") },
	"new":   func(c *client) error { return c.once("tcp", "hello", "hello") },
	"greet": func(c *client) error { return c.once("tcp", "", "hello") },
	"redis": func(c *client) error { return c.once("tcp", "PING\r", "+PONG\r") },
	"udp":   func(c *client) error { return c.once("udp", "hello", "hello") },
	"unix":  func(c *client) error { return c.once("unix", "hello", "hello") },
}

// open makes the clients of an argument.
func open(target string) (clients []*client, err error) {
	what, number, several := strings.Cut(target, "*")
	count := 1
	if several {
		if count, err = strconv.Atoi(number); err != nil {
			return nil, err
		}
	}
	kind, address, _ := strings.Cut(what, "=")
	if kinds[kind] == nil {
		return nil, fmt.Errorf("what is %s", target)
	}
	for range count {
		c := &client{target: what, address: address, ask: kinds[kind]}
		if kind == "line" {
			if c.conn, err = net.Dial("tcp", address); err != nil {
				return nil, err
			}
			c.lines = bufio.NewReader(c.conn)
			if err := c.say("first", "first"); err != nil {
				return nil, err
			}
		}
		clients = append(clients, c)
	}
	return clients, nil
}

func get(c *client) error {
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := (&http.Client{Transport: transport, Timeout: patience}).Get("http://" + c.address + "/")
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", response.Status)
	}
	return nil
}

// once asks on a new connection.
func (c *client) once(network, line, answer string) error {
	conn, err := net.DialTimeout(network, c.address, patience)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	return (&client{conn: conn, lines: bufio.NewReader(conn)}).say(line, answer)
}

// say says a line, if there is one, and reads an answer that ends so.
func (c *client) say(line, answer string) error {
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if line != "" {
		if _, err := fmt.Fprintln(c.conn, line); err != nil {
			return err
		}
	}
	got, err := c.lines.ReadString('\n')
	if err != nil {
		return err
	}
	if !strings.HasSuffix(got, answer+"\n") {
		return fmt.Errorf("answered %q", got)
	}
	return nil
}
