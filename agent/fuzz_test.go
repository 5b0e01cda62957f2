package agent

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rekindle-dev/rekindle/api"
)

// FuzzLineageOf gives a pod any names and labels: it has an identity within its
// own namespace, of its own name or of its template's, or none at all.
func FuzzLineageOf(f *testing.F) {
	const hash, job, uid, index = "pod-template-hash", jobNameLabel, jobUIDLabel, jobIndexLabel
	for _, pod := range []string{
		"redis-0", "web-66d5c8c44b-x7k2p", "intruder", "web-x-y", "a-b-c-b-zzzz", "a/b", "template.web-66d5c8c44b", "sum-x7k2p",
		"sum-0-x7k2p", "sum.u1", strings.Repeat("a", 253),
	} {
		f.Add("shop", pod, "app", "", "", "", "", "")
		f.Add("shop", pod, "app", hash, "66d5c8c44b", "", "", "")
		f.Add("shop", pod, "app", hash, "b", job, "../..", "0")
		f.Add("shop", pod, "app", job, "sum", uid, "u1", "")
		f.Add("..", pod, "\x00", job, "sum", uid, "..", "0")
	}
	f.Fuzz(func(t *testing.T, namespace, pod, name, label1, value1, label2, value2, number string) {
		labels := map[string]string{label1: value1, label2: value2, index: number}
		facts := Facts{Namespace: namespace, Pod: pod, Name: name, Labels: labels}
		l, err := lineageOf(facts)
		if err != nil {
			if !errors.Is(err, errNoIdentity) || !l.IsZero() {
				t.Fatalf("%v, with lineage %s", err, l)
			}
			return
		}
		if l.Validate() != nil || l.Namespace != namespace || l.Container != name {
			t.Fatalf("%q/%q/%q has the lineage %s", namespace, pod, name, l)
		}
		kind, workload, _ := strings.Cut(l.Workload, ".")
		owner, found := "", false
		switch kind {
		case kindPod:
			if workload != pod || shared(l) {
				t.Fatalf("pod %q has the lineage %s", pod, l)
			}
			return
		case kindTemplate:
			owner, found = strings.CutSuffix(workload, "-"+labels[hash])
			found = found && labels[hash] != "" && owner != "" && strings.HasPrefix(pod, workload+"-")
		case kindJob:
			owner, found = strings.CutSuffix(workload, "."+labels[uid])
			found = found && labels[uid] != "" && owner != "" && strings.HasPrefix(owner, labels[job]) && strings.HasPrefix(pod, owner+"-")
		}
		if !found || !shared(l) {
			t.Fatalf("pod %q with labels %q has the lineage %s", pod, labels, l)
		}
	})
}

// FuzzLoadTracked puts any bytes in the place of a container's facts: they are
// those of that container, or refused.
func FuzzLoadTracked(f *testing.F) {
	const id = "0123abc"
	f.Add([]byte(`{"id":"` + id + `","name":"app","sandbox":"s","namespace":"shop","pod":"redis-0","created":"2026-01-01T00:00:00Z"}`))
	f.Add([]byte(`{"id":"other","name":"app","sandbox":"s","namespace":"shop","pod":"redis-0"}`))
	f.Add([]byte(`{"id":"` + id + `","name":"..","namespace":"shop","pod":"redis-0"}`))
	f.Add([]byte(`{"id":"` + id + `","name":"app","namespace":"shop","pod":"p","restored_from":"../../etc"}`))
	f.Add([]byte(`{"lineage":{},"mu":{},"pid":-4}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := api.ContainerDir(filepath.Join(t.TempDir(), id))
		if err := os.Mkdir(string(dir), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(string(dir), factsFile), data, 0o600); err != nil {
			t.Fatal(err)
		}
		tr, err := loadTracked(dir)
		if err != nil {
			return
		}
		if tr.ID != id || tr.lineage.Validate() != nil || tr.dir != dir {
			t.Fatalf("container %s of %s in the directory of %s", tr.ID, tr.lineage, id)
		}
		if err := tr.save(); err != nil {
			t.Fatal(err)
		}
		if again, err := loadTracked(dir); err != nil || again.lineage != tr.lineage || again.RestoredFrom != tr.RestoredFrom {
			t.Fatalf("%+v was read again as %+v, %v", tr.Facts, again, err)
		}
	})
}

// FuzzFingerprint: what counts is told apart, and what does not count is not.
func FuzzFingerprint(f *testing.F) {
	f.Add("A=1\nB=2", "A=1\nB=2", "10.0.0.1", "sh\n-c")
	f.Add("HOSTNAME=a", "HOSTNAME=b", "", "")
	f.Add("A=x,B", "A=x\nB", "x", "\xff")
	f.Fuzz(func(t *testing.T, one, other, volatile, args string) {
		shape := func(env string) Shape {
			return Shape{Args: strings.Split(args, "\n"), Env: strings.Split(env, "\n"), Volatile: []string{volatile}}
		}
		for _, text := range []string{one, other, volatile, args} {
			if !utf8.ValidString(text) {
				return // the runtime's messages carry no other text
			}
		}
		a, b := shape(one), shape(other)
		if a.Fingerprint() != shape(one).Fingerprint() {
			t.Fatal("the same shape has two fingerprints")
		}
		same := a.Fingerprint() == b.Fingerprint()
		if want := slices.Equal(counted(a), counted(b)); same != want {
			t.Fatalf("same fingerprint: %v, want %v, for %q and %q without %q", same, want, one, other, volatile)
		}
	})
}

// counted returns the entries of the environment that belong to a shape, in
// order.
func counted(s Shape) []string {
	var out []string
	for _, entry := range s.Env {
		if !s.volatile(entry) {
			out = append(out, entry)
		}
	}
	slices.Sort(out)
	return out
}

// FuzzLogSearch feeds a log in pieces of any size: a text is found exactly when
// it stands in the message of a complete line.
func FuzzLogSearch(f *testing.F) {
	f.Add([]byte("2026-01-01T00:00:00Z stdout F Started in 3 s\n"), []byte("Started in"), 7)
	f.Add([]byte("2026-01-01T00:00:00Z stdout P Star\n2026-01-01T00:00:00Z stdout F ted\n"), []byte("Started"), 1)
	f.Add([]byte("a stdout F no end yet: Started"), []byte("Started"), 100)
	f.Add([]byte("\n\n  \nx y z \x00w\n"), []byte("\x00"), 0)
	f.Fuzz(func(t *testing.T, log, text []byte, size int) {
		if len(text) == 0 || len(log) >= maxLogLine {
			return // no such policy; too long a line is looked at in parts
		}
		lines := bytes.Split(log, []byte("\n"))
		want := slices.ContainsFunc(lines[:len(lines)-1], func(line []byte) bool {
			fields := bytes.SplitN(line, []byte(" "), 4)
			return len(fields) == 4 && bytes.Contains(fields[3], text)
		})
		s := logSearch{text: text}
		found := false
		for part := range slices.Chunk(log, min(max(size, 1), maxLogLine)) {
			found = s.feed(part) || found
		}
		if found != want {
			t.Fatalf("found=%v, want %v, for %q in %q by %d bytes", found, want, text, log, size)
		}
	})
}
