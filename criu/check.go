package criu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// Version is a version of CRIU or runc. The zero value is an unknown one.
type Version struct{ Major, Minor, Patch int }

// LeastVersion is the oldest CRIU that Rekindle works with: older ones fail on
// the sockets, or do not start at all, on current kernels.
var LeastVersion = Version{4, 2, 0}

// ErrNoVersion is returned for a text that names no version.
var ErrNoVersion = errors.New("no version number in the output")

// versionForm finds the first number of two or three parts that stands after
// the word version.
var versionForm = sign(`(?i)\bversion:?\s+v?(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?`)

// ParseVersion reads what `criu --version` and `runc --version` print. What
// follows the number, such as "-rc.1" or "+dev", does not count.
func ParseVersion(output string) (Version, error) {
	m := versionForm().FindStringSubmatch(output)
	if m == nil {
		return Version{}, fmt.Errorf("%w: %.80q", ErrNoVersion, strings.TrimSpace(output))
	}
	var v Version
	for i, part := range []*int{&v.Major, &v.Minor, &v.Patch} {
		if m[i+1] != "" {
			// At most six digits: there is nothing to go wrong.
			*part, _ = strconv.Atoi(m[i+1])
		}
	}
	return v, nil
}

// String returns "4.2.1".
func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch) }

// Less tells whether v is older than w.
func (v Version) Less(w Version) bool {
	switch {
	case v.Major != w.Major:
		return v.Major < w.Major
	case v.Minor != w.Minor:
		return v.Minor < w.Minor
	}
	return v.Patch < w.Patch
}

// Findings are the facts about the CRIU that is installed.
type Findings struct {
	// Path is where criu was found on the PATH.
	Path string
	// Version is that of the program.
	Version Version
	// Problem is what `criu check` complained about; empty when it did not.
	Problem string
	// DirtyTracking tells whether the kernel says which memory has changed since
	// it was last looked at.
	DirtyTracking bool
}

// Probe looks for criu on the PATH, asks it for its version and lets it check
// the kernel, which needs root. An error means that there is no criu or that it
// does not start; what the check itself finds is in Findings.
func Probe(ctx context.Context) (Findings, error) {
	path, err := exec.LookPath("criu")
	if err != nil {
		return Findings{}, fmt.Errorf("find criu: %w", err)
	}
	f := Findings{Path: path}
	out, err := exec.CommandContext(ctx, path, "--version").CombinedOutput()
	if err != nil {
		return f, fmt.Errorf("ask %s for its version: %w: %s", path, err, lastLine(string(out)))
	}
	if f.Version, err = ParseVersion(string(out)); err != nil {
		return f, fmt.Errorf("ask %s for its version: %w", path, err)
	}
	if out, err = exec.CommandContext(ctx, path, "check").CombinedOutput(); err != nil {
		f.Problem = fmt.Sprintf("%v: %s", err, complaint(string(out)))
	}
	f.DirtyTracking = exec.CommandContext(ctx, path, "check", "--feature", "mem_dirty_track").Run() == nil
	return f, nil
}

// complaint returns the first error line of a check's output, or else the last
// line.
func complaint(output string) string {
	for line := range strings.Lines(output) {
		if _, rest, found := strings.Cut(line, "Error ("); found {
			return printable(strings.TrimSpace("Error (" + rest))
		}
	}
	return lastLine(output)
}

// globalConfigs are the files that CRIU, and runc's CRIU, read on every node
// besides the one of a container.
var globalConfigs = []string{"default.conf", "runc.conf"}

// GlobalConfigs returns those of the node's own CRIU configuration files below
// dir (/etc/criu) that say anything. Their options hold for every dump and
// restore, ours included.
func GlobalConfigs(dir string) ([]string, error) {
	var found []string
	for _, name := range globalConfigs {
		path := filepath.Join(dir, name)
		data, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read CRIU configuration: %w", err)
		}
		if says(string(data)) {
			found = append(found, path)
		}
	}
	return found, nil
}

// says tells whether a configuration file has more than comments.
func says(text string) bool {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			return true
		}
	}
	return false
}
