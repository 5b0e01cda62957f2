package rights

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	core "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/inventory"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/mnt"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/pstree"
	"github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/proto"
)

// maxThreads bounds the threads of one container.
const maxThreads = 1 << 16

// Images compares the rights that CRIU's images in dir would give with those
// that the spec allows, and returns an error that is ErrExceeded when they are
// more. It reads only what says so: no memory, no file contents.
func (r *Rights) Images(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("open images: %w", err)
	}
	defer root.Close()
	i := images{Rights: r, root: root}
	for _, look := range []func() error{i.inventory, i.tree, i.processes, i.mounts, i.files} {
		if err := look(); err != nil {
			return err
		}
	}
	return nil
}

// images is one look at the images of a dump.
type images struct {
	*Rights
	root *os.Root

	// outside are the namespaces in which CRIU itself ran at the dump.
	outside *core.TaskKobjIdsEntry
	module  inventory.Lsmtype
	// mountNamespace is the id of that of the first process.
	mountNamespace uint32
	tasks          []task
}

// task is a process of the tree.
type task struct {
	pid     uint32
	threads []uint32
}

func (i *images) inventory() error {
	entries := 0
	err := read(i.root, "inventory.img", magicInventory, &inventory.InventoryEntry{}, func(e *inventory.InventoryEntry) error {
		entries++
		i.module = e.GetLsmtype()
		i.outside = proto.CloneOf(e.GetRootIds())
		return nil
	})
	if err == nil && (entries != 1 || i.outside == nil) {
		err = fmt.Errorf("read image inventory.img: %w", errImage)
	}
	return err
}

func (i *images) tree() error {
	threads := 0
	return read(i.root, "pstree.img", magicTree, &pstree.PstreeEntry{}, func(e *pstree.PstreeEntry) error {
		t := task{pid: e.GetPid(), threads: slices.Clone(e.GetThreads())}
		i.tasks = append(i.tasks, t)
		if threads += max(1, len(t.threads)); threads > maxThreads {
			return fmt.Errorf("%w: more than %d threads", errImage, maxThreads)
		}
		return nil
	})
}

// processes looks at what each thread is to have.
func (i *images) processes() error {
	if len(i.tasks) == 0 {
		return fmt.Errorf("%w: no processes", errImage)
	}
	for n, t := range i.tasks {
		dead, err := i.thread(t.pid, true)
		if err != nil {
			return fmt.Errorf("process %d: %w", t.pid, err)
		}
		if dead {
			// What stands there for its threads means nothing, and CRIU does not
			// look at it.
			continue
		}
		if err := i.others(t); err != nil {
			return err
		}
		if err := i.namespaces(t.pid, n == 0); err != nil {
			return fmt.Errorf("process %d: %w", t.pid, err)
		}
	}
	return nil
}

// others looks at the threads of a process that are not its first one.
func (i *images) others(t task) error {
	for _, tid := range t.threads {
		if tid == t.pid {
			continue
		}
		gone, err := i.thread(tid, false)
		if err == nil && gone {
			err = errImage
		}
		if err != nil {
			return fmt.Errorf("thread %d of process %d: %w", tid, t.pid, err)
		}
	}
	return nil
}

// thread looks at one thread; dead is set for a process that had ended and has
// nothing any more.
func (i *images) thread(tid uint32, leader bool) (dead bool, err error) {
	entries := 0
	err = read(i.root, fmt.Sprintf("core-%d.img", tid), magicCore, &core.CoreEntry{}, func(e *core.CoreEntry) error {
		entries++
		t := e.GetThreadCore()
		switch {
		case entries > 1 || e.Ids != nil:
			return errImage
		case t == nil && e.GetTc().GetTaskState() == taskDead:
			dead = true
			return nil
		case t.GetCreds() == nil || e.Tc != nil && e.Tc.OldSeccompMode != nil:
			// CRIU would look for them where older versions kept them.
			return errImage
		}
		h := heldIn(t)
		if t.SeccompMode == nil && !leader {
			// It gets the filter of the thread that leads the process.
			h.seccomp = seccompFilter
		}
		if _, asked := i.profiled(); asked && i.module == inventory.Lsmtype_NO_LSM {
			h.label = ""
		}
		return i.exceeded(h)
	})
	if err == nil && entries == 0 {
		err = errImage
	}
	return dead, err
}

// taskDead is how CRIU writes down a process that has ended.
const taskDead = 2

func heldIn(t *core.ThreadCoreEntry) held {
	c := t.GetCreds()
	return held{
		uids:        []uint32{c.GetUid(), c.GetEuid(), c.GetSuid(), c.GetFsuid()},
		gids:        []uint32{c.GetGid(), c.GetEgid(), c.GetSgid(), c.GetFsgid()},
		groups:      c.GetGroups(),
		permitted:   setIn(c.GetCapPrm()),
		effective:   setIn(c.GetCapEff()),
		inheritable: setIn(c.GetCapInh()),
		ambient:     setIn(c.GetCapAmb()),
		bounding:    setIn(c.GetCapBnd()),
		noNewPrivs:  c.GetNoNewPrivs() != 0,
		seccomp:     int(t.GetSeccompMode()),
		label:       cutMode(c.GetLsmProfile()),
	}
}

