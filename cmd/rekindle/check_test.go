package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/conf"
)

// A node on which everything is as it should be, made of scripts.
type fakeNode struct {
	dir      string
	programs map[string]string // name to what it prints for --version
	dump     string            // what containerd's configuration is
	config   string            // rekindle.toml
}

func goodNode(t *testing.T) *fakeNode {
	t.Helper()
	dir := t.TempDir()
	n := &fakeNode{dir: dir, programs: map[string]string{
		"criu": "Version: 4.2.1", "runc": "runc version 1.5.2", "tar": "tar (GNU tar) 1.34",
		"containerd":                  "containerd github.com/containerd/containerd/v2 v2.4.2 abc",
		"containerd-shim-rekindle-v2": "", "rekindle-runc": "",
	}}
	n.dump = fmt.Sprintf(`version = 3
[plugins.'io.containerd.nri.v1.nri']
  disable = false
  socket_path = '%[1]s/nri.sock'
[plugins.'io.containerd.cri.v1.runtime'.containerd]
  default_runtime_name = 'runc'
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = 'io.containerd.runc.v2'
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      SystemdCgroup = true
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.rekindle]
    runtime_type = 'io.containerd.runc.v2'
    runtime_path = '%[1]s/bin/containerd-shim-rekindle-v2'
    container_annotations = ['io.kubernetes.pod.terminationGracePeriod']
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.rekindle.options]
      SystemdCgroup = true
`, dir)
	n.config = fmt.Sprintf("[store]\npath = %q\nmin_free = \"16MiB\"\n[sockets]\nnri = %q\n", dir+"/store/not/made/yet", dir+"/nri.sock")
	listener, err := net.Listen("unix", dir+"/nri.sock")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return n
}

func (n *fakeNode) write(t *testing.T) {
	t.Helper()
	bin := filepath.Join(n.dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, output := range n.programs {
		script := fmt.Sprintf("#!/bin/sh\n[ \"$1 $2\" != 'config dump' ] || exec /bin/cat '%s/dump.toml'\n[ \"$3\" != config ] || exec /bin/cat \"$2\"\necho '%s'\n", n.dir, output)
		if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"dump.toml": n.dump, "rekindle.toml": n.config} {
		if err := os.WriteFile(filepath.Join(n.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin)
}

func TestCheck(t *testing.T) {
	tests := map[string]struct {
		change  func(n *fakeNode)
		missing string // names of the checks
		found   string // part of the output
	}{
		"Good":           {func(*fakeNode) {}, "", "4.2.1"},
		"NoCRIU":         {func(n *fakeNode) { delete(n.programs, "criu") }, "criu", "install CRIU 4.2"},
		"OldCRIU":        {func(n *fakeNode) { n.programs["criu"] = "Version: 4.1.1" }, "criu", "version 4.1.1"},
		"NoRunc":         {func(n *fakeNode) { delete(n.programs, "runc") }, "runc", "install runc"},
		"OldRunc":        {func(n *fakeNode) { n.programs["runc"] = "runc version 1.1.15" }, "", "tested with runc"},
		"OtherTar":       {func(n *fakeNode) { n.programs["tar"] = "bsdtar 3.7" }, "tar", "is not GNU tar"},
		"NoContainerd":   {func(n *fakeNode) { delete(n.programs, "containerd") }, "containerd,runtime handler", "2.0 or newer"},
		"OldContainerd":  {func(n *fakeNode) { n.programs["containerd"] = "containerd containerd.io 1.7.27 x" }, "containerd,runtime handler", "2.0 or newer"},
		"BadDump":        {func(n *fakeNode) { n.dump = "x = [" }, "containerd,runtime handler", "read containerd's configuration"},
		"NoHandler":      {replaceDump("runtimes.rekindle", "runtimes.other"), "runtime handler", "conf.d"},
		"OtherType":      {replaceDump("runc.v2'\n    runtime_path", "rekindle.v2'\n    runtime_path"), "runtime handler", "set runtime_type"},
		"NoPath":         {replaceDump("runtime_path", "ignored"), "runtime handler", "set runtime_path"},
		"OtherCgroups":   {replaceDump("rekindle.options]\n      SystemdCgroup = true", "rekindle.options]\n      SystemdCgroup = false"), "runtime handler", "false here and true"},
		"NoGrace":        {replaceDump("container_annotations", "ignored"), "", "cut down to a pod's grace period"},
		"NoShim":         {func(n *fakeNode) { delete(n.programs, "containerd-shim-rekindle-v2") }, "shim", "not there"},
		"NoExecutor":     {func(n *fakeNode) { delete(n.programs, "rekindle-runc") }, "shim", "same folder"},
		"NRIDisabled":    {replaceDump("disable = false", "disable = true"), "nri", "NRI is disabled"},
		"NRIElsewhere":   {replaceDump("nri.sock", "nri2.sock"), "nri", "sockets.nri"},
		"NoNRISocket":    {func(n *fakeNode) { _ = os.Remove(n.dir + "/nri.sock") }, "nri", "is not there"},
		"BadConfig":      {func(n *fakeNode) { n.config = "[store]\nwhere = 1\n" }, "nri,config", "store.where"},
		"NoKeyFile":      {func(n *fakeNode) { n.config += "[encryption]\nkey_file = \"/none/keys\"\n" }, "encryption", "openssl rand -hex 32"},
		"KeyCommand":     {func(n *fakeNode) { n.config += "[encryption]\nkey_command = [\"/bin/keys\"]\n" }, "", "keys from /bin/keys"},
		"NotEncrypted":   {func(*fakeNode) {}, "", "memory in plain text"},
		"NotEnoughSpace": {func(n *fakeNode) { n.config = strings.ReplaceAll(n.config, "16MiB", "1000000GiB") }, "store", "no dump is started"},
	}
	socket := serve(t)
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			n := goodNode(t)
			tc.change(n)
			n.write(t)
			code, stdout, stderr := execute(t, "check", "--socket", socket, "--config", n.dir+"/rekindle.toml")
			var missing []string
			for line := range strings.Lines(stdout) {
				if name, rest, found := strings.Cut(line, "  "); found && strings.HasPrefix(strings.TrimSpace(rest), statusMissing) {
					missing = append(missing, name)
				}
			}
			if got := strings.Join(missing, ","); got != tc.missing {
				t.Errorf("missing=%q, want %q", got, tc.missing)
			}
			if want := exitMissing * min(1, len(missing)); code != want {
				t.Errorf("code=%d, want %d: %s", code, want, stderr)
			}
			if !strings.Contains(stdout, tc.found) {
				t.Errorf("stdout lacks %q", tc.found)
			}
			if t.Failed() {
				t.Log(stdout)
			}
		})
	}
}

