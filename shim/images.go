package shim

import (
	"errors"
	"fmt"
	"maps"
	"os"
)

// errImages is returned for images that are not what was dumped, by their names
// and sizes.
var errImages = errors.New("the images of the sleeping container are damaged")

// sizesOf reads which images there are, and their sizes in bytes.
func sizesOf(dir string) (map[string]int64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	sizes := make(map[string]int64, len(entries))
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return nil, fmt.Errorf("list images: %w", err)
		}
		sizes[e.Name()] = info.Size()
	}
	return sizes, nil
}

// unharmed makes sure that the images of a sleep are there, and as long as they
// were: CRIU never ends with pages that are cut off.
func (sl *sleep) unharmed() error {
	now, err := sizesOf(sl.images)
	if err != nil {
		return fmt.Errorf("%w: %w", errImages, err)
	}
	if maps.Equal(now, sl.sizes) {
		return nil
	}
	for name, size := range sl.sizes {
		if got, there := now[name]; !there || got != size {
			return fmt.Errorf("%w: %s has %d bytes, and had %d", errImages, name, got, size)
		}
	}
	return fmt.Errorf("%w: there are %d, and were %d", errImages, len(now), len(sl.sizes))
}
