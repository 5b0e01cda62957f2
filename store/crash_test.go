package store_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/fail"
	"github.com/rekindle-dev/rekindle/store"
)

// The child of a crash test works on a store like a daemon, and tells what it
// does on its standard output, until it is through or killed at a failpoint.
const (
	childDir  = "REKINDLE_TEST_STORE"
	childSeed = "REKINDLE_TEST_SEED"
)

// ofStore are the points that a store passes when it is worked on.
func ofStore() []*fail.Point {
	return slices.DeleteFunc(fail.Points(), func(p *fail.Point) bool {
		kind, _, _ := strings.Cut(p.String(), ".")
		return !slices.Contains([]string{"begin", "commit", "remove", "quarantine", "marks", "key"}, kind)
	})
}

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		seed, _ := strconv.ParseUint(os.Getenv(childSeed), 10, 64)
		r := rand.New(rand.NewPCG(seed, seed))
		order := r.Perm(24)
		if seed == 0 {
			slices.Sort(order)
		}
		work(dir, r, order)
		return
	}
	os.Exit(m.Run())
}

// work does one thing after the other to a store: each kind at least once with
// the seed 0, else in random order. What it says before and after each is all
// that the parent knows.
func work(dir string, r *rand.Rand, order []int) {
	s, err := store.Open(dir)
	if err != nil {
		fmt.Println("cannot open", err)
		return
	}
	var mine []string
	forget := func(id string) { mine = slices.DeleteFunc(mine, func(m string) bool { return m == id }) }
	say := func(what, id string, err error) {
		if err != nil {
			what = "failed " + what
		}
		fmt.Println(what, id)
	}
	for _, step := range order {
		some := ""
		if len(mine) > 0 {
			some = mine[r.IntN(len(mine))]
		}
		switch {
		case step < 12 || some == "":
			st, err := s.Begin(context.Background(), redis, 0)
			if err != nil {
				continue
			}
			_ = os.MkdirAll(filepath.Join(st.Dir(), "criu"), 0o700)
			_ = os.WriteFile(filepath.Join(st.Dir(), "criu", "pages-1.img"), bytes.Repeat([]byte(st.ID()), 1+r.IntN(5000)), 0o600)
			_, err = st.Commit(context.Background(), store.Manifest{Trigger: "interval"})
			say("committed", st.ID(), err)
			if err == nil {
				mine = append(mine, st.ID())
			}
		case step < 15:
			fmt.Println("removing", some)
			say("removed", some, s.Remove(context.Background(), some))
			forget(some)
		case step < 18:
			list, err := s.List(redis)
			if err != nil || len(list) == 0 {
				continue
			}
			for _, c := range list[min(2, len(list)):] {
				fmt.Println("removing", c.ID)
				forget(c.ID)
			}
			_, err = s.Retain(context.Background(), list, 2)
			say("retained", "-", err)
		case step < 19:
			fmt.Println("removing", some)
			say("quarantined", some, s.Quarantine(some, "a test"))
			forget(some)
		case step < 22:
			say("marked", some, s.Update(some, func(m *store.Marks) error { m.Restores++; return nil }))
		case step < 23:
			id, err := s.RotateKey()
			say("rotated", id, err)
		default:
			fmt.Println("nothing -")
		}
	}
	fmt.Println("through -")
}

// told is what a child has said.
type told struct {
	committed []string
	// removing may be there or not.
	removing map[string]bool
	through  bool
	text     string
}

// runChild runs one, with the failpoints that the text arms.
func runChild(t *testing.T, dir string, seed uint64, points string) told {
	t.Helper()
	arm := filepath.Join(t.TempDir(), "points")
	if err := os.WriteFile(arm, []byte(points), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, fmt.Sprintf("%s=%d", childSeed, seed), fail.Variable+"="+arm)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || !killed(exit)) {
		t.Fatalf("the child failed: %v\n%s%s", err, out, exit.Stderr)
	}
	got := told{removing: map[string]bool{}, text: string(out)}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		what, id, _ := strings.Cut(lines.Text(), " ")
		switch what {
		case "committed":
			got.committed = append(got.committed, id)
		case "removing":
			got.removing[id] = true
		case "through":
			got.through = true
		case "cannot":
			t.Fatalf("the child says: %s", out)
		}
	}
	return got
}

func killed(e *exec.ExitError) bool {
	ws, ok := e.Sys().(syscall.WaitStatus)
	return ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL
}

