package rights_test

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/creds"
	core "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fown"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/inventory"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/mnt"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/pstree"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/regfile"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/rekindle-dev/rekindle/rights"
)

// dump is what there is to compare in the images of a container with one process
// of two threads.
type dump struct {
	inventory inventory.InventoryEntry
	tree      []*pstree.PstreeEntry
	ids       *core.TaskKobjIdsEntry
	threads   map[string]*core.CoreEntry
	mounts    []*mnt.MntEntry
	file      string
}

func ids(base uint32) *core.TaskKobjIdsEntry {
	return &core.TaskKobjIdsEntry{
		VmId: proto.Uint32(1), FilesId: proto.Uint32(1), FsId: proto.Uint32(1), SighandId: proto.Uint32(1),
		PidNsId: proto.Uint32(base), NetNsId: proto.Uint32(base + 1), IpcNsId: proto.Uint32(base + 2), UtsNsId: proto.Uint32(base + 3),
		MntNsId: proto.Uint32(base + 4), UserNsId: proto.Uint32(100), CgroupNsId: proto.Uint32(101),
	}
}

// Some capabilities as the kernel numbers them.
const chown, kill, setuid = 1 << 0, 1 << 5, 1 << 7

func thread(uid, caps uint32) *core.CoreEntry {
	return &core.CoreEntry{
		Mtype: core.CoreEntry_X86_64.Enum(),
		ThreadCore: &core.ThreadCoreEntry{
			FutexRla: proto.Uint64(0), FutexRlaLen: proto.Uint32(0), SeccompMode: core.SeccompMode_filter.Enum(),
			Creds: &creds.CredsEntry{
				Uid: &uid, Euid: &uid, Suid: &uid, Fsuid: &uid, Gid: proto.Uint32(7), Egid: proto.Uint32(7), Sgid: proto.Uint32(7), Fsgid: proto.Uint32(7),
				CapPrm: []uint32{caps, 0}, CapEff: []uint32{caps, 0}, CapBnd: []uint32{caps, 0}, CapInh: []uint32{0, 0}, CapAmb: []uint32{0, 0},
				Secbits: proto.Uint32(0), Groups: []uint32{7, 8}, NoNewPrivs: proto.Uint32(1),
			},
		},
	}
}

func dead() *core.CoreEntry {
	return &core.CoreEntry{Mtype: core.CoreEntry_X86_64.Enum(), Tc: state(2)}
}

func state(n uint32) *core.TaskCoreEntry {
	zero := proto.Uint32(0)
	return &core.TaskCoreEntry{TaskState: &n, ExitCode: zero, Personality: zero, Flags: zero, BlkSigset: proto.Uint64(0), Comm: proto.String("x")}
}

func mounted(kind mnt.Fstype, point string, flags uint32) *mnt.MntEntry {
	return &mnt.MntEntry{
		Fstype: proto.Uint32(uint32(kind)), MntId: proto.Uint32(1), RootDev: proto.Uint32(1), ParentMntId: proto.Uint32(1), Flags: &flags,
		Root: proto.String("/"), Mountpoint: &point, Source: proto.String("x"), Options: proto.String(""),
	}
}

func bound(point string, flags uint32) *mnt.MntEntry {
	m := mounted(mnt.Fstype_UNSUPPORTED, point, flags)
	m.ExtKey = &point
	return m
}

func nullOver(point string) *mnt.MntEntry {
	m := mounted(mnt.Fstype_TMPFS, point, unix.MS_NOSUID)
	m.Root, m.ExtKey = proto.String("/null"), proto.String("/dev/null")
	return m
}

// sound is a dump that stays within the spec below.
func sound() *dump {
	first := thread(1000, chown)
	first.Tc = state(1)
	return &dump{
		inventory: inventory.InventoryEntry{ImgVersion: proto.Uint32(2), RootIds: ids(1)},
		tree:      []*pstree.PstreeEntry{{Pid: proto.Uint32(1), Ppid: proto.Uint32(0), Pgid: proto.Uint32(1), Sid: proto.Uint32(1), Threads: []uint32{1, 2}}},
		ids:       ids(10),
		threads:   map[string]*core.CoreEntry{"core-1.img": first, "core-2.img": thread(1000, chown)},
		mounts: []*mnt.MntEntry{
			mounted(mnt.Fstype_OVERLAYFS, "/", 0),
			mounted(mnt.Fstype_PROC, "/proc", unix.MS_NOSUID|unix.MS_NODEV),
			bound("/run/secrets", unix.MS_RDONLY),
			nullOver("/proc/kcore"),
			mounted(mnt.Fstype_PROC, "/proc/sys", unix.MS_RDONLY),
		},
		file: "/bin/x",
	}
}