// namespaces sees to it that CRIU makes the process new namespaces, or puts it
// into the pod's, wherever the spec says so: it compares the process's with its
// own, and would leave it in those of the node if they were the same.
func (i *images) namespaces(pid uint32, first bool) error {
	entries := 0
	err := read(i.root, fmt.Sprintf("ids-%d.img", pid), magicIDs, &core.TaskKobjIdsEntry{}, func(e *core.TaskKobjIdsEntry) error {
		if entries++; entries > 1 {
			return errImage
		}
		if first {
			i.mountNamespace = e.GetMntNsId()
		}
		for _, n := range []struct {
			kind          specs.LinuxNamespaceType
			inside, outer *uint32
		}{
			{specs.PIDNamespace, e.PidNsId, i.outside.PidNsId},
			{specs.NetworkNamespace, e.NetNsId, i.outside.NetNsId},
			{specs.IPCNamespace, e.IpcNsId, i.outside.IpcNsId},
			{specs.UTSNamespace, e.UtsNsId, i.outside.UtsNsId},
			{specs.MountNamespace, e.MntNsId, i.outside.MntNsId},
			{specs.CgroupNamespace, e.CgroupNsId, i.outside.CgroupNsId},
			{specs.UserNamespace, e.UserNsId, i.outside.UserNsId},
		} {
			if n.inside == nil || n.outer == nil {
				return fmt.Errorf("%w: no %s namespace", errImage, n.kind)
			}
			if hasNamespace(i.spec, n.kind) && *n.inside == *n.outer {
				return fmt.Errorf("%w: the node's %s namespace", ErrExceeded, n.kind)
			}
			if n.kind == specs.UserNamespace && *n.inside != *n.outer {
				return fmt.Errorf("%w: another user namespace", ErrExceeded)
			}
		}
		return nil
	})
	if err == nil && entries == 0 {
		err = errImage
	}
	return err
}

// mounts looks at the mounts of the first process's namespace; there are others
// only where processes may make them.
func (i *images) mounts() error {
	names, err := filepath.Glob(filepath.Join(i.root.Name(), "mountpoints-*.img"))
	if err != nil {
		return fmt.Errorf("list images: %w", err)
	}
	own := fmt.Sprintf("mountpoints-%d.img", i.mountNamespace)
	for _, name := range names {
		if name = filepath.Base(name); name != own && !i.mayMount {
			return fmt.Errorf("%w: more than one mount namespace (%.100q)", ErrExceeded, name)
		}
		if name != own {
			if err := i.mountsIn(name); err != nil {
				return err
			}
		}
	}
	return i.mountsIn(own)
}

func (i *images) mountsIn(name string) error {
	var all []mount
	err := read(i.root, name, magicMounts, &mnt.MntEntry{}, func(e *mnt.MntEntry) error {
		if e.GetWithPlugin() || e.GetExtMount() {
			return errImage
		}
		all = append(all, mount{
			point: clean(e.GetMountpoint()), kind: kindIn(e), root: e.GetRoot(), flags: uint64(e.GetFlags()),
			external: e.ExtKey != nil, key: e.GetExtKey(),
		})
		return nil
	})
	if err != nil {
		return err
	}
	return i.checkMounts(all)
}

// kinds names the file systems that CRIU knows by number, as far as they matter.
var kinds = map[mnt.Fstype]string{
	mnt.Fstype_UNSUPPORTED: "", mnt.Fstype_PROC: "proc", mnt.Fstype_SYSFS: "sysfs", mnt.Fstype_TMPFS: "tmpfs",
	mnt.Fstype_DEVPTS: "devpts", mnt.Fstype_MQUEUE: "mqueue", mnt.Fstype_CGROUP: "cgroup", mnt.Fstype_CGROUP2: "cgroup2",
	mnt.Fstype_OVERLAYFS: "overlay",
}

func kindIn(e *mnt.MntEntry) string {
	if kind, known := kinds[mnt.Fstype(e.GetFstype())]; known {
		return kind
	}
	return fmt.Sprintf("file system %d %.40q", e.GetFstype(), e.GetFsname())
}

// files sees to it that no name of an open file leads upwards: CRIU opens it
// relative to a descriptor of the container's root.
func (i *images) files() error {
	err := read(i.root, "files.img", magicFiles, &fdinfo.FileEntry{}, func(e *fdinfo.FileEntry) error {
		for part := range strings.SplitSeq(e.GetReg().GetName(), "/") {
			if part == ".." {
				return fmt.Errorf("%w: a file with the name %.100q", ErrExceeded, e.GetReg().GetName())
			}
		}
		return nil
	})
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
