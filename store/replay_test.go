package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/store"
)

// milestone is what has to survive a power cut from a position of the record on.
type milestone struct {
	position int
	sure     []string
}

// history has a store work on a disk that is recorded: it commits, marks, removes,
// retains.
func history(t *testing.T) (r *recorder, first []byte, milestones []milestone) {
	t.Helper()
	r, dir, first, end := recorded(t)
	s, err := store.Open(filepath.Join(dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	var sure []string
	note := func() { milestones = append(milestones, milestone{r.position(), slices.Clone(sure)}) }
	note()
	do := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	make1 := func() {
		cp := commit(t, s, redis)
		sure = append(sure, cp.ID)
		note()
	}
	lose := func(ids ...string) { // from here on they may be there or not
		sure = slices.DeleteFunc(sure, func(id string) bool { return slices.Contains(ids, id) })
		note()
	}
	make1()
	make1()
	do(s.Update(sure[0], func(m *store.Marks) error { m.Restores++; return nil }))
	make1()
	old := sure[0]
	lose(old)
	do(s.Remove(context.Background(), old))
	make1()
	lose(sure[0])
	_, err = s.Retain(context.Background(), list(t, s, redis), 2)
	do(err)
	make1()
	s.Close()
	end()
	return r, first, milestones
}

// surviving returns what is sure after a cut at a position.
func surviving(milestones []milestone, position int) (sure []string) {
	for _, m := range milestones {
		if m.position > position {
			// Between two milestones what the later one has lost may be lost.
			return slices.DeleteFunc(sure, func(id string) bool { return !slices.Contains(m.sure, id) && len(m.sure) < len(sure) })
		}
		sure = slices.Clone(m.sure)
	}
	return sure
}

// afterPowerCut returns the disk as it may be found: everything up to the last flush
// before the position, and of what was written since, in any order, some, each
// block of it whole or not at all.
func afterPowerCut(r *rand.Rand, first []byte, ops []diskOp, position int) []byte {
	disk := slices.Clone(first)
	flushed := 0
	for i, op := range ops[:position] {
		if op.flush() {
			flushed = i
		}
	}
	keep := []float64{0, 0.5, 0.9, 1}[r.IntN(4)]
	const sector = 4096
	for i, op := range ops[:position] {
		for from := 0; from < len(op.data); from += sector {
			if i < flushed || r.Float64() < keep {
				copy(disk[op.at+int64(from):], op.data[from:min(from+sector, len(op.data))])
			}
		}
	}
	return disk
}

// replay cuts the power at random positions until something is wrong, which it
// returns, or there were enough cuts.
func replay(t *testing.T, seed uint64, enough func(cuts int) bool) error {
	t.Helper()
	rec, first, milestones := history(t)
	r := rand.New(rand.NewPCG(seed, seed))
	for cuts := 0; !enough(cuts); cuts++ {
		position := milestones[0].position + r.IntN(len(rec.ops)-milestones[0].position+1)
		dir, halt := boot(t, afterPowerCut(r, first, rec.ops, position))
		err := soundAfter(dir, surviving(milestones, position))
		halt()
		if err != nil {
			return fmt.Errorf("cut %d, after %d of %d writes and flushes: %w", cuts, position, len(rec.ops), err)
		}
	}
	return nil
}

// soundAfter opens the store and makes sure of what must be there.
func soundAfter(dir string, sure []string) error {
	s, err := store.Open(filepath.Join(dir, "store"))
	if err != nil {
		return err
	}
	defer s.Close()
	there, err := s.List(redis)
	if err != nil {
		return err
	}
	for _, cp := range there {
		if err := s.Verify(context.Background(), cp, store.Full); err != nil {
			return err
		}
	}
	for _, id := range sure {
		if !slices.Contains(ids(there), id) {
			return errors.New(id + " was committed and is gone")
		}
	}
	return nil
}

// TestPowerLossReplay records what reaches the disk while a store works, and cuts
// the power anywhere in that: what was written since the last flush has reached the
// disk in part and in any order, or not at all. The store opens, what was
// committed is there, and what is there verifies. "make soak" does it for long.
func TestPowerLossReplay(t *testing.T) {
	seed, length := soakSettings(t)
	began, all := time.Now(), 0
	err := replay(t, seed, func(cuts int) bool {
		all = cuts
		return cuts >= 20 && time.Since(began) > length
	})
	if err != nil {
		t.Error(err)
	}
	t.Logf("%d cuts", all)
}

// TestPowerLossReplayIsFelt leaves the syncs of pages out, and some cut shows it.
func TestPowerLossReplayIsFelt(t *testing.T) {
	store.LeaveOutSyncs(t, func(path string) bool {
		return strings.HasSuffix(path, "pages-1.img") || strings.HasSuffix(path, "config.json")
	})
	if err := replay(t, 1, func(cuts int) bool { return cuts == 200 }); err == nil {
		t.Fatal("no cut has shown that files were not synced")
	}
}
