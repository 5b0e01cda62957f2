// Command bare restores the image of a sleeping container with a criu restore of
// its own, as runc would have it restored, over and over, and takes the time: from
// the start of criu until it has ended, which it does when the processes run.
//
//	bare -bundle DIR -checkpoint DIR -handover DIR -holder PID -root DIR [-rounds N]
//
// DIR are the container's bundle, the images of the checkpoint that it sleeps in, as
// criu has dumped them, and those from which it would wake: the lists of open files
// are taken from there, in which its sockets are handed over. PID is the process that
// holds these, and -root is where its root file system is mounted. The restored processes are killed at once; the container sleeps on.
// Printed is, as a JSON list, how many milliseconds each restore took.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds one restore, and the end of what it has restored.
const patience = 30 * time.Second

func main() {
	var c sleeper
	flag.StringVar(&c.bundle, "bundle", "", "the container's bundle")
	flag.StringVar(&c.checkpoint, "checkpoint", "", "the images of its checkpoint")
	flag.StringVar(&c.handover, "handover", "", "the images from which it would wake")
	flag.StringVar(&c.root, "root", "", "where its root file system is mounted")
	flag.IntVar(&c.holder, "holder", 0, "the process that holds its sockets")
	rounds := flag.Int("rounds", 10, "how often it is restored")
	flag.Parse()
	took, err := measure(c, *rounds)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bare:", err)
		os.Exit(1)
	}
	_ = json.NewEncoder(os.Stdout).Encode(took)
}

func measure(c sleeper, rounds int) ([]float64, error) {
	work, err := os.MkdirTemp("", "bare-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(work) }()
	images := filepath.Join(work, "images")
	if err := c.link(images); err != nil {
		return nil, err
	}
	args, err := c.options(images, work)
	if err != nil {
		return nil, err
	}
	var took []float64
	for range rounds {
		d, err := restore(args, work)
		if err != nil {
			return nil, err
		}
		took = append(took, float64(d.Microseconds())/1000)
	}
	return took, nil
}

// restore runs criu once, and kills what it has restored.
func restore(args []string, work string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	pidFile := filepath.Join(work, "pid")
	if err := os.Remove(pidFile); err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, "criu", append(args, "--pidfile", pidFile)...)
	began := time.Now()
	out, err := cmd.CombinedOutput()
	took := time.Since(began)
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(work, "restore.log"))
		return 0, fmt.Errorf("criu restore: %w: %s\n%s", err, out, errorsIn(string(log)))
	}
	return took, end(pidFile)
}

// end kills the restored init, and its namespace with it, and waits until it is
// gone: the next one has the same place.
func end(pidFile string) error {
	data, err := os.ReadFile(pidFile)
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return err
	}
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("open restored process: %w", err)
	}
	defer func() { _ = unix.Close(pidfd) }()
	if err := unix.PidfdSendSignal(pidfd, syscall.SIGKILL, nil, 0); err != nil {
		return fmt.Errorf("kill restored process: %w", err)
	}
	poll := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	n, err := unix.Poll(poll, int(patience.Milliseconds()))
	if err == nil && n == 0 {
		err = errors.New("it does not end")
	}
	return err
}

func errorsIn(log string) string {
	var lines []string
	for line := range strings.Lines(log) {
		if strings.Contains(line, "Error (") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}