// sound opens a store after whatever happened to it, and makes sure of what the
// package promises: everything that was told to be committed and not to be on
// its way out is there and verifies, everything that is there verifies, nothing
// is left over, and the next checkpoint can be made.
func sound(t *testing.T, dir string, tells ...told) {
	t.Helper()
	s := open(t, dir, store.WithReport(func(path string, err error) { t.Errorf("%s: %v", path, err) }))
	defer s.Close()
	there := list(t, s, redis)
	for _, cp := range there {
		if err := s.Verify(context.Background(), cp, store.Full); err != nil {
			t.Errorf("%s is listed: %v", cp.ID, err)
		}
		if _, err := s.Marks(cp.ID); err != nil {
			t.Errorf("marks of %s: %v", cp.ID, err)
		}
	}
	removing := map[string]bool{}
	for _, tell := range tells {
		for id := range tell.removing {
			removing[id] = true
		}
	}
	for _, tell := range tells {
		for _, id := range tell.committed {
			if !removing[id] && !slices.Contains(ids(there), id) {
				t.Errorf("%s was committed and is gone", id)
			}
		}
	}
	if broken, err := s.Broken(redis); err != nil || len(broken) > 0 {
		t.Errorf("broken: %v, %v", broken, err)
	}
	wantEmpty(t, dir, "staging")
	wantEmpty(t, dir, "trash")
	for _, name := range readDir(t, dir, "marks") {
		if id, isMarks := strings.CutSuffix(name, ".json"); !isMarks || !slices.Contains(ids(there), id) {
			t.Errorf("left over: marks/%s", name)
		}
	}
	for _, sub := range []string{"quarantine", "keys", "."} {
		for _, name := range readDir(t, dir, sub) {
			if strings.HasSuffix(name, ".tmp") {
				t.Errorf("left over: %s/%s", sub, name)
			}
		}
	}
	if next := commit(t, s, redis); len(there) > 0 && next.ID <= there[0].ID {
		t.Errorf("next id %s is not after %s", next.ID, there[0].ID)
	}
}

func readDir(t *testing.T, parts ...string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// memoryDir is a directory in memory, where syncing costs nothing: a process that
// is killed takes nothing with it that it has written. (What a power cut takes is
// another test's.)
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "rekindle-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// TestCrashMatrix kills a process at each point of what it does to a store, and
// has each of those steps fail as on a broken and on a full disk.
func TestCrashMatrix(t *testing.T) {
	needRoot(t)
	for _, p := range ofStore() {
		for _, action := range []string{"kill", "eio", "enospc"} {
			t.Run(p.String()+"/"+action, func(t *testing.T) {
				t.Parallel()
				dir := memoryDir(t)
				before := runChild(t, dir, 1, "")
				if !before.through || len(before.committed) == 0 {
					t.Fatalf("without a fault: %+v", before)
				}
				got := runChild(t, dir, 0, p.String()+" "+action)
				if action == "kill" && got.through {
					t.Fatal("the point was not reached")
				}
				if action != "kill" && !strings.Contains(got.text, "failed") && p != fail.Begin {
					t.Fatal("nothing failed")
				}
				sound(t, dir, before, got)
				after := runChild(t, dir, 3, "")
				if !after.through {
					t.Fatalf("the next one does not work: %+v", after)
				}
				sound(t, dir, before, got, after)
			})
		}
	}
}

// TestCrashSoak does the same to one store over and over, at random points and
// random moments. "make soak" runs it for longer than a second.
func TestCrashSoak(t *testing.T) {
	needRoot(t)
	seed, length := soakSettings(t)
	r := rand.New(rand.NewPCG(seed, seed))
	dir := memoryDir(t)
	// The store is there: one that the disk keeps from being made is not this test's.
	tells := []told{runChild(t, dir, r.Uint64(), "")}
	rounds := 0
	for began := time.Now(); rounds == 0 || time.Since(began) < length; rounds++ {
		points := ofStore()
		p := points[r.IntN(len(points))]
		action := []string{"kill", "kill", "kill", "eio", "enospc"}[r.IntN(5)]
		tells = append(tells, runChild(t, dir, r.Uint64(), p.String()+" "+action))
		sound(t, dir, tells...)
		if t.Failed() {
			t.Fatalf("round %d, %s %s; the child said:\n%s", rounds, p, action, tells[len(tells)-1].text)
		}
		// The newest two stay, or the store would grow with every round.
		s := open(t, dir)
		list := list(t, s, redis)
		for _, c := range list[min(2, len(list)):] {
			tells[len(tells)-1].removing[c.ID] = true
		}
		if _, err := s.Retain(context.Background(), list, 2); err != nil {
			t.Fatal(err)
		}
		s.Close()
	}
	t.Logf("%d rounds", rounds)
}

// soakSettings returns the seed and the length of random tests, and prints the
// seed: SOAK_SEED makes the same choices again, SOAK_SECONDS says how long.
func soakSettings(t *testing.T) (seed uint64, length time.Duration) {
	t.Helper()
	seed, length = rand.Uint64(), time.Second
	if text := os.Getenv("SOAK_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed = n
	}
	if text := os.Getenv("SOAK_SECONDS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		length = time.Duration(n) * time.Second
	}
	fmt.Fprintf(io.Writer(os.Stderr), "SOAK_SEED=%d makes the same choices again\n", seed)
	return seed, length
}
