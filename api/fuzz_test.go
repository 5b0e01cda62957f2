package api_test

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/rekindle-dev/rekindle/api"
)

// FuzzRecord puts any bytes in the place of each record of a run directory:
// reading gives an error and leaves the value as it was, or a record that can
// be written and read again.
func FuzzRecord(f *testing.F) {
	for _, text := range []string{
		`{"checkpoint":"01ARZ3NDEKTSV4RRFFQ69G5FAV","dir":"/x","timeout_ns":5,"own_shm":true}`,
		`{"runc":"","images":7,"oom_score_adj":-1000}`,
		`{"status":137,"at":"2026-01-01T00:00:00Z","asked":true,"oom":true}`,
		`{"status":-1}`, `{"at":"0000-99-99"}`, `null`, `[]`, ``, `{"runc":"x"`, `{"control":"a","control":{}}`,
		`{"stop_budget_ns":-1,"took_ns":9223372036854775808}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := api.ContainerDir(t.TempDir())
		for name, r := range map[string]struct{ before, got, again any }{
			"ticket.json":  {&api.Ticket{Dir: "before"}, &api.Ticket{Dir: "before"}, &api.Ticket{}},
			"restore.json": {&api.Restore{Runc: "before"}, &api.Restore{Runc: "before"}, &api.Restore{}},
			"outcome.json": {&api.Outcome{Error: "before"}, &api.Outcome{Error: "before"}, &api.Outcome{}},
			"attach.json":  {&api.Attach{Bundle: "before"}, &api.Attach{Bundle: "before"}, &api.Attach{}},
			"exit.json":    {&api.Exit{Status: 7}, &api.Exit{Status: 7}, &api.Exit{}},
			"stop.json":    {&api.Stop{Signal: 7}, &api.Stop{Signal: 7}, &api.Stop{}},
			"orders.json":  {&api.Orders{Control: "before"}, &api.Orders{Control: "before"}, &api.Orders{}},
		} {
			if err := os.WriteFile(filepath.Join(string(dir), name), data, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := dir.Read(r.got); err != nil {
				if !reflect.DeepEqual(r.got, r.before) {
					t.Fatalf("%s: refused with %v, and yet the value became %+v", name, err, r.got)
				}
				continue
			}
			if err := dir.Write(r.got); err != nil {
				t.Fatalf("%s: write %+v: %v", name, r.got, err)
			}
			if err := dir.Read(r.again); err != nil || !reflect.DeepEqual(r.again, r.got) {
				t.Fatalf("%s: %+v was read again as %+v, %v", name, r.got, r.again, err)
			}
		}
	})
}

func FuzzContainerDirOf(f *testing.F) {
	for _, id := range []string{"a", "..", "a/../b", "a.b-c_d", "", "a\x00", ".a", "a..b"} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		dir, err := api.ContainerDirOf(id)
		if err == nil && (filepath.Dir(string(dir)) != api.RunDir+"/containers" || filepath.Base(string(dir)) != id) {
			t.Fatalf("%q has the directory %q", id, dir)
		}
	})
}
