package conf_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/conf"
)

func TestShippedFile(t *testing.T) {
	t.Run("IsExactlyTheDefaults", func(t *testing.T) {
		got, err := conf.Load("rekindle.toml")
		if err != nil {
			t.Fatal(err)
		}
		if want := conf.Default(); !reflect.DeepEqual(got, want) {
			t.Fatalf("rekindle.toml=%+v, want %+v", got, want)
		}
	})
	t.Run("NamesEveryKeyWithAComment", func(t *testing.T) {
		data, err := os.ReadFile("rekindle.toml")
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range conf.Keys() {
			section, name, _ := strings.Cut(key, ".")
			_, rest, ok := strings.Cut(string(data), "\n["+section+"]\n")
			if !ok {
				t.Errorf("section [%s] is missing", section)
				continue
			}
			body, _, _ := strings.Cut(rest, "\n[")
			if !regexp.MustCompile(`(?m)^#.*\n` + name + ` = `).MatchString(body) {
				t.Errorf("key %s is missing or has no comment", key)
			}
		}
	})
}

func TestParseEmpty(t *testing.T) {
	got, err := conf.Parse(nil)
	if err != nil || !reflect.DeepEqual(got, conf.Default()) {
		t.Fatalf("Parse(nil)=%+v, %v, want the defaults", got, err)
	}
}

func TestParseValues(t *testing.T) {
	got, err := conf.Parse([]byte(`
limits.settle = "45s"
[namespaces]
allow = ["shop"]
deny = []
[store]
min_free = "2TiB"
[defaults]
interval = "1m30s"
`))
	if err != nil {
		t.Fatal(err)
	}
	want := conf.Default()
	want.Limits.Settle = conf.Seconds(45)
	want.Namespaces = conf.Namespaces{Allow: []string{"shop"}, Deny: []string{}}
	want.Store.MinFree = 2 * conf.TiB
	want.Defaults.Interval = conf.Duration{Duration: 90 * time.Second}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("Parse=%+v, want %+v", got, want)
	}
}

