package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/conf"
	"github.com/rekindle-dev/rekindle/manifest"
)

const configFile = "/etc/rekindle/rekindle.toml"

// errMissed ends a dry run that found a container which would be left alone
// although its annotations ask for it.
var errMissed = errors.New("a container that asks to be managed would not be")

// dryRun holds the flags of explain --dry-run.
type dryRun struct {
	enabled   bool
	file      string
	config    string
	namespace string
	class     string
}

func (d *dryRun) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&d.enabled, "dry-run", false, "explain manifests before they are applied")
	f.StringVarP(&d.file, "filename", "f", "", "with --dry-run: the file of manifests; - for standard input")
	f.StringVar(&d.config, "config", "", "with --dry-run: the daemon's configuration file (default "+configFile+", or what is built in where there is none)")
	f.StringVarP(&d.namespace, "namespace", "n", "default", "with --dry-run: the namespace of what names none")
	f.StringVar(&d.class, "runtime-class", manifest.Handler, "with --dry-run: the RuntimeClass whose handler is Rekindle's")
}

// explainManifests says what would be done with the pods of a file.
func (a *app) explainManifests(d dryRun, stdin io.Reader) error {
	if err := checkNamespace(d.namespace); err != nil {
		return err
	}
	cfg, source, err := d.configuration()
	if err != nil {
		return err
	}
	set, err := d.read(stdin)
	if err != nil {
		return err
	}
	list := []report{}
	missed := 0
	for _, v := range set.Judge(cfg, d.namespace, d.class) {
		list = append(list, fromVerdict(v))
		if v.Missed {
			missed++
		}
	}
	if a.output == outputJSON {
		err = a.writeJSON(map[string]any{"configuration": source, "containers": list})
	} else {
		fmt.Fprintf(a.stdout, "configuration: %s\n\n", printable(source))
		err = a.writeReports(list)
	}
	if err == nil && missed > 0 {
		err = &failure{exitMissed, fmt.Errorf("%w (%d of %d)", errMissed, missed, len(list))}
	}
	return err
}

// configuration returns the settings of the node, and says where they are from.
func (d dryRun) configuration() (conf.Config, string, error) {
	if d.config != "" {
		cfg, err := conf.Load(d.config)
		return cfg, d.config, err
	}
	cfg, err := conf.Load(configFile)
	if errors.Is(err, os.ErrNotExist) {
		return conf.Default(), "built-in defaults, for there is no " + configFile + " here; --config names another file", nil
	}
	return cfg, configFile, err
}

func (d dryRun) read(stdin io.Reader) (manifest.Set, error) {
	if d.file == "-" {
		return manifest.Read(stdin)
	}
	f, err := os.Open(d.file)
	if err != nil {
		return manifest.Set{}, fmt.Errorf("open manifest: %w", err)
	}
	defer f.Close()
	set, err := manifest.Read(f)
	if err != nil {
		return manifest.Set{}, fmt.Errorf("%s: %w", d.file, err)
	}
	return set, nil
}

// fromVerdict puts a verdict into the form in which the daemon reports.
func fromVerdict(v manifest.Verdict) report {
	r := report{
		Object: strings.TrimSpace(fmt.Sprintf("%s %s/%s", v.Kind, v.Namespace, v.Pod)),
		Name:   v.Container, Managed: v.Managed, Why: v.Why,
		Settings: []setting{}, Problems: []problem{}, Decisions: []decision{}, Candidates: []candidate{},
	}
	for _, s := range v.Policy.Settings() {
		r.Settings = append(r.Settings, setting{s.Key, s.Value, s.From})
	}
	for _, p := range v.Policy.Problems {
		r.Problems = append(r.Problems, problem{p.Key, p.Value, p.Text()})
	}
	for _, n := range v.Notes {
		r.Notes = append(r.Notes, note{n.Field, n.Text, n.Prevents})
	}
	return r
}
