package agent

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/conf"
	"github.com/rekindle-dev/rekindle/crypt"
	"github.com/rekindle-dev/rekindle/policy"
	"github.com/rekindle-dev/rekindle/store"
)

func keysOf(t *testing.T, digits ...string) *crypt.Keys {
	t.Helper()
	var text strings.Builder
	for _, d := range digits {
		text.WriteString(strings.Repeat(d, crypt.KeyBytes) + "\n")
	}
	keys, err := crypt.ParseKeys([]byte(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// TestEncrypt makes an encrypted checkpoint of a directory, and reads it again with
// what the daemon leaves for a restore.
func TestEncrypt(t *testing.T) {
	w := newWorld(t)
	w.agent.UseKeys(keysOf(t, "01"), nil)
	c := w.container("pod", "sandbox", nil)
	st, err := w.agent.store.Begin(context.Background(), c.lineage, 0)
	if err != nil {
		t.Fatal(err)
	}
	plain := t.TempDir()
	secret, log := []byte("secret of the tenant"), []byte("log of the dump")
	err = errors.Join(os.Mkdir(filepath.Join(plain, "criu"), 0o700),
		os.WriteFile(filepath.Join(plain, "criu", "pages-1.img"), secret, 0o600),
		os.WriteFile(filepath.Join(plain, "dump.log"), log, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	m := w.agent.manifest(c, order{trigger: policy.Request, reason: "test"}, &api.DumpResponse{})
	if m.Encryption, err = w.agent.encrypt(context.Background(), st, plain); err != nil {
		t.Fatal(err)
	}
	made, err := st.Commit(context.Background(), m)
	if err != nil {
		t.Fatal(err)
	}
	if made.Schema != store.SchemaEncrypted || len(made.Files) != 2 || made.Encryption.Bytes != int64(len(secret)+len(log)) {
		t.Errorf("the manifest has schema %d, %d files, %+v", made.Schema, len(made.Files), made.Encryption)
	}
	if err := w.agent.store.Verify(context.Background(), made, store.Full); err != nil {
		t.Errorf("it does not verify without a key: %v", err)
	}
	if text, err := os.ReadFile(filepath.Join(made.Dir(), "dump.log")); err != nil || !bytes.Equal(text, log) {
		t.Errorf("the log beside it: %q, %v", text, err)
	}
	content, err := os.ReadFile(filepath.Join(made.Dir(), store.ContentName))
	if err != nil || bytes.Contains(content, secret) {
		t.Fatalf("the content can be read, %v", err)
	}
	// A former key goes on decrypting.
	w.agent.UseKeys(keysOf(t, "02", "01"), nil)
	dataKey, err := w.agent.dataKey(made.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	back := t.TempDir()
	if err := crypt.Read(context.Background(), bytes.NewReader(content), back, dataKey, made.ID); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(back, "criu", "pages-1.img")); err != nil || !bytes.Equal(got, secret) {
		t.Errorf("decrypted: %q, %v", got, err)
	}
}

func TestUndecryptable(t *testing.T) {
	e := store.Encryption{Scheme: crypt.Scheme, Key: keysOf(t, "01").Current()}
	other := e
	other.Scheme = "rot13"
	errAway := errors.New("the key service is away")
	tests := map[string]struct {
		encryption *store.Encryption
		keys       *crypt.Keys
		err        error
		want       string
	}{
		"NotEncrypted":  {nil, nil, nil, ""},
		"NoKeys":        {&e, nil, nil, "the node has none"},
		"KeysAway":      {&e, nil, errAway, "the key service is away"},
		"OtherKey":      {&e, keysOf(t, "02"), nil, "with the key " + e.Key + ", which the node does not have"},
		"UnknownScheme": {&other, keysOf(t, "01"), nil, `in a way that is not known: "rot13"`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.agent.UseKeys(tc.keys, tc.err)
			got := w.agent.undecryptable(store.Manifest{Encryption: tc.encryption})
			if tc.want == "" && got != "" || !strings.Contains(got, tc.want) {
				t.Errorf("it says %q, want %q", got, tc.want)
			}
		})
	}
}

// TestNoKeyNoCheckpoint makes sure that nothing is dumped in plain text because the
// key is missing.
func TestNoKeyNoCheckpoint(t *testing.T) {
	w := newWorld(t)
	cfg := conf.Default()
	cfg.Encryption.KeyFile = "/none"
	w.agent.config.Store(&cfg)
	c := w.container("pod", "sandbox", nil)
	st, err := w.agent.store.Begin(context.Background(), c.lineage, 0)
	if err != nil {
		t.Fatal(err)
	}
	dir, _, err := w.agent.dumpInto(st, 0)
	if !errors.Is(err, errNoKeys) || dir != "" || classOf(err) != ClassKey {
		t.Errorf("dump into %q, %v, class %s", dir, err, classOf(err))
	}
}
