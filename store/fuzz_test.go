package store_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rekindle-dev/rekindle/store"
)

// FuzzManifest reads any bytes, and then the same with a digest that fits: what
// is accepted is canonical and its paths stay within the checkpoint.
func FuzzManifest(f *testing.F) {
	f.Add(example(f))
	f.Add(encryptedExample(f))
	f.Add([]byte(`{"schema": 2}`))
	f.Add([]byte(`{"schema": 2, "files": [{"path": "%"}]}`))
	f.Add([]byte(`{"schema": 2, "id": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "namespace": "n", "workload": "w", "container": "c", "files": [{"path": "../x", "type": "dir"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		accepted(t, data)
		var m store.Manifest
		if json.Unmarshal(data, &m) != nil {
			return
		}
		sealed, err := store.Seal(m, exampleKeyID, exampleKey())
		if err != nil {
			return
		}
		accepted(t, sealed)
	})
}

// accepted checks what ParseManifest makes of data.
func accepted(t *testing.T, data []byte) {
	t.Helper()
	m, err := store.ParseManifest(data)
	if err != nil {
		if !errors.Is(err, store.ErrCorrupt) && !errors.Is(err, store.ErrSchema) {
			t.Fatalf("error of another kind: %v", err)
		}
		return
	}
	again, err := m.Encode()
	if err != nil || !bytes.Equal(again, data) {
		t.Fatalf("not canonical: %v", err)
	}
	if m.Lineage.Validate() != nil || !filepath.IsLocal(m.ID) || m.Pause < 0 || m.Dump < 0 || m.Bytes < 0 {
		t.Fatalf("accepted: %+v", m)
	}
	for _, file := range m.Files {
		if !filepath.IsLocal(file.Path) || file.Type == store.TypeHardlink && !filepath.IsLocal(file.Link) {
			t.Fatalf("path %q or link %q leaves the checkpoint", file.Path, file.Link)
		}
	}
}

// FuzzMarks puts any bytes in the place of a checkpoint's marks: they are
// refused as corrupt, or within what Update would have written.
func FuzzMarks(f *testing.F) {
	f.Add([]byte(`{"claimedBy":"s1","attempts":2,"failures":[{"time":"2026-01-01T00:00:00Z","reason":"x"}],"completed":true}`))
	f.Add([]byte(`{"attempts":-1}`))
	f.Add([]byte(`{"attempts":1e3}`))
	f.Add([]byte(`{"failures":[` + strings.Repeat(`{},`, 40) + `{"reason":"` + strings.Repeat("x", 2000) + `\ud800"}]}`))
	f.Add([]byte(`{"claimedBy":"` + strings.Repeat("x", 2000) + `"}`))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := store.ParseMarks(data)
		if err != nil {
			if !errors.Is(err, store.ErrCorrupt) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		if m.Attempts < 0 || len(m.Failures) > 16 || len(m.ClaimedBy) > 1024 {
			t.Fatalf("accepted: %+v", m)
		}
		for _, failure := range m.Failures {
			if len(failure.Reason) > 1024 || !utf8.ValidString(failure.Reason) {
				t.Fatalf("accepted: %.100q", failure.Reason)
			}
		}
		text, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		again, err := store.ParseMarks(text)
		if err != nil {
			t.Fatalf("read again: %v", err)
		}
		if same, err := json.Marshal(again); err != nil || !bytes.Equal(same, text) {
			t.Fatalf("%s was read again as %s, %v", text, same, err)
		}
	})
}

// Marks that nobody can make sense of put their checkpoint out of use.
func TestMarksThatAreCorrupt(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	c := commit(t, s, redis)
	for name, text := range map[string]string{
		"Empty": "", "Negative": `{"attempts":-3}`, "OtherKind": `{"attempts":"2"}`, "Cut": `{"attempts":2`, "TooLong": strings.Repeat(" ", 1<<17) + "{}",
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(filepath.Join(dir, "marks", c.ID+".json"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if m, err := s.Marks(c.ID); !errors.Is(err, store.ErrCorrupt) {
				t.Fatalf("Marks=%+v, %v, want ErrCorrupt", m, err)
			}
		})
	}
}

func FuzzEscape(f *testing.F) {
	f.Add("a%41\xff\n")
	f.Fuzz(func(t *testing.T, name string) {
		if got := store.Unescape(store.Escape(name)); got != name {
			t.Fatalf("%q came back as %q", name, got)
		}
	})
}
