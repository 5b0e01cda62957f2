package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/conf"
	"github.com/rekindle-dev/rekindle/crypt"
)

func TestKeyCommand(t *testing.T) {
	key := strings.Repeat("0a", crypt.KeyBytes)
	tests := map[string]struct {
		script string
		want   error // nil: some error
		good   bool
	}{
		"Keys":     {"echo " + key, nil, true},
		"NoKeys":   {"echo later", crypt.ErrKeys, false},
		"Nothing":  {":", crypt.ErrKeys, false},
		"Fails":    {"echo " + key + "; exit 3", nil, false},
		"TooLong":  {"while echo " + key + "; do :; done", nil, false},
		"Takes":    {"exec sleep 60", context.DeadlineExceeded, false},
		"NotThere": {"exec /none", nil, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			began := time.Now()
			keys, err := loadKeys(ctx, conf.Encryption{KeyCommand: []string{"/bin/sh", "-c", tc.script}})
			switch {
			case tc.good && (err != nil || !keys.Has(keys.Current())):
				t.Errorf("it says %v", err)
			case !tc.good && (err == nil || tc.want != nil && !errors.Is(err, tc.want)):
				t.Errorf("it says %v, want %v", err, tc.want)
			case strings.Contains(textOf(err), key):
				t.Error("a key is in the error")
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
