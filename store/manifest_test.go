package store_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/store"
)

// example returns the first manifest printed in the format document, and
// encryptedExample the second.
func example(t testing.TB) []byte          { return exampleOf(t, 0) }
func encryptedExample(t testing.TB) []byte { return exampleOf(t, 1) }

func exampleOf(t testing.TB, n int) []byte {
	t.Helper()
	doc, err := os.ReadFile(filepath.Join("..", "docs", "checkpoint-format.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(doc), "```json\n")
	if len(blocks) < n+2 {
		t.Fatal("the document has no such example")
	}
	text, _, end := strings.Cut(blocks[n+1], "```\n")
	if !end {
		t.Fatal("the document's example has no end")
	}
	return []byte(text)
}

// The document's example is sealed with the key of the bytes 0 to 31.
const exampleKeyID = "01KKNT0000000000000000000A"

func exampleKey() []byte {
	key := make([]byte, 32)
	for i := range key {
		key[i] = byte(i)
	}
	return key
}

func TestDocument(t *testing.T) {
	data := example(t)
	t.Run("ExamplesHaveTheirMAC", func(t *testing.T) {
		for _, data := range [][]byte{data, encryptedExample(t)} {
			m, err := store.ParseManifest(data)
			if err != nil {
				t.Fatal(err)
			}
			sealed, err := store.Seal(m, exampleKeyID, exampleKey())
			if err != nil || !bytes.Equal(sealed, data) {
				t.Fatalf("sealed with the document's key the example reads, %v:\n%s", err, sealed)
			}
		}
	})
	t.Run("ExampleIsAManifest", func(t *testing.T) {
		m, err := store.ParseManifest(data)
		if err != nil {
			t.Fatal(err)
		}
		if m.Lineage != redis || len(m.Files) == 0 {
			t.Fatalf("manifest=%+v", m)
		}
	})
	t.Run("TablesNameEveryField", func(t *testing.T) {
		doc, err := os.ReadFile(filepath.Join("..", "docs", "checkpoint-format.md"))
		if err != nil {
			t.Fatal(err)
		}
		full, err := json.Marshal(store.Manifest{Set: []store.Member{{}}, Encryption: &store.Encryption{}, Files: []store.File{{Link: "x", Xattrs: "x", SHA256: "x"}}})
		if err != nil {
			t.Fatal(err)
		}
		var top map[string]any
		if err := json.Unmarshal(full, &top); err != nil {
			t.Fatal(err)
		}
		for _, fields := range []map[string]any{top, top["files"].([]any)[0].(map[string]any), top["encryption"].(map[string]any)} {
			for name := range fields {
				if !bytes.Contains(doc, []byte("\n| `"+name+"` |")) {
					t.Errorf("no table has %s", name)
				}
			}
		}
	})
}

func TestParseManifestRefuses(t *testing.T) {
	good := string(example(t))
	edit := func(from, to string) string {
		if !strings.Contains(good, from) {
			t.Fatalf("the example has no %s", from)
		}
		return strings.Replace(good, from, to, 1)
	}
	tests := map[string]struct {
		text string
		want error
	}{
		"Empty":          {"", store.ErrCorrupt},
		"NotJSON":        {"{", store.ErrCorrupt},
		"Null":           {"null", store.ErrSchema},
		"NewerSchema":    {edit(`"schema": 2`, `"schema": 4`), store.ErrSchema},
		"NotEncrypted":   {edit(`"schema": 2`, `"schema": 3`), store.ErrCorrupt},
		"OlderSchema":    {edit(`"schema": 2`, `"schema": 1`), store.ErrSchema},
		"NoSchema":       {"{}", store.ErrSchema},
		"SchemaText":     {edit(`"schema": 2`, `"schema": "2"`), store.ErrCorrupt},
		"UnknownKey":     {edit(`"node"`, `"extra": 1, "node"`), store.ErrCorrupt},
		"DuplicateKey":   {edit(`"node"`, `"node": "x", "node"`), store.ErrCorrupt},
		"OtherCase":      {edit(`"node"`, `"Node"`), store.ErrCorrupt},
		"OtherSpace":     {edit(`"node": `, `"node":  `), store.ErrCorrupt},
		"Trailing":       {good + "{}", store.ErrCorrupt},
		"TrailingSpace":  {good + "\n", store.ErrCorrupt},
		"InvalidUTF8":    {edit(`"node": "`, "\"node\": \"\xff"), store.ErrCorrupt},
		"ChangedValue":   {edit(`"namespace": "shop"`, `"namespace": "shoq"`), store.ErrCorrupt},
		"ChangedDigest":  {edit(`"digest": "sha256:`, `"digest": "sha256:0`), store.ErrCorrupt},
		"TooLarge":       {good + strings.Repeat(" ", store.MaxManifest), store.ErrCorrupt},
		"NoMAC":          {edit(`"mac": "hmac-sha256:`, `"mac": "`), store.ErrCorrupt},
		"DeeplyNested":   {strings.Repeat("[", 1<<20), store.ErrCorrupt},
		"HugeNumber":     {edit(`"schema": 2`, `"schema": 1e99`), store.ErrCorrupt},
		"NegativeSchema": {edit(`"schema": 2`, `"schema": -1`), store.ErrSchema},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := store.ParseManifest([]byte(tc.text)); !errors.Is(err, tc.want) {
				t.Fatalf("ParseManifest=%v, want %v", err, tc.want)
			}
		})
	}
}

