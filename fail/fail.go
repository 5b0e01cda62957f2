package fail

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Variable is the environment variable that names the file of points.
const Variable = "REKINDLE_FAILPOINTS"

const (
	// MaxWait bounds how long a program stands still at a point.
	MaxWait  = time.Minute
	waitPoll = 5 * time.Millisecond
	maxFile  = 64 << 10
)

// errAction is returned for an action that is none.
var errAction = errors.New("no action of a failpoint: kill, eio, enospc or wait")

// Point is a place in a program.
type Point struct{ name, where string }

var points []*Point

func define(name, where string) *Point {
	p := &Point{name, where}
	points = append(points, p)
	return p
}

// Points returns all points.
func Points() []*Point { return slices.Clone(points) }

// String returns the point's name.
func (p *Point) String() string { return p.name }

// Where says in words where the point is.
func (p *Point) Where() string { return p.where }

// hook is what is done at points; nil when they are off.
var hook atomic.Pointer[func(*Point) error]

func init() {
	path := os.Getenv(Variable)
	if path == "" || os.Geteuid() != 0 {
		return
	}
	Set(func(p *Point) error { return fromFile(path, p) })
}

// Set has fn called at every point, for tests within one process; nil switches
// points off. It returns what was there before.
func Set(fn func(*Point) error) (before func(*Point) error) {
	var old *func(*Point) error
	if fn == nil {
		old = hook.Swap(nil)
	} else {
		old = hook.Swap(&fn)
	}
	if old == nil {
		return nil
	}
	return *old
}

// Hit is called where the point is. It returns the error with which the step is
// to fail, or nil, which it does at once unless points are switched on.
func (p *Point) Hit() error {
	fn := hook.Load()
	if fn == nil {
		return nil
	}
	return (*fn)(p)
}

// fromFile does what the file says about a point.
func fromFile(path string, p *Point) error {
	action, err := actionIn(path, p)
	if err != nil {
		return fmt.Errorf("failpoint %s: %w", p, err)
	}
	switch action {
	case "":
		return nil
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // it is on its way
	case "eio":
		return fmt.Errorf("failpoint %s: %w", p, syscall.EIO)
	case "enospc":
		return fmt.Errorf("failpoint %s: %w", p, syscall.ENOSPC)
	case "wait":
		if err := wait(path, p); err != nil {
			return fmt.Errorf("failpoint %s: %w", p, err)
		}
		return nil
	}
	return fmt.Errorf("failpoint %s: %q: %w", p, action, errAction)
}

// actionIn returns what a file says about a point; nothing when there is no
// such file.
func actionIn(path string, p *Point) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("open file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("examine file: %w", err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() || st.Uid != 0 || info.Mode().Perm()&0o022 != 0 {
		return "", nil // not put there by root: it means nothing
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return "", fmt.Errorf("read file: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		name, action, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == p.name {
			return strings.TrimSpace(action), nil
		}
	}
	return "", nil
}

// wait stands still until the file does not say so any more.
func wait(path string, p *Point) error {
	f, err := os.OpenFile(path+".reached", os.O_WRONLY|os.O_APPEND|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("tell that it is reached: %w", err)
	}
	_, err = fmt.Fprintf(f, "%s %d\n", p, os.Getpid())
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("tell that it is reached: %w", err)
	}
	for deadline := time.Now().Add(MaxWait); time.Now().Before(deadline); time.Sleep(waitPoll) {
		action, err := actionIn(path, p)
		if err != nil || action != "wait" {
			return err
		}
	}
	return nil
}
