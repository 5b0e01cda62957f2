package conf_test

import (
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"unicode"

	"github.com/pelletier/go-toml/v2"

	"github.com/rekindle-dev/rekindle/conf"
)

// FuzzParse gives the loader any text: it is refused with the line and a reason
// that can be printed, or makes a configuration that is still the same, and
// still accepted, after it was written and read again.
func FuzzParse(f *testing.F) {
	shipped, err := os.ReadFile("rekindle.toml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(shipped)
	for _, text := range []string{
		"[store]\npath = '/x'",
		"limits.settle = '3s'\n[bounds]\nkeep_max=2",
		"[[a]]\nb={c=[1,{d=2}]}",
		"[\"a\\u001b[2J\"]\n\"\\u202e\" = 1",
		"[defaults]\ninterval = '9223372036854775807ns'\n[bounds]\ninterval_max = '720h'",
		"[namespaces]\nallow = ['a', '']\ndeny = []\n[store]\nmin_free = '1024TiB'",
		"[log]\nlevel = '\xff'",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, err := conf.Parse(data)
		if err != nil {
			refused(t, data, err)
			return
		}
		text, err := toml.Marshal(cfg)
		if err != nil {
			t.Fatal(err)
		}
		again, err := conf.Parse(text)
		if err != nil || !reflect.DeepEqual(again, cfg) {
			t.Fatalf("%+v\nwas read again as\n%+v, %v", cfg, again, err)
		}
	})
}

// refused makes sure that an error is about the file, all of it, and fit for a
// terminal.
func refused(t *testing.T, data []byte, err error) {
	t.Helper()
	mistakes := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		mistakes = joined.Unwrap()
	}
	for _, err := range mistakes {
		var e *conf.Error
		if !errors.As(err, &e) || !errors.Is(err, conf.ErrInvalid) {
			t.Fatalf("error of another kind: %v", err)
		}
		if e.Reason == "" || e.Line < 0 || e.Line > strings.Count(string(data), "\n")+1 {
			t.Fatalf("not a whole error: %+v", e)
		}
		if text := e.Error(); strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("unsafe text: %q", text)
		}
	}
}