// TestParseManifestChecks seals manifests that are wrong in themselves, as
// somebody could who knows how digests are made.
func TestParseManifestChecks(t *testing.T) {
	sum := strings.Repeat("0", 64)
	file := func(path string) store.File { return store.File{Path: path, Type: store.TypeFile, SHA256: sum} }
	files := map[string][]store.File{
		"Absolute":          {file("/etc/shadow")},
		"DotDot":            {file("criu/../../x")},
		"Dot":               {file("./x")},
		"DoubleSlash":       {file("criu//x")},
		"EmptyPath":         {file("")},
		"NUL":               {file("a\x00b")},
		"LongName":          {file(strings.Repeat("x", 256))},
		"TooDeep":           {file(strings.Repeat("d/", 300) + "x")},
		"Repeated":          {file("a"), file("a")},
		"OutOfOrder":        {file("b"), file("a")},
		"TheManifest":       {file("manifest.json")},
		"NoDigest":          {{Path: "a", Type: store.TypeFile}},
		"UpperDigest":       {{Path: "a", Type: store.TypeFile, SHA256: strings.Repeat("A", 64)}},
		"ShortDigest":       {{Path: "a", Type: store.TypeFile, SHA256: "00"}},
		"DigestOfDir":       {{Path: "a", Type: store.TypeDir, SHA256: sum}},
		"NegativeSize":      {{Path: "a", Type: store.TypeFile, Size: -1, SHA256: sum}},
		"SizeOfDir":         {{Path: "a", Type: store.TypeDir, Size: 1}},
		"Overflow":          {{Path: "a", Type: store.TypeFile, Size: 1 << 62, SHA256: sum}, {Path: "b", Type: store.TypeFile, Size: 1 << 62, SHA256: sum}},
		"Mode":              {{Path: "a", Type: store.TypeDir, Mode: 0o10000}},
		"UnknownType":       {{Path: "a", Type: "door"}},
		"SymlinkOutside":    {{Path: "criu/a", Type: store.TypeSymlink, Link: "x"}},
		"RootfsIsALink":     {{Path: "rootfs", Type: store.TypeSymlink, Link: "/"}},
		"SymlinkNowhere":    {{Path: "rootfs/a", Type: store.TypeSymlink}},
		"LinkOfFile":        {{Path: "rootfs/a", Type: store.TypeFile, Link: "x", SHA256: sum}},
		"HardlinkToLater":   {{Path: "rootfs/a", Type: store.TypeHardlink, Link: "rootfs/b"}},
		"HardlinkOutside":   {{Path: "rootfs/a", Type: store.TypeHardlink, Link: "../a"}},
		"WhiteoutInCRIU":    {{Path: "criu/a", Type: store.TypeWhiteout}},
		"RootfsLookalike":   {{Path: "rootfsx/a", Type: store.TypeWhiteout}},
		"BytesDoNotFitSize": {{Path: "a", Type: store.TypeFile, Size: 7, SHA256: sum}},
	}
	base, err := store.ParseManifest(example(t))
	if err != nil {
		t.Fatal(err)
	}
	spoil := map[string]func(*store.Manifest){
		"ID":           func(m *store.Manifest) { m.ID = "../x" },
		"LowerID":      func(m *store.Manifest) { m.ID = strings.ToLower(m.ID) },
		"Namespace":    func(m *store.Manifest) { m.Namespace = ".." },
		"Parent":       func(m *store.Manifest) { m.Parent = "x" },
		"RestoredFrom": func(m *store.Manifest) { m.RestoredFrom = "/" },
		"KeyID":        func(m *store.Manifest) { m.ID = "../key" },
		"Pause":        func(m *store.Manifest) { m.Pause = -1 },
		"LongReason":   func(m *store.Manifest) { m.Reason = strings.Repeat("x", 5000) },
	}
	set := func(members ...store.Member) func(*store.Manifest) {
		return func(m *store.Manifest) { m.Set = members }
	}
	own := store.Member{Container: base.Container, ID: base.ID}
	sibling := store.Member{Container: "zoo", ID: "01KKNTQ2CNDSB0KFK8NV23KZV8"}
	spoil["SetOfOthers"] = set(sibling)
	spoil["SetOutOfOrder"] = set(sibling, own)
	spoil["SetRepeats"] = set(own, own)
	spoil["SetRepeatsID"] = set(own, store.Member{Container: "zoo", ID: own.ID})
	spoil["SetBadID"] = set(own, store.Member{Container: "zoo", ID: "../x"})
	spoil["SetBadName"] = set(own, store.Member{Container: "zoo/..", ID: sibling.ID})
	spoil["SetTooLarge"] = func(m *store.Manifest) {
		m.Set = []store.Member{own}
		for i := range store.MaxSet {
			m.Set = append(m.Set, store.Member{Container: fmt.Sprintf("zoo%03d", i), ID: fmt.Sprintf("01KKNTQ2CNDSB0KFK8NV23K%03d", i)})
		}
	}
	t.Run("SoundSet", func(t *testing.T) {
		m := base
		m.Set = []store.Member{own, sibling}
		data, err := store.Seal(m, exampleKeyID, exampleKey())
		if err != nil {
			t.Fatal(err)
		}
		got, err := store.ParseManifest(data)
		if err != nil || !slices.Equal(got.Set, m.Set) {
			t.Fatalf("Set=%v, %v, want %v", got.Set, err, m.Set)
		}
	})
	for name, list := range files {
		spoil[name] = func(m *store.Manifest) { m.Files, m.Bytes = list, 0 }
	}
	for name, fn := range spoil {
		t.Run(name, func(t *testing.T) {
			m := base
			fn(&m)
			data, err := store.Seal(m, exampleKeyID, exampleKey())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := store.ParseManifest(data); !errors.Is(err, store.ErrCorrupt) {
				t.Fatalf("ParseManifest=%v, want ErrCorrupt", err)
			}
		})
	}
}

