package rights_test

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/rekindle-dev/rekindle/rights"
)

// start runs a shell script in mount and PID namespaces of its own. What it
// becomes by its last command waits until the test ends.
func start(t *testing.T, script string) int {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-ec", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = in.Close(), cmd.Wait() })
	// cat says back what it is told as soon as it is there.
	if _, err := in.Write([]byte("there\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("the process does not start: %v", err)
	}
	return cmd.Process.Pid
}

// only is a process of root's with one capability.
const only = "exec setpriv --inh-caps=-all --bounding-set=-all,+chown --no-new-privs cat"

func TestRestored(t *testing.T) {
	volume, other := t.TempDir(), t.TempDir()
	bind := "mount --make-rprivate / && mount -t tmpfs x /mnt && mkdir /mnt/v && mount --bind " + volume + " /mnt/v && "
	ro := bind + "mount -o remount,bind,ro /mnt/v && " + only
	volumes := func(source string, options ...string) func(*specs.Spec) {
		return func(s *specs.Spec) {
			s.Mounts = []specs.Mount{{Destination: "/mnt/v", Type: "bind", Source: source, Options: append(options, "rbind")}}
		}
	}
	namespace := func(kind specs.LinuxNamespaceType, path string) func(*specs.Spec) {
		return func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: kind, Path: path})
		}
	}
	tests := map[string]struct {
		script string
		spec   func(*specs.Spec)
		want   string // what the error says; empty if all is within the spec
	}{
		"Within":               {only, nil, ""},
		"Capability":           {"exec setpriv --inh-caps=-all --bounding-set=-all,+chown,+kill --no-new-privs cat", nil, "CAP_KILL"},
		"NoNewPrivs":           {"exec setpriv --inh-caps=-all --bounding-set=-all,+chown cat", nil, "no_new_privs"},
		"User":                 {only, func(s *specs.Spec) { s.Process.User.UID = 1000 }, "user 0"},
		"Group":                {only, func(s *specs.Spec) { s.Process.User.GID = 1000 }, "group 0"},
		"Groups":               {strings.Replace(only, "setpriv", "setpriv --groups 42", 1), nil, "supplementary group 42"},
		"Seccomp":              {only, func(s *specs.Spec) { s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActErrno} }, "seccomp"},
		"PodsNamespace":        {only, namespace(specs.NetworkNamespace, "/proc/self/ns/net"), ""},
		"NodesNamespace":       {only, namespace(specs.UTSNamespace, ""), "node's uts namespace"},
		"AnotherPodsNamespace": {only, namespace(specs.NetworkNamespace, "/proc/self/ns/ipc"), "not in the pod's network namespace"},
		"Volume":               {ro, volumes(volume, "ro"), ""},
		"WritableVolume":       {bind + only, volumes(volume, "ro"), "without its flags"},
		"OtherVolume":          {ro, volumes(other, "ro"), "not what the spec mounts"},
		"WritablePath":         {only, func(s *specs.Spec) { s.Linux.ReadonlyPaths = []string{"/proc/sys"} }, "without its flags"},
		"NotMasked":            {only, func(s *specs.Spec) { s.Linux.MaskedPaths = []string{"/proc/cmdline"} }, "not masked"},
		"NothingToMask":        {only, func(s *specs.Spec) { s.Linux.MaskedPaths = []string{"/proc/nothing"} }, ""},
		"Masked": {
			"mount --make-rprivate / && mount --bind /dev/null /proc/cmdline && mount -t tmpfs -o ro x /sys/firmware && " + only,
			func(s *specs.Spec) { s.Linux.MaskedPaths = []string{"/proc/cmdline", "/sys/firmware"} },
			"",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			pid := start(t, tc.script)
			s := &specs.Spec{
				Root: &specs.Root{Path: "/"},
				Process: &specs.Process{
					NoNewPrivileges: true,
					User:            specs.User{AdditionalGids: groups(t)},
					Capabilities:    &specs.LinuxCapabilities{Bounding: []string{"CAP_CHOWN"}, Permitted: []string{"CAP_CHOWN"}},
				},
				Linux: &specs.Linux{Namespaces: []specs.LinuxNamespace{{Type: specs.PIDNamespace}, {Type: specs.MountNamespace}}},
			}
			if tc.spec != nil {
				tc.spec(s)
			}
			r, err := rights.New(s)
			if err != nil {
				t.Fatal(err)
			}
			err = r.Restored(pid, []int{pid})
			if tc.want == "" && err != nil {
				t.Fatalf("Restored=%v, want it accepted", err)
			}
			if tc.want != "" && (!errors.Is(err, rights.ErrExceeded) || !strings.Contains(err.Error(), tc.want)) {
				t.Fatalf("Restored=%v, want %q", err, tc.want)
			}
		})
	}
}

// groups are the supplementary groups that the test's processes inherit.
func groups(t *testing.T) []uint32 {
	t.Helper()
	list, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	var ids []uint32
	for _, id := range list {
		ids = append(ids, uint32(id))
	}
	return ids
}
