package policy_test

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/conf"
	"github.com/rekindle-dev/rekindle/policy"
)

var configKey = regexp.MustCompile(`^[a-z]+\.[a-z_]+$`)

// What the reference says of a key is what Resolve does with it.
func TestKeysAreAsDescribed(t *testing.T) {
	shipped := map[string]string{}
	for _, k := range conf.Reference() {
		shipped[k.Name] = strings.Trim(k.Default, `"`)
	}
	// limit returns the value of a Min or Max: a number or a key of the file.
	limit := func(t *testing.T, name string) string {
		t.Helper()
		if _, err := strconv.Atoi(name); err == nil {
			return name
		}
		value, known := shipped[name]
		if !known {
			t.Fatalf("%s is not a key of the config file", name)
		}
		return value
	}
	resolve := func(key, value string) policy.Policy {
		pod := map[string]string{dev + policy.KeyOn: "interval"}
		if value != "" {
			pod[dev+key] = value
		}
		return policy.Resolve(pod, "shop", "app", conf.Default())
	}
	for _, key := range policy.Keys() {
		t.Run(key.Name, func(t *testing.T) {
			if key.Meaning == "" || key.Type == "" || key.Default == "" || key.Example == "" || key.Bounds == "" && key.Max == "" {
				t.Errorf("the description is not complete: %+v", key)
			}
			p := resolve(key.Name, key.Example)
			followed := key.Live || p.Origins[key.Name].Source == policy.SourceAnnotation
			if len(p.Problems) > 0 || !followed {
				t.Errorf("the example is not followed: %v, from %v", p.Problems, p.Origins[key.Name])
			}
			if configKey.MatchString(key.Default) {
				if got, want := resolve(key.Name, "").Value(key.Name), limit(t, key.Default); !same(t, key.Type, got, want) {
					t.Errorf("without the annotation %s holds, want %s of %s", got, want, key.Default)
				}
			}
			if key.Max == "" {
				return
			}
			little, much := "0", "99999999"
			switch key.Type {
			case "duration":
				little, much = "1ms", "99999999h"
			case "milli-CPU":
				little, much = "0m", "99999999m"
			case "size":
				little, much = "0B", "99999GiB"
			}
			for value, name := range map[string]string{little: key.Min, much: key.Max} {
				if got, want := resolve(key.Name, value).Value(key.Name), limit(t, name); !same(t, key.Type, got, want) {
					t.Errorf("%s becomes %s, want %s of %s", value, got, want, name)
				}
			}
		})
	}
	t.Run("AllOfThem", func(t *testing.T) {
		var described []string
		for _, key := range policy.Keys() {
			if !key.Live {
				described = append(described, key.Name)
			}
		}
		slices.Sort(described)
		if got := slices.Sorted(maps.Keys(resolve("", "").Origins)); !slices.Equal(got, described) {
			t.Errorf("a policy says where %v come from, described are %v", got, described)
		}
	})
}

// same compares two values of a type, which the file may write in another way
// than an annotation.
func same(t *testing.T, kind, a, b string) bool {
	t.Helper()
	switch kind {
	case "duration", "number", "milli-CPU", "size":
		return number(t, a, kind) == number(t, b, kind)
	}
	return a == b
}

func TestRequestOf(t *testing.T) {
	tests := map[string]struct {
		pod  map[string]string
		want string
	}{
		"none":              {nil, ""},
		"of the pod":        {map[string]string{"rekindle.dev/request": "1"}, "1"},
		"of the container":  {map[string]string{"rekindle.dev/request": "1", "app.rekindle.dev/request": "2"}, "2"},
		"of another":        {map[string]string{"db.rekindle.dev/request": "2"}, ""},
		"empty for this":    {map[string]string{"rekindle.dev/request": "1", "app.rekindle.dev/request": ""}, "1"},
		"no opting in":      {map[string]string{"rekindle.dev/on": "request"}, ""},
		"in another domain": {map[string]string{"example.com/request": "1"}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := policy.RequestOf(tt.pod, "app"); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