func TestParseMistakes(t *testing.T) {
	tests := map[string]struct {
		text string
		line int
		key  string
		want string // a part of reason and hint
	}{
		"Syntax":              {"[store]\npath = \n", 2, "", "TOML syntax"},
		"DuplicateKey":        {"[store]\npath='/a'\npath='/b'", 3, "store.path", "already defined"},
		"UnknownKey":          {"[store]\n\npaht = '/a'", 3, "store.paht", "[store] has: keys, max_age, min_free, pack_rate, path"},
		"UnknownSection":      {"[stroe]\nquota = 1", 1, "stroe", "not a known key"},
		"KeyInWrongSection":   {"[store]\nkeep = 1", 2, "store.keep", "defaults.keep"},
		"KeyInWrongCase":      {"[defaults]\nKeep = 1", 2, "defaults.Keep", "did you mean defaults.keep"},
		"DurationWithoutUnit": {"[defaults]\ninterval = 60", 2, "defaults.interval", "quotes"},
		"DurationQuotedBare":  {"[defaults]\ninterval = '60'", 2, "defaults.interval", "number and a unit"},
		"DurationNegative":    {"[defaults]\ninterval = '-60s'", 2, "defaults.interval", "not a duration"},
		"SizeDecimalUnit":     {"[store]\nmin_free = '1GB'", 2, "store.min_free", "GiB"},
		"SizeTooLarge":        {"[store]\nmin_free = '99999999TiB'", 2, "store.min_free", "not a size"},
		"SizeTooSmall":        {"[store]\nmin_free = '1B'", 2, "store.min_free", "from 16MiB"},
		"NumberQuoted":        {"[defaults]\nkeep = '3'", 2, "defaults.keep", "without quotes"},
		"NumberHuge":          {"[defaults]\nkeep = 99999999999999999999", 2, "defaults.keep", "too large"},
		"ListOfNumbers":       {"[namespaces]\nallow = [1]", 2, "namespaces.allow", `["a", "b"]`},
		"ListPattern":         {"[namespaces]\ndeny = ['kube-*']", 2, "namespaces.deny", "patterns"},
		"SectionAsValue":      {"store = 3", 1, "store", "[store]"},
		"SectionInline":       {"limits = { settle = '3s' }", 1, "limits", "[limits]"},
		"SectionList":         {"[[limits]]\nsettle = '3s'", 1, "limits", "[limits]"},
		"PathRelative":        {"[store]\npath = 'a/b'", 2, "store.path", "absolute"},
		"PathUnclean":         {"[store]\npath = '/a/../b'", 2, "store.path", "clean"},
		"PathRoot":            {"[store]\npath = '/'", 2, "store.path", "root directory"},
		"SocketTooLong":       {"[sockets]\nnri = '/" + strings.Repeat("x", 107) + "'", 2, "sockets.nri", "107"},
		"SocketTwice":         {"[sockets]\nnri = '/run/containerd/containerd.sock'", 0, "sockets.containerd", "sockets.nri"},
		"LogLevel":            {"[log]\nlevel = 'loud'", 2, "log.level", `"info"`},
		"LogFormat":           {"[log]\nformat = 'xml'", 2, "log.format", `"json"`},
		"MetricsPortOnly":     {"[metrics]\naddress = ':9464'", 2, "metrics.address", "0.0.0.0:9464"},
		"MetricsBadPort":      {"[metrics]\naddress = 'localhost:http'", 2, "metrics.address", "host:port"},
		"BoundsCrossed":       {"[bounds]\ninterval_min = '3h'\ninterval_max = '2h'", 2, "bounds.interval_min", "above"},
		"DefaultOutOfBounds":  {"[bounds]\ninterval_min = '2m'", 0, "defaults.interval", "from 2m to"},
		"KeepOutOfBounds":     {"[defaults]\nkeep = 11", 2, "defaults.keep", "1 to 10"},
		"ReadyTooLong":        {"[bounds]\nready_max = '25h'", 2, "bounds.ready_max", "24h"},
		"IdleTooSoon":         {"[bounds]\nidle_min = '10ms'", 2, "bounds.idle_min", "from 1s to"},
		"IdleBoundsCrossed":   {"[bounds]\nidle_min = '3h'\nidle_max = '2h'", 2, "bounds.idle_min", "above"},
		"IdleAfterOutOfBound": {"[defaults]\nidle_after = '10s'", 2, "defaults.idle_after", "from 30s to 24h"},
		"IdleActionUnknown":   {"[defaults]\nidle_action = 'kill'", 2, "defaults.idle_action", `"checkpoint", "suspend"`},
		"IdleActionTooMuch":   {"[bounds]\nidle_action = 'checkpoint'", 0, "defaults.idle_action", `"checkpoint" for both`},
		"IdleCPUOutOfBounds":  {"[defaults]\nidle_cpu = 501", 2, "defaults.idle_cpu", "0 to 500"},
		"IdleCPUNegative":     {"[defaults]\nidle_cpu = -1", 2, "defaults.idle_cpu", "0 to 500"},
		"IdleTrafficTooMuch":  {"[defaults]\nidle_traffic = '2MiB'", 2, "defaults.idle_traffic", "0B to 1MiB"},
		"StayAwakeTooShort":   {"[defaults]\nstay_awake = '1s'", 2, "defaults.stay_awake", "from 5s to"},
		"WakeTooOften":        {"[bounds]\nwake_min = '0s'", 2, "bounds.wake_min", "from 1s to"},
		"AtStart":             {"[sleep]\nat_start = 'yes'", 2, "sleep.at_start", `"sleep", "wake"`},
		"PageCache":           {"[sleep]\npage_cache = 'maybe'", 2, "sleep.page_cache", `"keep", "drop"`},
		"RestoreMode":         {"[defaults]\nrestore = 'always'", 2, "defaults.restore", `"auto"`},
		"RestoreTimeout":      {"[limits]\nrestore_timeout = '2m'", 2, "limits.restore_timeout", "1m30s"},
		"NoDumps":             {"[limits]\nconcurrent_dumps = 0", 2, "limits.concurrent_dumps", "1 to 64"},
		"Bandwidth":           {"[limits]\nbandwidth = '1KiB'", 2, "limits.bandwidth", "0B, or 64KiB"},
		"EncryptionTwice":     {"[encryption]\nkey_file = '/k'\nkey_command = ['/c']", 3, "encryption.key_command", "keep one of them"},
		"KeyFileRelative":     {"[encryption]\nkey_file = 'k'", 2, "encryption.key_file", "absolute"},
		"KeyCommandRelative":  {"[encryption]\nkey_command = ['cat', '/k']", 2, "encryption.key_command", "absolute"},
		"KeyCommandLong":      {"[encryption]\nkey_command = ['/c'" + strings.Repeat(", 'x'", 21) + "]", 2, "encryption.key_command", "more than 20"},
		"PlainTextMemory":     {"[encryption]\nmemory = '1KiB'", 2, "encryption.memory", "0B, or 1MiB"},
		"GhostLimit":          {"[criu]\nghost_limit = '4GiB'", 2, "criu.ghost_limit", "4095MiB"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := conf.Parse([]byte(tc.text))
			var e *conf.Error
			if !errors.As(err, &e) || !errors.Is(err, conf.ErrInvalid) {
				t.Fatalf("Parse=%v, want a *conf.Error", err)
			}
			if e.Line != tc.line || e.Key != tc.key {
				t.Errorf("at line %d key %q, want line %d key %q (%v)", e.Line, e.Key, tc.line, tc.key, err)
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %q does not say %q", err, tc.want)
			}
		})
	}
}

func TestParseReportsAllMistakes(t *testing.T) {
	_, err := conf.Parse([]byte("[log]\nlevel = 'x'\nformat = 'y'"))
	if got := strings.Count(err.Error(), "is not known"); got != 2 {
		t.Fatalf("%d mistakes in %q, want 2", got, err)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	t.Run("Missing", func(t *testing.T) {
		if _, err := conf.Load(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("Load=%v, want os.ErrNotExist", err)
		}
	})
	t.Run("NamesTheFile", func(t *testing.T) {
		path := filepath.Join(dir, "bad.toml")
		if err := os.WriteFile(path, []byte("\nx = 1"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := conf.Load(path); err == nil || !strings.HasPrefix(err.Error(), path+":2: x: ") {
			t.Fatalf("Load=%v, want it to start with file and line", err)
		}
	})
	t.Run("TooLarge", func(t *testing.T) {
		path := filepath.Join(dir, "large.toml")
		if err := os.WriteFile(path, make([]byte, 1<<20+1), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := conf.Load(path); !errors.Is(err, conf.ErrInvalid) {
			t.Fatalf("Load=%v, want ErrInvalid", err)
		}
	})
}

func TestSize(t *testing.T) {
	for text, want := range map[string]conf.Size{"0B": 0, "1B": 1, "1536KiB": 1536 * conf.KiB, "3GiB": 3 * conf.GiB} {
		var got conf.Size
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%s=%d, %v, want %d", text, got, err, want)
		}
		if got.String() != text {
			t.Errorf("String=%s, want %s", got, text)
		}
	}
	for _, text := range []string{"", "B", "1", "-1B", "1.5GiB", "1 GiB", "1gib", "+1B"} {
		if err := new(conf.Size).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}
