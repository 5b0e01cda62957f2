package criu_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/rekindle-dev/rekindle/criu"
)

func TestMemoryRuns(t *testing.T) {
	const page, present, inParent = criu.PageSize, 4, 1
	head := message(1, 7)
	tests := map[string]struct {
		pagemap []byte
		pages   int64
		want    []criu.MemoryRun
		bad     bool
	}{
		"Present": {
			image(head, message(1, 0x1000, 2, 2, 4, present), message(1, 0x9000, 5, 1, 4, present)), 3 * page,
			[]criu.MemoryRun{{"pagemap-1.img", 0x1000, "pages-7.img", 0, 2 * page}, {"pagemap-1.img", 0x9000, "pages-7.img", 2 * page, page}},
			false,
		},
		"WithoutFlags": {image(head, message(1, 0x1000, 2, 1)), page, []criu.MemoryRun{{"pagemap-1.img", 0x1000, "pages-7.img", 0, page}}, false},
		"InParent":     {image(head, message(1, 0x1000, 2, 5, 3, 1), message(1, 0x9000, 2, 1, 4, present)), page, []criu.MemoryRun{{"pagemap-1.img", 0x9000, "pages-7.img", 0, page}}, false},
		"InParentFlag": {image(head, message(1, 0x1000, 2, 5, 4, inParent)), 0, nil, false},
		"Unsorted": {
			image(head, message(1, 0x9000, 2, 1, 4, present), message(1, 0x1000, 2, 1, 4, present)), 2 * page,
			[]criu.MemoryRun{{"pagemap-1.img", 0x1000, "pages-7.img", page, page}, {"pagemap-1.img", 0x9000, "pages-7.img", 0, page}},
			false,
		},
		"OtherSize":     {image(head, message(1, 0x1000, 2, 2, 4, present)), page, nil, false},
		"UnknownFlag":   {image(head, message(1, 0x1000, 2, 1, 4, present|64)), page, nil, false},
		"Nothing":       {image(head), 0, nil, false},
		"Empty":         {nil, 0, nil, true},
		"CutInLength":   {append(image(head), 1), 0, nil, true},
		"CutInMessage":  {append(image(head), 200, 0, 0, 0), 0, nil, true},
		"Noise":         {image([]byte{0xff, 0xff}), 0, nil, true},
		"TooManyPages":  {image(head, message(1, 0x1000, 5, 1<<60, 4, present)), 0, nil, true},
		"BeyondAddress": {image(head, message(1, -0x1000, 2, 9, 4, present)), 0, nil, true},
		"BetweenPages":  {image(head, message(1, 0x1001, 2, 1, 4, present)), page, nil, true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for name, data := range map[string][]byte{"pagemap-1.img": tc.pagemap, "pages-7.img": make([]byte, tc.pages), "core-1.img": nil} {
				if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, err := criu.MemoryRuns(dir)
			if errors.Is(err, criu.ErrBadImage) != tc.bad || !reflect.DeepEqual(got, tc.want) {
				t.Errorf("MemoryRuns=%+v, %v, want %+v, bad %t", got, err, tc.want, tc.bad)
			}
		})
	}
}

func TestTwins(t *testing.T) {
	run := func(space string, address uint64, offset, length int64) criu.MemoryRun {
		return criu.MemoryRun{Space: space, Address: address, File: "n", Offset: offset, Length: length}
	}
	tests := map[string]struct {
		runs, others []criu.MemoryRun
		want         []criu.Twin
	}{
		"Same":         {[]criu.MemoryRun{run("a", 100, 0, 10)}, []criu.MemoryRun{run("a", 100, 50, 10)}, []criu.Twin{{"n", "n", 0, 50, 10}}},
		"Overlap":      {[]criu.MemoryRun{run("a", 100, 0, 10)}, []criu.MemoryRun{run("a", 104, 50, 10)}, []criu.Twin{{"n", "n", 4, 50, 6}}},
		"Within":       {[]criu.MemoryRun{run("a", 100, 0, 10)}, []criu.MemoryRun{run("a", 102, 50, 3), run("a", 107, 53, 9)}, []criu.Twin{{"n", "n", 2, 50, 3}, {"n", "n", 7, 53, 3}}},
		"Apart":        {[]criu.MemoryRun{run("a", 100, 0, 10)}, []criu.MemoryRun{run("a", 110, 0, 10)}, nil},
		"OtherProcess": {[]criu.MemoryRun{run("a", 100, 0, 10)}, []criu.MemoryRun{run("b", 100, 0, 10)}, nil},
		"Some":         {[]criu.MemoryRun{run("a", 1, 0, 1), run("c", 1, 1, 1)}, []criu.MemoryRun{run("b", 1, 0, 1), run("c", 1, 1, 1)}, []criu.Twin{{"n", "n", 1, 1, 1}}},
		"None":         {nil, []criu.MemoryRun{run("a", 1, 0, 1)}, nil},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := criu.Twins(tc.runs, tc.others); !reflect.DeepEqual(got, tc.want) {
				t.Errorf("Twins=%v, want %v", got, tc.want)
			}
		})
	}
}