func TestEscape(t *testing.T) {
	for name, want := range map[string]string{
		"plain": "plain", "a b": "a b", "é": "é", "%": "%25", "\n": "%0A", "caf\xe9": "caf%E9", "\ufffd": "\ufffd", "\x7f": "%7F",
	} {
		got := store.Escape(name)
		if got != want || store.Unescape(got) != name {
			t.Errorf("Escape(%q)=%q, want %q and back", name, got, want)
		}
	}
}

// TestFormerSchema reads what the version before this one has written: nothing is
// restored from it, and it is said why.
func TestFormerSchema(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	const id = "01KKNTQ2CNDSB0KFK8NV23KZV7"
	place := filepath.Join(dir, "checkpoints/shop/redis-0/redis", id)
	write(t, filepath.Join(place, "manifest.json"), string(read(t, "testdata/schema-1.json")))
	wantIDs(t, list(t, s, redis))
	broken, err := s.Broken(redis)
	if err != nil || len(broken) != 1 || !errors.Is(broken[0].Err, store.ErrSchema) || !strings.Contains(broken[0].Err.Error(), "schema 1") {
		t.Fatalf("Broken=%v, %v", broken, err)
	}
	// It stays where it is, for the version that knows it.
	s.Close()
	open(t, dir)
	if _, err := os.Stat(place); err != nil {
		t.Fatal(err)
	}
}
