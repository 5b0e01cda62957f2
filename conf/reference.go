package conf

import (
	"fmt"
	"reflect"
	"strconv"
)

// Key describes one key of the file, for docs/reference.md. What it means is
// said by the comment above it in rekindle.toml.
type Key struct {
	// Name has its section, as in "store.path".
	Name string
	// Type says what kind of value it has: duration, size, number, text or list.
	Type string
	// Default is the value of a file that leaves the key out, as the file
	// would write it.
	Default string
	// Bounds says which values are accepted.
	Bounds string
	// Example is a value that is accepted, as the file would write it.
	Example string
}

// Reference describes every key, in the order of [Config]. The bounds are
// those that validation has just applied to the defaults; the example is the
// field's tag of that name, or else the default.
func Reference() []Key {
	cfg := Default()
	c := &checker{rules: map[string]string{}}
	c.all(cfg)
	var keys []Key
	describe(reflect.ValueOf(cfg), "", func(k Key) {
		k.Bounds = c.rules[k.Name]
		keys = append(keys, k)
	})
	return keys
}

// describe visits the leaves of a section, as schemaOf does.
func describe(v reflect.Value, prefix string, visit func(Key)) {
	for f, value := range v.Fields() {
		name := prefix + f.Tag.Get("toml")
		if f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[Duration]() {
			describe(value, name+".", visit)
			continue
		}
		k := Key{Name: name, Example: f.Tag.Get("example")}
		k.Type, k.Default = literal(value.Interface())
		if k.Example == "" {
			k.Example = k.Default
		}
		visit(k)
	}
}

// literal names the type of a value and writes it as the file does.
func literal(value any) (kind, text string) {
	switch v := value.(type) {
	case Duration:
		return "duration", strconv.Quote(v.String())
	case Size:
		return "size", strconv.Quote(v.String())
	case string:
		return "text", strconv.Quote(v)
	case int:
		return "number", strconv.Itoa(v)
	case []string:
		text := ""
		for i, s := range v {
			if i > 0 {
				text += ", "
			}
			text += strconv.Quote(s)
		}
		return "list", "[" + text + "]"
	}
	return fmt.Sprintf("%T", value), fmt.Sprint(value)
}
