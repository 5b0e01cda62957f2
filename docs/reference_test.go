// Package docs_test makes docs/reference.md of the code, and checks that it is
// up to date.
package docs_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/conf"
	"github.com/rekindle-dev/rekindle/policy"
)

var update = flag.Bool("update", false, "write reference.md")

const (
	reference = "reference.md"
	shipped   = "../conf/rekindle.toml"
)

func TestReferenceIsUpToDate(t *testing.T) {
	want := write(t)
	if *update {
		if err := os.WriteFile(reference, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Fatalf("%s is not what the code says; run make reference", reference)
	}
}

func write(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(`# Reference

Every annotation and every key of the configuration file. This file is generated from the code: change ` + "`policy/keys.go`" + `,
` + "`conf/config.go` or `conf/rekindle.toml`, and run `make reference`" + `.

## Annotations

On the pod, or in the pod template of what makes pods. What each does is told in the [user guide](user-guide.md). A value beyond
a bound is cut down to it; a value that makes no sense is ignored, and told by ` + "`rekindle explain`" + `. Defaults and bounds
with a dot in their name are keys of the [configuration file](#configuration).

| annotation | meaning | type | default | bounds | example |
|---|---|---|---|---|---|
`)
	for _, k := range policy.Keys() {
		meaning := k.Meaning
		if k.PodOnly {
			meaning += " For the whole pod only."
		}
		bounds := k.Bounds
		if k.Max != "" {
			bounds = name(k.Min) + " to " + name(k.Max)
		}
		row(&b, code(policy.Domain+"/"+k.Name), meaning, k.Type, name(k.Default), bounds, code(`"`+k.Example+`"`))
	}
	b.WriteString("\nAll but those for the whole pod can be set for one container: `<container>." + policy.Domain + "/<key>` wins over `" + policy.Domain + "/<key>`.\n")
	b.WriteString(`
## Configuration

` + "`/etc/rekindle/rekindle.toml`" + `; how to change it is told in the [operator guide](operator-guide.md#configure). A key that is
left out has its default. A duration is written ` + "`\"30s\"`, `\"5m\"` or `\"1h30m\"`, a size with one of `B`, `KiB`, `MiB`, `GiB`, `TiB`" + `.
`)
	sections, comments := readComments(t)
	section := ""
	for _, k := range conf.Reference() {
		part, last, _ := strings.Cut(k.Name, ".")
		if part != section {
			section = part
			fmt.Fprintf(&b, "\n### [%s]\n\n", section)
			if intro := sections[section]; intro != "" {
				b.WriteString(intro + "\n\n")
			}
			b.WriteString("| key | meaning | type | default | bounds | example |\n|---|---|---|---|---|---|\n")
		}
		meaning, bounds, _ := strings.Cut(comments[k.Name], "Bounds: ")
		meaning = strings.TrimSuffix(strings.TrimSpace(meaning), "<br>")
		if meaning == "" || k.Bounds == "" || bounds != k.Bounds+"." {
			t.Errorf("the comment above %s in %s is %q; it has to say what the key means and end with a line %q",
				k.Name, shipped, comments[k.Name], "Bounds: "+k.Bounds+".")
		}
		text := fmt.Sprintf("[%s]\n%s = %s\n", section, last, k.Example)
		if _, err := conf.Parse([]byte(text)); err != nil {
			t.Errorf("the example of %s is refused: %v", k.Name, err)
		}
		row(&b, code(last), meaning, k.Type, code(k.Default), name(k.Bounds), code(last+" = "+k.Example))
	}
	return b.String()
}

func row(b *strings.Builder, cells ...string) {
	for i, c := range cells {
		cells[i] = strings.ReplaceAll(c, "|", `\|`)
	}
	b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

func code(text string) string { return "`" + text + "`" }

var keyName = regexp.MustCompile(`\b[a-z]+\.[a-z_]+\b`)

// name sets the names of keys in a text as code.
func name(text string) string { return keyName.ReplaceAllStringFunc(text, code) }

var (
	sectionLine = regexp.MustCompile(`^\[(\w+)\]$`)
	keyLine     = regexp.MustCompile(`^(\w+) = `)
)

// readComments returns what the shipped file says in the comments above its
// keys, and of its sections in a paragraph of their own below the section's
// name.
func readComments(t *testing.T) (sections, keys map[string]string) {
	t.Helper()
	data, err := os.ReadFile(shipped)
	if err != nil {
		t.Fatal(err)
	}
	sections, keys = map[string]string{}, map[string]string{}
	section, comment := "", ""
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, "\n")
		text, isComment := strings.CutPrefix(line, "# ")
		switch {
		case isComment && strings.HasPrefix(text, "  "): // an item of a list
			comment += "<br>" + strings.Join(strings.Fields(text), " ")
		case isComment:
			comment = strings.TrimSpace(comment + " " + text)
		case sectionLine.MatchString(line):
			section, comment = sectionLine.FindStringSubmatch(line)[1], ""
		case keyLine.MatchString(line):
			keys[section+"."+keyLine.FindStringSubmatch(line)[1]] = comment
			comment = ""
		default:
			if section != "" && comment != "" {
				sections[section] = comment
			}
			comment = ""
		}
	}
	return sections, keys
}
