package criu

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// PageSize is that of the machines whose images are read.
const PageSize = 4096

// MemoryRun is memory that lies in one piece, in its address space and in an image.
type MemoryRun struct {
	// Space names the address space: that of a process, or of shared memory. It
	// is the same in every dump of the same process.
	Space string
	// Address is where the memory is in it, in bytes.
	Address uint64
	// File is the name of the image that has it, from Offset on, in bytes.
	File   string
	Offset int64
	Length int64
}

// The flags of an entry of a page map. One that is not of these means that the
// pages are kept in a way that we do not know.
const (
	pagesInParent = 1 << iota
	pagesLazy
	pagesPresent
)

// Images may come from anybody, in an archive.
const (
	maxPagemap = 64 << 20 // bytes of one page map
	maxRuns    = 1 << 20  // runs of all
)

// MemoryRuns tells where the images in a directory have which memory, sorted by
// address space and address. An image of pages that is not exactly as long as
// its page map says is left out: its pages are kept in some other way.
func MemoryRuns(images string) ([]MemoryRun, error) {
	entries, err := os.ReadDir(images)
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	var all []MemoryRun
	for _, e := range entries {
		if !e.Type().IsRegular() || !strings.HasPrefix(e.Name(), "pagemap-") {
			continue
		}
		runs, err := pagemap(images, e.Name())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Name(), err)
		}
		if all = append(all, runs...); len(all) > maxRuns {
			return nil, fmt.Errorf("%s: %w: the memory is in more than %d pieces", e.Name(), ErrBadImage, maxRuns)
		}
	}
	slices.SortFunc(all, func(a, b MemoryRun) int {
		return cmp.Or(strings.Compare(a.Space, b.Space), cmp.Compare(a.Address, b.Address))
	})
	return all, nil
}

// pagemap reads one page map. Several may share an image of pages, one after the
// other, only in ways that CRIU does not use for what it dumps.
func pagemap(images, name string) ([]MemoryRun, error) {
	info, err := os.Stat(filepath.Join(images, name))
	if err != nil {
		return nil, fmt.Errorf("examine image: %w", err)
	}
	if info.Size() > maxPagemap {
		return nil, fmt.Errorf("%w: %d bytes", ErrBadImage, info.Size())
	}
	data, err := os.ReadFile(filepath.Join(images, name))
	if err != nil {
		return nil, fmt.Errorf("read image: %w", err)
	}
	r := pagemapReader{space: name}
	if err := messages(data, r.add); err != nil {
		return nil, err
	}
	if r.file == "" || r.unknown {
		return nil, nil
	}
	pages, err := os.Lstat(filepath.Join(images, r.file))
	if err != nil || pages.Size() != r.offset {
		return nil, nil // no pages of its own, or not as they are
	}
	return r.runs, nil
}

// pagemapReader adds up the entries of a page map: the first names the image of
// the pages, the others lie in it one after the other.
type pagemapReader struct {
	space, file string
	offset      int64
	unknown     bool
	runs        []MemoryRun
}

func (r *pagemapReader) add(message []byte) error {
	f, err := fields(message)
	if err != nil {
		return err
	}
	if r.file == "" {
		r.file = fmt.Sprintf("pages-%d.img", f[1].number)
		return nil
	}
	pages := max(f[2].number, f[5].number) // nr_pages had another number before CRIU 4.1
	flags := f[4].number
	if _, ok := f[4]; !ok && f[3].number == 0 {
		flags = pagesPresent
	}
	if flags&^(pagesInParent|pagesLazy|pagesPresent) != 0 {
		r.unknown = true
	}
	if flags&pagesPresent == 0 {
		return nil
	}
	address, length := f[1].number, int64(pages)*PageSize
	if pages > 1<<40 || address%PageSize != 0 || address+uint64(length) < address || r.offset+length < 0 {
		return fmt.Errorf("%w: %d pages at %#x", ErrBadImage, pages, address)
	}
	if len(r.runs) > maxRuns {
		return fmt.Errorf("%w: it has more than %d pieces", ErrBadImage, maxRuns)
	}
	r.runs = append(r.runs, MemoryRun{r.space, address, r.file, r.offset, length})
	r.offset += length
	return nil
}

// Twin is a place in the images of one dump where the same memory was as in a
// place of another.
type Twin struct {
	File, OtherFile     string
	Offset, OtherOffset int64
	Length              int64
}

// Twins returns where two lists of runs, as MemoryRuns returns them, have the same
// addresses. Whether the content is the same, too, is for others to see.
func Twins(runs, others []MemoryRun) []Twin {
	var twins []Twin
	for len(runs) > 0 && len(others) > 0 {
		a, b := runs[0], others[0]
		if c := strings.Compare(a.Space, b.Space); c != 0 {
			if c < 0 {
				runs = runs[1:]
			} else {
				others = others[1:]
			}
			continue
		}
		aEnd, bEnd := a.Address+uint64(a.Length), b.Address+uint64(b.Length)
		from, to := max(a.Address, b.Address), min(aEnd, bEnd)
		if from < to {
			twins = append(twins, Twin{
				File: a.File, Offset: a.Offset + int64(from-a.Address),
				OtherFile: b.File, OtherOffset: b.Offset + int64(from-b.Address), Length: int64(to - from),
			})
		}
		if aEnd <= bEnd {
			runs = runs[1:]
		}
		if bEnd <= aEnd {
			others = others[1:]
		}
	}
	return twins
}