// spec is of a container that gives up most of what it could have; its image has
// a link in a mount's destination, as many do.
func spec(t *testing.T) *specs.Spec {
	t.Helper()
	root := t.TempDir()
	for _, err := range []error{
		os.MkdirAll(filepath.Join(root, "run/secrets"), 0o755), os.Mkdir(filepath.Join(root, "var"), 0o755),
		os.Symlink("../run", filepath.Join(root, "var/run")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return &specs.Spec{
		Root: &specs.Root{Path: root},
		Process: &specs.Process{
			User:            specs.User{UID: 1000, GID: 7, AdditionalGids: []uint32{8}},
			NoNewPrivileges: true,
			Capabilities:    &specs.LinuxCapabilities{Bounding: []string{"CAP_CHOWN"}, Permitted: []string{"CAP_CHOWN"}, Effective: []string{"CAP_CHOWN"}},
		},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "nodev"}},
			{Destination: "/var/run/secrets", Type: "bind", Source: root, Options: []string{"rbind", "ro"}},
		},
		Linux: &specs.Linux{
			Seccomp:       &specs.LinuxSeccomp{DefaultAction: specs.ActErrno},
			MaskedPaths:   []string{"/proc/kcore", "/proc/scsi"},
			ReadonlyPaths: []string{"/proc/sys"},
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace}, {Type: specs.MountNamespace}, {Type: specs.NetworkNamespace, Path: "/proc/1/ns/net"},
			},
		},
	}
}

func (d *dump) write(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	image(t, dir, "inventory.img", 0x58313116, &d.inventory)
	image(t, dir, "pstree.img", 0x50273030, d.tree...)
	image(t, dir, "ids-1.img", 0x54432030, d.ids)
	for name, entry := range d.threads {
		image(t, dir, name, 0x55053847, entry)
	}
	image(t, dir, "mountpoints-14.img", 0x55563928, d.mounts...)
	image(t, dir, "files.img", 0x56303138, opened(d.file))
	return dir
}

// opened is an open file of a name.
func opened(name string) *fdinfo.FileEntry {
	zero := proto.Uint32(0)
	return &fdinfo.FileEntry{Type: fdinfo.FdTypes_REG.Enum(), Id: proto.Uint32(1), Reg: &regfile.RegFileEntry{
		Id: proto.Uint32(1), Flags: zero, Pos: proto.Uint64(0), Name: &name,
		Fown: &fown.FownEntry{Uid: zero, Euid: zero, Signum: zero, PidType: zero, Pid: zero},
	}}
}

