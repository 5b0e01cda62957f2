package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/rekindle-dev/rekindle/criu"
)

const (
	handlerName = "rekindle"
	runcType    = "io.containerd.runc.v2"
	shimName    = "containerd-shim-rekindle-v2"
	runcName    = "rekindle-runc"
)

// leastContainerd is the first with NRI and the CRI plugins of this layout.
var leastContainerd = criu.Version{Major: 2}

// containerdConfig is the part of containerd's configuration that counts here.
type containerdConfig struct {
	Version int `toml:"version"`
	Plugins struct {
		Runtime struct {
			Containerd struct {
				Default  string                    `toml:"default_runtime_name"`
				Runtimes map[string]runtimeHandler `toml:"runtimes"`
			} `toml:"containerd"`
		} `toml:"io.containerd.cri.v1.runtime"`
		NRI struct {
			Disable bool   `toml:"disable"`
			Socket  string `toml:"socket_path"`
		} `toml:"io.containerd.nri.v1.nri"`
	} `toml:"plugins"`
}

type runtimeHandler struct {
	Type    string `toml:"runtime_type"`
	Path    string `toml:"runtime_path"`
	Options struct {
		SystemdCgroup bool `toml:"SystemdCgroup"`
	} `toml:"options"`
	Annotations []string `toml:"container_annotations"`
}

// graceAnnotation is the kubelet's note of a pod's grace period.
const graceAnnotation = "io.kubernetes.pod.terminationGracePeriod"

// checkContainerd asks the containerd on the PATH for its whole configuration,
// drop-ins included. The configuration is nil when it cannot be learnt.
func checkContainerd(ctx context.Context, path string) (*containerdConfig, finding) {
	program, out, err := ask(ctx, "containerd", "--version")
	if err != nil {
		return nil, failed(err, "put containerd 2.0 or newer on the PATH")
	}
	found := program
	if fields := strings.Fields(out); len(fields) > 2 {
		v, err := criu.ParseVersion("version " + fields[2])
		if err != nil {
			return nil, failed(err, "is this containerd?")
		}
		found += ", version " + v.String()
		if v.Less(leastContainerd) {
			return nil, bad(found, "containerd 2.0 or newer is needed")
		}
	}
	args := []string{"config", "dump"}
	if path != "" {
		args = append([]string{"--config", path}, args...)
	}
	if _, out, err = ask(ctx, "containerd", args...); err != nil {
		return nil, failed(err, "containerd cannot read its own configuration")
	}
	var c containerdConfig
	if err := toml.Unmarshal([]byte(out), &c); err != nil {
		return nil, failed(fmt.Errorf("read containerd's configuration: %w", err), "--containerd-config names another file")
	}
	return &c, good(found)
}

func checkHandler(c *containerdConfig) finding {
	if c == nil {
		return bad("containerd's configuration is not known", "")
	}
	handlers := c.Plugins.Runtime.Containerd.Runtimes
	h, ok := handlers[handlerName]
	switch {
	case !ok:
		return bad("containerd has no runtime handler "+handlerName,
			"put conf/containerd/rekindle.toml into /etc/containerd/conf.d, see that config.toml imports that folder, and restart containerd")
	case h.Type != runcType:
		return bad(fmt.Sprintf("runtime_type is %q", h.Type), fmt.Sprintf("set runtime_type = %q: with any other containerd passes options that the shim does not read", runcType))
	case h.Path == "":
		return bad("runtime_path is not set", "set runtime_path to the absolute path of "+shimName+": without it containerd starts its own shim")
	}
	if d, ok := handlers[c.Plugins.Runtime.Containerd.Default]; ok && d.Options.SystemdCgroup != h.Options.SystemdCgroup {
		return bad(fmt.Sprintf("options.SystemdCgroup is %t here and %t in the default handler", h.Options.SystemdCgroup, d.Options.SystemdCgroup),
			"set both alike, and as the kubelet's cgroup driver is")
	}
	if !slices.Contains(h.Annotations, graceAnnotation) {
		return poor("the handler does not let "+graceAnnotation+" through",
			"add it to container_annotations of the handler: limits.stop_budget is not cut down to a pod's grace period without it")
	}
	return good(fmt.Sprintf("%s, SystemdCgroup = %t", handlerName, h.Options.SystemdCgroup))
}

// checkShim makes sure that what the handler names can be run, and that the
// executor is where the shim looks for it.
func checkShim(c *containerdConfig) finding {
	path := ""
	if c != nil {
		path = c.Plugins.Runtime.Containerd.Runtimes[handlerName].Path
	}
	if path == "" {
		var err error
		if path, err = exec.LookPath(shimName); err != nil {
			return failed(err, "install Rekindle's programs (make install)")
		}
	}
	// The shim looks beside the file that it is, not beside a link to it.
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return failed(err, "runtime_path of the handler names a program that is not there")
	}
	for _, program := range []string{real, filepath.Join(filepath.Dir(real), runcName)} {
		if info, err := os.Stat(program); err != nil {
			return failed(err, runcName+" has to be in the same folder as "+shimName)
		} else if info.Mode().Perm()&0o111 == 0 {
			return bad(program+" is not executable", "chmod 755 "+program)
		}
	}
	return good(path + ", with " + runcName)
}

func checkNRI(c *containerdConfig, socket string) finding {
	if c != nil && c.Plugins.NRI.Disable {
		return bad("NRI is disabled in containerd", `set disable = false in [plugins."io.containerd.nri.v1.nri"] and restart containerd`)
	}
	if c != nil && c.Plugins.NRI.Socket != "" && filepath.Clean(c.Plugins.NRI.Socket) != filepath.Clean(socket) {
		return bad(fmt.Sprintf("containerd's NRI socket is %s, the daemon looks for %s", c.Plugins.NRI.Socket, socket), "set sockets.nri in the daemon's configuration file")
	}
	info, err := os.Stat(socket)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return bad(socket+" is not there", "is containerd running?")
	case err != nil:
		return failed(err, "")
	case info.Mode()&fs.ModeSocket == 0:
		return bad(socket+" is not a socket", "")
	}
	return good(socket)
}
