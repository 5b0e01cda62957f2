package crypt_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/crypt"
)

var (
	one = strings.Repeat("01", crypt.KeyBytes)
	two = strings.Repeat("02", crypt.KeyBytes)
)

func parse(t *testing.T, text string) *crypt.Keys {
	t.Helper()
	k, err := crypt.ParseKeys([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestParseKeys(t *testing.T) {
	tests := map[string]struct {
		text, err string
	}{
		"One":           {one, ""},
		"WithComments":  {"# of this node\n\n" + one + "\r\n  " + two + "\n", ""},
		"UpperCase":     {strings.ToUpper(strings.Repeat("ab", 32)), ""},
		"Empty":         {"", "there is none in it"},
		"OnlyComments":  {"# none\n", "there is none in it"},
		"Short":         {one + "\n" + one[1:], "line 2 has not the 64 hexadecimal digits"},
		"Long":          {one + "00", "line 1 has not"},
		"NotHex":        {strings.Repeat("xy", 32), "line 1 is not hexadecimal"},
		"MoreOnOneLine": {one + " " + two, "line 1 has not"},
		"TooMany":       {strings.Repeat(one+"\n", 2) + strings.Repeat(two+"\n", 2) + many(200), "more than 100"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := crypt.ParseKeys([]byte(tc.text))
			switch {
			case tc.err == "" && err != nil:
				t.Error(err)
			case tc.err != "" && (!errors.Is(err, crypt.ErrKeys) || !strings.Contains(err.Error(), tc.err)):
				t.Errorf("it says %v, want %q", err, tc.err)
			case err != nil && strings.Contains(err.Error(), "xyxy"):
				t.Error("a key is in the error")
			}
		})
	}
}

func many(n int) string {
	var text strings.Builder
	for i := range n {
		text.WriteString(strings.Repeat("0", 60) + string("0123456789abcdef"[i/16%16]) + string("0123456789abcdef"[i%16]) + "ff\n")
	}
	return text.String()
}

func FuzzParseKeys(f *testing.F) {
	f.Add([]byte(one))
	f.Add([]byte("#\n" + two + "\n" + one))
	f.Fuzz(func(t *testing.T, text []byte) {
		if k, err := crypt.ParseKeys(text); err == nil && !k.Has(k.Current()) {
			t.Error("the current key is not among them")
		}
	})
}

// TestRotation shows that a former key goes on unwrapping what it has wrapped, as
// long as it is listed.
func TestRotation(t *testing.T) {
	before := parse(t, one)
	dataKey, wrapped, err := before.New(id)
	if err != nil {
		t.Fatal(err)
	}
	after := parse(t, two+"\n"+one)
	if after.Current() == before.Current() {
		t.Fatal("the new key is not the current one")
	}
	got, err := after.Unwrap(before.Current(), wrapped, id)
	if err != nil || !bytes.Equal(got, dataKey) {
		t.Errorf("unwrap with the former key: %v", err)
	}
	if _, err := parse(t, two).Unwrap(before.Current(), wrapped, id); !errors.Is(err, crypt.ErrNoKey) {
		t.Errorf("without the former key: %v", err)
	}
}

func TestUnwrap(t *testing.T) {
	k := parse(t, one)
	dataKey, wrapped, err := k.New(id)
	if err != nil {
		t.Fatal(err)
	}
	if again, _, err := k.New(id); err != nil || bytes.Equal(again, dataKey) {
		t.Errorf("two checkpoints have one data key, %v", err)
	}
	tests := map[string]struct{ wrapped, checkpoint string }{
		"OtherCheckpoint": {wrapped, "01KKNTQ2CNDSB0KFK8NV23KZV8"},
		"Altered":         {"00" + wrapped[2:], id},
		"Shorter":         {wrapped[:40], id},
		"Empty":           {"", id},
		"NotHex":          {"no", id},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := k.Unwrap(k.Current(), tc.wrapped, tc.checkpoint); !errors.Is(err, crypt.ErrAltered) {
				t.Errorf("it says %v", err)
			}
		})
	}
}