func image[M proto.Message](t *testing.T, dir, name string, magic uint32, entries ...M) {
	t.Helper()
	data := binary.LittleEndian.AppendUint32(nil, 0x54564319)
	if name == "inventory.img" {
		data = nil
	}
	data = binary.LittleEndian.AppendUint32(data, magic)
	for _, e := range entries {
		raw, err := proto.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		data = append(binary.LittleEndian.AppendUint32(data, uint32(len(raw))), raw...)
	}
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestImages(t *testing.T) {
	tests := map[string]struct {
		spec func(*specs.Spec)
		dump func(*dump)
		want string // what the error says; empty if the images are within the spec
	}{
		"Sound":             {},
		"FewerCapabilities": {dump: func(d *dump) { d.threads["core-2.img"] = thread(1000, 0) }},
		"CapabilityInOneThread": {
			dump: func(d *dump) { d.threads["core-2.img"] = thread(1000, chown|kill) },
			want: "CAP_KILL in the permitted set",
		},
		"CapabilityInTheUpperWord": {
			dump: func(d *dump) { d.threads["core-1.img"].ThreadCore.Creds.CapBnd[1] = 1 << 7 },
			want: "CAP_BPF in the bounding set",
		},
		"CapabilityInheritable": {
			dump: func(d *dump) { d.threads["core-1.img"].ThreadCore.Creds.CapInh[0] = kill },
			want: "CAP_KILL in the inheritable set",
		},
		"CapabilityOfTheBoundingSetAlone": {
			spec: func(s *specs.Spec) {
				s.Process.Capabilities.Bounding = append(s.Process.Capabilities.Bounding, "CAP_KILL")
			},
			dump: func(d *dump) { d.threads["core-2.img"] = thread(1000, chown|kill) },
			want: "CAP_KILL in the permitted set",
		},
		"CapabilityFromASetuidProgram": {
			spec: func(s *specs.Spec) {
				s.Process.NoNewPrivileges = false
				s.Process.Capabilities.Bounding = append(s.Process.Capabilities.Bounding, "CAP_KILL")
			},
			dump: func(d *dump) { d.threads["core-2.img"] = thread(0, chown|kill) },
		},
		"OtherUser":    {dump: func(d *dump) { d.threads["core-2.img"] = thread(0, chown) }, want: "user 0"},
		"SavedUser":    {dump: func(d *dump) { d.threads["core-1.img"].ThreadCore.Creds.Suid = proto.Uint32(0) }, want: "user 0"},
		"OtherGroup":   {dump: func(d *dump) { d.threads["core-1.img"].ThreadCore.Creds.Fsgid = proto.Uint32(0) }, want: "group 0"},
		"OneMoreGroup": {dump: func(d *dump) { d.threads["core-1.img"].ThreadCore.Creds.Groups = []uint32{7, 8, 42} }, want: "supplementary group 42"},
		"OtherUserWithSETUID": {
			spec: func(s *specs.Spec) {
				for _, set := range []*[]string{&s.Process.Capabilities.Bounding, &s.Process.Capabilities.Permitted} {
					*set = append(*set, "CAP_SETUID")
				}
			},
			dump: func(d *dump) { d.threads["core-2.img"] = thread(33, chown|setuid) },
		},
		"NoNewPrivsGone": {dump: func(d *dump) { d.threads["core-2.img"].ThreadCore.Creds.NoNewPrivs = nil }, want: "no_new_privs"},
		"SeccompGone": {
			dump: func(d *dump) { d.threads["core-2.img"].ThreadCore.SeccompMode = core.SeccompMode_disabled.Enum() },
			want: "no seccomp filter",
		},
		"SeccompOfTheLeader": {dump: func(d *dump) { d.threads["core-2.img"].ThreadCore.SeccompMode = nil }},
		"SeccompOfNobody":    {dump: func(d *dump) { d.threads["core-1.img"].ThreadCore.SeccompMode = nil }, want: "no seccomp filter"},
		"UnconfinedAnyway": {
			spec: func(s *specs.Spec) { s.Linux.Seccomp = nil },
			dump: func(d *dump) { d.threads["core-2.img"].ThreadCore.SeccompMode = core.SeccompMode_disabled.Enum() },
		},
		"NodesMountNamespace": {dump: func(d *dump) { d.ids.MntNsId = proto.Uint32(5) }, want: "node's mount namespace"},
		"NodesPIDNamespace":   {dump: func(d *dump) { d.ids.PidNsId = proto.Uint32(1) }, want: "node's pid namespace"},
		"OtherUserNamespace":  {dump: func(d *dump) { d.ids.UserNsId = proto.Uint32(9) }, want: "another user namespace"},
		"NoNamespaces":        {dump: func(d *dump) { d.inventory.RootIds = nil }, want: "not an image"},
		"CredentialsElsewhere": {
			dump: func(d *dump) { d.threads["core-2.img"].ThreadCore.Creds = nil },
			want: "not an image",
		},
		"ThreadMissing": {dump: func(d *dump) { delete(d.threads, "core-2.img") }, want: "no such file"},
		"NoProcess":     {dump: func(d *dump) { d.tree = nil }, want: "no processes"},
		"DeadProcess": {dump: func(d *dump) {
			d.tree = append(d.tree, &pstree.PstreeEntry{Pid: proto.Uint32(3), Ppid: proto.Uint32(1), Pgid: proto.Uint32(1), Sid: proto.Uint32(1)})
			d.threads["core-3.img"] = dead()
		}},
		// CRIU does not set the numbers of its threads, and writes what it finds there.
		"DeadProcessWithThreads": {dump: func(d *dump) {
			d.tree = append(d.tree, &pstree.PstreeEntry{
				Pid: proto.Uint32(3), Ppid: proto.Uint32(1), Pgid: proto.Uint32(1), Sid: proto.Uint32(1), Threads: []uint32{2455896800},
			})
			d.threads["core-3.img"] = dead()
		}},
		"DeadThread": {dump: func(d *dump) { d.threads["core-2.img"] = dead() }, want: "not an image"},
		"Disk": {
			dump: func(d *dump) { d.mounts = append(d.mounts, mounted(mnt.Fstype_AUTO, "/mnt", 0)) },
			want: `mounted at "/mnt"`,
		},
		"DiskInsteadOfAVolume": {
			dump: func(d *dump) { d.mounts[2].ExtKey, d.mounts[2].Fstype = nil, proto.Uint32(uint32(mnt.Fstype_AUTO)) },
			want: `mounted at "/run/secrets"`,
		},
		"OtherVolumeAtThePlace": {dump: func(d *dump) { d.mounts[2].ExtKey = proto.String("/other") }, want: `a mount at "/run/secrets"`},
		"WritableVolume":        {dump: func(d *dump) { d.mounts[2].Flags = proto.Uint32(0) }, want: `a mount at "/run/secrets"`},
		"SetuidOnProc":          {dump: func(d *dump) { d.mounts[1].Flags = proto.Uint32(unix.MS_NODEV) }, want: `a mount at "/proc"`},
		"PartOfProc":            {dump: func(d *dump) { d.mounts[1].Root = proto.String("/sys") }, want: `a mount at "/proc"`},
		"SecondProc":            {dump: func(d *dump) { d.mounts = append(d.mounts, mounted(mnt.Fstype_PROC, "/tmp", 0)) }, want: `a mount at "/tmp"`},
		"ProcOverProc":          {dump: func(d *dump) { d.mounts = append(d.mounts, d.mounts[1]) }, want: "two mounts"},
		"NoVolume":              {dump: func(d *dump) { d.mounts = append(d.mounts[:2], d.mounts[3:]...) }, want: "nothing mounted"},
		"WritableReadonlyPath":  {dump: func(d *dump) { d.mounts[4].Flags = proto.Uint32(0) }, want: `a mount at "/proc/sys"`},
		"MaskedAfterARestore":   {dump: func(d *dump) { d.mounts[3].Fstype = proto.Uint32(uint32(mnt.Fstype_DEVTMPFS)) }},
		"MaskedByNothing":       {dump: func(d *dump) { d.mounts[3] = mounted(mnt.Fstype_TMPFS, "/proc/kcore", 0) }, want: `a mount at "/proc/kcore"`},
		"WritableRoot": {
			spec: func(s *specs.Spec) { s.Root.Readonly = true },
			want: `a mount at "/"`,
		},
		"MountsOfItsOwn": {
			spec: mayMount,
			dump: func(d *dump) { d.mounts = append(d.mounts, mounted(mnt.Fstype_TMPFS, "/mnt", 0)) },
		},
		"DiskOfItsOwn": {
			spec: mayMount,
			dump: func(d *dump) { d.mounts = append(d.mounts, mounted(mnt.Fstype_AUTO, "/mnt", 0)) },
			want: `mounted at "/mnt"`,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			s, d := spec(t), sound()
			if tc.spec != nil {
				tc.spec(s)
			}
			if tc.dump != nil {
				tc.dump(d)
			}
			r, err := rights.New(s)
			if err != nil {
				t.Fatal(err)
			}
			err = r.Images(d.write(t))
			if tc.want == "" && err != nil {
				t.Fatalf("Images=%v, want them accepted", err)
			}
			if tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Fatalf("Images=%v, want %q", err, tc.want)
			}
		})
	}
}

