package conf

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// keyAt is one "key = value" of a file.
type keyAt struct {
	name string // with its section, as in "store.path"
	kind string // the TOML kind of the value
	line int
}

// schema maps every known key to the kind of its value.
var schema = schemaOf(reflect.TypeFor[Config](), "")

// schemaOf lists the leaves of a section's type. Sections nest as structs;
// text types such as Size are leaves.
func schemaOf(t reflect.Type, prefix string) map[string]string {
	keys := map[string]string{}
	for f := range t.Fields() {
		name := prefix + f.Tag.Get("toml")
		switch {
		case f.Type == reflect.TypeFor[Duration](), f.Type == reflect.TypeFor[Size](), f.Type.Kind() == reflect.String:
			keys[name] = "string"
		case f.Type.Kind() == reflect.Int:
			keys[name] = "integer"
		case f.Type.Kind() == reflect.Slice:
			keys[name] = "list of strings"
		case f.Type.Kind() == reflect.Struct:
			for k, kind := range schemaOf(f.Type, name+".") {
				keys[k] = kind
			}
		}
	}
	return keys
}

// Keys returns every key the file may have, with its section, in order.
func Keys() []string {
	var names []string
	for k := range schema {
		names = append(names, k)
	}
	slices.Sort(names)
	return names
}

// indexKeys lists the keys of data, up to the first mistake of syntax. The TOML
// decoder matches keys without regard to case and hands numbers to text types;
// this index is what lets both be refused, and gives later errors their line.
func indexKeys(data []byte) []keyAt {
	var (
		p       unstable.Parser
		keys    []keyAt
		section string
	)
	p.Reset(data)
	for p.NextExpression() {
		e := p.Expression()
		name, line := keyName(&p, e)
		switch e.Kind {
		case unstable.Table:
			section = name + "."
			keys = append(keys, keyAt{name: name, kind: "section", line: line})
		case unstable.ArrayTable:
			section = name + "."
			keys = append(keys, keyAt{name: name, kind: "list of sections", line: line})
		case unstable.KeyValue:
			keys = append(keys, keyAt{name: section + name, kind: valueKind(e.Value()), line: line})
		}
	}
	return keys
}

func keyName(p *unstable.Parser, e *unstable.Node) (name string, line int) {
	var parts []string
	for it := e.Key(); it.Next(); {
		k := it.Node()
		parts = append(parts, string(k.Data))
		line = p.Shape(k.Raw).Start.Line
	}
	return joinKey(parts), line
}

func joinKey(parts []string) string { return strings.Join(parts, ".") }

func valueKind(n *unstable.Node) string {
	switch n.Kind {
	case unstable.Array:
		for it := n.Children(); it.Next(); {
			if it.Node().Kind != unstable.String {
				return "list of something else"
			}
		}
		return "list of strings"
	case unstable.InlineTable:
		return "inline table"
	default:
		return strings.ToLower(n.Kind.String())
	}
}

// checkKeys refuses unknown keys and values of the wrong kind.
func checkKeys(path string, keys []keyAt) []error {
	var errs []error
	for _, k := range keys {
		e := &Error{Path: path, Line: k.line, Key: k.name}
		want, known := schema[k.name]
		switch {
		case k.kind == "section" && isSection(k.name), known && want == k.kind:
			continue
		case isSection(k.name):
			e.Reason, e.Hint = "is a section", fmt.Sprintf("write it as [%s] on a line of its own", k.name)
		case known:
			e.Reason = fmt.Sprintf("is of kind %s, not %s", want, k.kind)
			e.Hint = map[string]string{
				"string":          "put the value in quotes",
				"integer":         "write a whole number without quotes",
				"list of strings": `write it as ["a", "b"]`,
			}[want]
		default:
			e.Reason, e.Hint = "is not a known key", nearest(k.name)
		}
		errs = append(errs, e)
	}
	return errs
}

func isSection(name string) bool {
	for k := range schema {
		if strings.HasPrefix(k, name+".") {
			return true
		}
	}
	return false
}

// nearest names the known keys that differ from name in their section or case
// only; the whole list of the section otherwise.
func nearest(name string) string {
	section, last, ok := strings.Cut(name, ".")
	if !ok {
		last = name
	}
	var same, siblings []string
	for _, k := range Keys() {
		s, l, _ := strings.Cut(k, ".")
		if strings.EqualFold(l, last) {
			same = append(same, k)
		}
		if s == section {
			siblings = append(siblings, l)
		}
	}
	switch {
	case len(same) > 0:
		return "did you mean " + strings.Join(same, " or ") + "?"
	case len(siblings) > 0:
		return fmt.Sprintf("[%s] has: %s", section, strings.Join(siblings, ", "))
	default:
		return "remove it, or see the shipped rekindle.toml for what there is"
	}
}

// find returns the last place where name is set.
func find(keys []keyAt, name string) (keyAt, bool) {
	for _, k := range slices.Backward(keys) {
		if k.name == name {
			return k, true
		}
	}
	return keyAt{}, false
}

func trimPrefix(err error) string { return strings.TrimPrefix(err.Error(), "toml: ") }