func replaceDump(old, with string) func(*fakeNode) {
	return func(n *fakeNode) { n.dump = strings.ReplaceAll(n.dump, old, with) }
}

func TestCheckNamesOtherContainerdConfig(t *testing.T) {
	n := goodNode(t)
	n.write(t)
	other := filepath.Join(n.dir, "other.toml")
	if err := os.WriteFile(other, []byte("version = 3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, _ := execute(t, "check", "-o", "json", "--socket", serve(t), "--config", n.dir+"/rekindle.toml", "--containerd-config", other)
	if code != exitMissing || !strings.Contains(stdout, "no runtime handler") || !strings.Contains(stdout, `"ok": false`) {
		t.Fatalf("code=%d:\n%s", code, stdout)
	}
}

func TestCheckWarns(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "runc.conf"), []byte("tcp-established\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		got   finding
		want  string
		found string
	}{
		"NotRoot":          {checkUser(1000), statusWarn, "sudo"},
		"Root":             {checkUser(0), statusOK, "root"},
		"CRIUConfig":       {checkCRIUConfigs(dir), statusWarn, "runc.conf"},
		"NoCRIUConfig":     {checkCRIUConfigs(filepath.Join(dir, "none")), statusOK, "no node-wide"},
		"StoreInMemory":    {checkStore(conf.Store{Path: "/dev/shm/rekindle", MinFree: 1}), statusWarn, "reboot"},
		"KernelWithoutRun": {checkKernel("/proc"), statusWarn, "tmpfs"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if tc.got.Status != tc.want || !strings.Contains(tc.got.Found+tc.got.Advice, tc.found) {
				t.Fatalf("%+v, want %s and %q", tc.got, tc.want, tc.found)
			}
		})
	}
}
