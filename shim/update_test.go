package shim

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func TestRewriteResources(t *testing.T) {
	const spec = `{"ociVersion":"1.1.0","big":12345678901234567890,"linux":{"cgroupsPath":"/a","resources":{"cpu":{"quota":30000,"period":100000},"memory":{"limit":100}}}}`
	tests := map[string]struct {
		change, want string
		ok           bool
	}{
		"OneField":   {`{"cpu":{"quota":50000}}`, `{"ociVersion":"1.1.0","big":12345678901234567890,"linux":{"cgroupsPath":"/a","resources":{"cpu":{"quota":50000,"period":100000},"memory":{"limit":100}}}}`, true},
		"NewField":   {`{"pids":{"limit":7}}`, `{"ociVersion":"1.1.0","big":12345678901234567890,"linux":{"cgroupsPath":"/a","resources":{"cpu":{"quota":30000,"period":100000},"memory":{"limit":100},"pids":{"limit":7}}}}`, true},
		"Nothing":    {`{}`, spec, true},
		"NotJSON":    {`{"cpu"`, spec, false},
		"Empty":      {``, spec, false},
		"OutOfPlace": {`{}}},"process":{"args":["x"]},"linux":{"resources":{}`, spec, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			bundle := t.TempDir()
			path := filepath.Join(bundle, "config.json")
			must(t, os.WriteFile(path, []byte(spec), 0o600))
			if err := rewriteResources(bundle, []byte(tc.change)); (err == nil) != tc.ok {
				t.Fatalf("error %v", err)
			}
			got, err := os.ReadFile(path)
			must(t, err)
			if !sameJSON(t, got, []byte(tc.want)) {
				t.Errorf("got %s\nwant %s", got, tc.want)
			}
			if entries, err := os.ReadDir(bundle); err != nil || len(entries) != 1 {
				t.Errorf("something was left: %v, %v", entries, err)
			}
		})
	}
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y map[string]json.RawMessage
	must(t, json.Unmarshal(a, &x))
	must(t, json.Unmarshal(b, &y))
	if string(x["big"]) != string(y["big"]) {
		return false // a number that no float can hold
	}
	var v, w any
	must(t, json.Unmarshal(a, &v))
	must(t, json.Unmarshal(b, &w))
	return reflect.DeepEqual(v, w)
}