func mayMount(s *specs.Spec) {
	for _, set := range []*[]string{&s.Process.Capabilities.Bounding, &s.Process.Capabilities.Permitted} {
		*set = append(*set, "CAP_SYS_ADMIN")
	}
}

func TestFileNames(t *testing.T) {
	tests := map[string]bool{"/bin/sh": false, "/..data/x": false, "/a/../../etc/shadow": true, "../x": true}
	for name, upwards := range tests {
		t.Run(name, func(t *testing.T) {
			r, err := rights.New(spec(t))
			if err != nil {
				t.Fatal(err)
			}
			d := sound()
			d.file = name
			if err := r.Images(d.write(t)); errors.Is(err, rights.ErrExceeded) != upwards {
				t.Fatalf("Images=%v", err)
			}
		})
	}
}

func TestNew(t *testing.T) {
	tests := map[string]func(*specs.Spec){
		"UserNamespace": func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		},
		"UnknownCapability": func(s *specs.Spec) { s.Process.Capabilities.Bounding = []string{"CAP_FLY"} },
		"NoProcess":         func(s *specs.Spec) { s.Process = nil },
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			s := spec(t)
			spoil(s)
			if _, err := rights.New(s); err == nil {
				t.Fatal("New accepted it")
			}
		})
	}
}
