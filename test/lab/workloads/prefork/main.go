// Command prefork is a server of several processes: a parent opens the
// listener, four children inherit and share it, and each counts in its own
// memory. Every / answers with the pid and count of all of them; a child that
// dies is replaced, so a pid that changes tells that one was lost.
package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	children = 4
	listenFD = 3
)

type state struct {
	PID   int    `json:"pid"`
	Count uint64 `json:"count"`
}

func main() {
	var err error
	if number := os.Getenv("PREFORK_CHILD"); number != "" {
		err = child(number)
	} else {
		err = parent()
	}
	fmt.Fprintln(os.Stderr, "prefork:", err)
	os.Exit(1)
}

func parent() error {
	listener, err := net.Listen("tcp", ":8080")
	if err != nil {
		return err
	}
	shared, err := listener.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	// The parent never accepts: only its children hold the listener.
	if err := listener.Close(); err != nil {
		return err
	}
	var running sync.WaitGroup
	for number := range children {
		running.Go(func() {
			for {
				command := exec.Command("/proc/self/exe")
				command.Env = append(os.Environ(), "PREFORK_CHILD="+strconv.Itoa(number))
				command.ExtraFiles = []*os.File{shared}
				command.Stdout, command.Stderr = os.Stdout, os.Stderr
				fmt.Fprintln(os.Stderr, "prefork: child", number, "ended:", command.Run())
				time.Sleep(100 * time.Millisecond)
			}
		})
	}
	running.Wait()
	return nil
}

// child tells its siblings its count over a unix socket in the abstract name
// space, which belongs to the pod's network and leaves nothing on the disk.
func child(number string) error {
	listener, err := net.FileListener(os.NewFile(listenFD, "listener"))
	if err != nil {
		return err
	}
	own, err := net.Listen("unix", "@prefork-"+number)
	if err != nil {
		return err
	}
	var count atomic.Uint64
	go func() {
		for range time.Tick(100 * time.Millisecond) {
			count.Add(1)
		}
	}()
	self := func() state { return state{PID: os.Getpid(), Count: count.Load()} }
	go func() {
		for {
			connection, err := own.Accept()
			if err != nil {
				fmt.Fprintln(os.Stderr, "prefork:", err)
				os.Exit(1)
			}
			_ = json.NewEncoder(connection).Encode(self())
			_ = connection.Close()
		}
	}()
	return http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		answer := struct {
			Parent   int     `json:"parent"`
			Answered int     `json:"answered"`
			Children []state `json:"children"`
		}{Parent: os.Getppid(), Answered: os.Getpid()}
		for sibling := range children {
			theirs, err := ask(sibling)
			if err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
			answer.Children = append(answer.Children, theirs)
		}
		_ = json.NewEncoder(w).Encode(answer)
	}))
}

func ask(sibling int) (state, error) {
	var theirs state
	connection, err := net.DialTimeout("unix", "@prefork-"+strconv.Itoa(sibling), 2*time.Second)
	if err != nil {
		return theirs, err
	}
	defer func() { _ = connection.Close() }()
	return theirs, json.NewDecoder(connection).Decode(&theirs)
}
