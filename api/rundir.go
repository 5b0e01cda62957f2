package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// RunDir is where the daemon, the shim and the executor meet. It is a constant
// because the three must agree on it before any of them has read a
// configuration; like all of /run it does not outlive a boot.
const RunDir = "/run/rekindle"

// Spec annotations set by the plugin. They only point at the run directory;
// nothing in them is ever used as a path, an option or a command.
const (
	// AnnotationManaged marks a container whose policy is in force.
	AnnotationManaged = "internal.rekindle.dev/managed"
	// AnnotationCRIUConfig is read by runc, which passes the file it names to CRIU.
	AnnotationCRIUConfig = "org.criu.config"
)

// ErrBadContainerID is returned for an id that containerd would not have made.
var ErrBadContainerID = errors.New("bad container id")

// containerID is the form of containerd's identifiers; it admits no separator
// and no leading dot, so an id is always one path component.
var containerID = regexp.MustCompile(`^[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*$`)

// maxRecord bounds a record file: records are small, and the files are read
// while a container is being created.
const maxRecord = 1 << 20

// ContainerDir is the run directory of one container.
type ContainerDir string

// ContainerDirOf returns the run directory of the container with that id. It
// does not touch the file system.
func ContainerDirOf(id string) (ContainerDir, error) {
	if len(id) > 128 || !containerID.MatchString(id) {
		return "", fmt.Errorf("%w: %.160q", ErrBadContainerID, id)
	}
	return ContainerDir(filepath.Join(RunDir, "containers", id)), nil
}

// Make creates the directory and its parents, root-only.
func (d ContainerDir) Make() error {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return fmt.Errorf("make run directory: %w", err)
	}
	return nil
}

// Exists tells whether the daemon manages, or managed, the container.
func (d ContainerDir) Exists() bool {
	info, err := os.Lstat(string(d))
	return err == nil && info.IsDir()
}

// CRIUConfig is the file of CRIU options that counts for the container's dumps
// and for its own restore.
func (d ContainerDir) CRIUConfig() string { return filepath.Join(string(d), "criu.conf") }

// Work is CRIU's work directory, where its logs are kept.
func (d ContainerDir) Work() string { return filepath.Join(string(d), "work") }

// Ticket tells the shim to restore a container. The daemon writes it.
type Ticket struct {
	// Checkpoint is the id of the checkpoint.
	Checkpoint string `json:"checkpoint"`
	// Dir is the committed directory of the checkpoint.
	Dir string `json:"dir"`
	// Manifest is the SHA-256 of the checkpoint's manifest, in hexadecimal.
	Manifest string `json:"manifest"`
	// Trusted is set when the files' content has been verified already.
	Trusted bool `json:"trusted,omitempty"`
	// Encrypted is set when the content has to be decrypted first, for which the
	// data key is in the container's [Plain].
	Encrypted bool `json:"encrypted,omitempty"`
	// Timeout bounds the restore.
	Timeout time.Duration `json:"timeout_ns"`
	// Set stands for the set that the checkpoint is of, and Members is how many
	// containers are to be restored together; empty and 0 for one that is restored
	// by itself.
	Set     string `json:"set,omitempty"`
	Members int    `json:"members,omitempty"`
	// Restored is what the container is to be told.
	Restored Restored `json:"restored"`
}

// Restored is what a restored container finds in its [RestoredFile].
type Restored struct {
	// Checkpoint is the id of the checkpoint it was restored from.
	Checkpoint string `json:"checkpoint"`
	// Restore says which restore of that checkpoint this is, counted from 1.
	Restore int `json:"restore"`
	// Namespace, Pod and PodUID are those of the pod it is in now.
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	PodUID    string `json:"podUid"`
	// Time and Random are filled in by the shim: the wall clock, and 32 bytes in
	// hexadecimal that no other restore has.
	Time   time.Time `json:"time"`
	Random string    `json:"random"`
}

// RestoredFile is the name, in the root of its file system, of the file by which
// a container can tell that it was restored.
const RestoredFile = ".rekindle-restored.json"

// Restore is the shim's order to the executor.
type Restore struct {
	// Runc is the runtime that the container would have been created with.
	Runc string `json:"runc"`
	// Images is the CRIU directory, and Checkpoint that of the checkpoint.
	Images     string `json:"images"`
	Checkpoint string `json:"checkpoint"`
	// Manifest and Trusted are those of the ticket.
	Manifest string `json:"manifest"`
	Trusted  bool   `json:"trusted,omitempty"`
	// Config is the file of CRIU options that the container's spec names.
	Config string `json:"config"`
	// Work receives CRIU's log.
	Work string `json:"work"`
	// Timeout bounds the restore.
	Timeout time.Duration `json:"timeout_ns"`
	// OOMScoreAdj is set on the restored processes; CRIU brings the old one back.
	OOMScoreAdj *int `json:"oom_score_adj,omitempty"`
	// Stand leaves the container's processes stopped when it starts; the shim
	// continues them.
	Stand bool `json:"stand,omitempty"`
	// AtOnce has the processes run as soon as they are restored, without waiting
	// for the start: for a container that is being resumed.
	AtOnce bool `json:"at_once,omitempty"`
	// Handover is there when the container is resumed with its sockets.
	Handover *Handover `json:"handover,omitempty"`
}

// Handover are the sockets of a suspended container.
type Handover struct {
	// Images is the directory to restore from instead of the checkpoint's own.
	Images string `json:"images"`
	// Holder is the process that holds the sockets.
	Holder  int          `json:"holder"`
	Sockets []HeldSocket `json:"sockets"`
}

// HeldSocket is a socket by its inode, and its descriptor in the holder.
type HeldSocket struct {
	Inode uint64 `json:"inode"`
	FD    int    `json:"fd"`
}

// Outcome is what became of a ticket. The shim writes it.
type Outcome struct {
	Checkpoint string `json:"checkpoint"`
	Restored   bool   `json:"restored"`
	// Innocent is set when the failure says nothing about the checkpoint: it was
	// not even opened.
	Innocent bool `json:"innocent,omitempty"`
	// Error says why the container was started cold.
	Error string `json:"error,omitempty"`
	// Took is the time from the order to the verdict.
	Took time.Duration `json:"took_ns"`
}

// Attach tells the daemon where the shim of a container is. The shim writes it.
type Attach struct {
	// Address is the socket of the shim, as containerd writes it.
	Address string `json:"address"`
	// Bundle is the container's bundle directory.
	Bundle string `json:"bundle"`
}

// Exit records how a container's init ended. The shim writes it, so that a
// daemon that was down at that moment still learns it.
type Exit struct {
	Status uint32    `json:"status"`
	At     time.Time `json:"at"`
	// Asked is set when the end followed a request to stop.
	Asked bool `json:"asked"`
	// OOM is set when the kernel reported an out-of-memory kill.
	OOM bool `json:"oom"`
}

// Freeze records that the shim has frozen a container for a dump, or is about to.
// It is gone when the container is thawed; one that stays behind is that of a
// shim that died in between. The shim writes it.
type Freeze struct {
	// Pid is the id, in the host's namespace, of the container's init.
	Pid int       `json:"pid"`
	At  time.Time `json:"at"`
}

// Stop records that the runtime was asked to stop the container. The shim writes it.
type Stop struct {
	Signal uint32    `json:"signal"`
	At     time.Time `json:"at"`
}

// Orders tell the shim what the container's policy asks of it. The daemon writes
// them.
type Orders struct {
	// Control is the daemon's socket.
	Control string `json:"control"`
	// StopBudget is how long a stop signal may be held back for a checkpoint; 0
	// means not at all.
	StopBudget time.Duration `json:"stop_budget_ns"`
	// AwaitTicket is how long the container's creation may wait for the daemon to
	// find a checkpoint after all; 0 means not at all.
	AwaitTicket time.Duration `json:"await_ticket_ns,omitempty"`
}

// Suspension says whether a container sleeps, and how it did before. The shim
// writes it whenever that changes; there is none of a container that was never
// suspended.
type Suspension struct {
	Asleep bool `json:"asleep"`
	// Since is when it fell asleep, or was woken.
	Since time.Time `json:"since"`
	// Checkpoint is the id of the one that it sleeps, or last slept, in.
	Checkpoint string `json:"checkpoint"`
	// Pid is the host's id of the container's init, while it sleeps that of the
	// last one. The runtime's own notes have the first one for ever.
	Pid int `json:"pid"`
	// Sockets are those that are kept open while it sleeps, in words.
	Sockets []string `json:"sockets,omitempty"`
	// Times is how often it was suspended.
	Times int `json:"times"`
	// Wake is the last one; nil before the first.
	Wake *Wake `json:"wake,omitempty"`
}

// Wake is the end of one suspension, or an attempt at it.
type Wake struct {
	// Reason is what woke the container.
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
	// Took is the time from the reason until the container ran, or until it was
	// given up.
	Took time.Duration `json:"took_ns"`
	// Error says why the container could not be woken. It has ended, unless it sleeps
	// on: then it is tried again.
	Error string `json:"error,omitempty"`
}

// Sessions tells of the exec sessions in a container, exec probes among them. The
// shim writes it whenever that changes; there is none before the first.
type Sessions struct {
	// Begun counts them, and Open is how many there are now.
	Begun uint64 `json:"begun"`
	Open  int    `json:"open"`
	// Since is from when on there was always one, if there is one now.
	Since time.Time `json:"since"`
}

// record names the file that holds a record of type T.
func record(v any) (string, error) {
	switch v.(type) {
	case *Ticket:
		return "ticket.json", nil
	case *Restore:
		return "restore.json", nil
	case *Outcome:
		return "outcome.json", nil
	case *Attach:
		return "attach.json", nil
	case *Exit:
		return "exit.json", nil
	case *Freeze:
		return "freeze.json", nil
	case *Stop:
		return "stop.json", nil
	case *Orders:
		return "orders.json", nil
	case *Suspension:
		return "suspension.json", nil
	case *Sessions:
		return "sessions.json", nil
	}
	return "", fmt.Errorf("no record of type %T", v)
}

// Write replaces a record (a pointer to one of the types of this package).
// Readers see the old record or the new one, never a part.
func (d ContainerDir) Write(v any) error {
	name, err := record(v)
	if err != nil {
		return err
	}
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	return d.WriteFile(name, data)
}

// WriteFile replaces a file of the directory in one step.
func (d ContainerDir) WriteFile(name string, data []byte) error {
	f, err := os.CreateTemp(string(d), "."+name+"-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	_, err = f.Write(data)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(string(d), name))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", name, err), os.Remove(f.Name()))
	}
	return nil
}

// Read fills a record (a pointer to one of the types of this package), or leaves
// it as it is when it returns an error. That is fs.ErrNotExist when there is no
// file; one that anyone but the superuser could have put there is refused.
func (d ContainerDir) Read(v any) error {
	name, err := record(v)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(string(d), name), os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if err := trusted(info); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	data := make([]byte, info.Size())
	if _, err := f.ReadAt(data, 0); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	// A copy is decoded, for a decoder that fails has often filled in a part.
	present := reflect.ValueOf(v).Elem()
	decoded := reflect.New(present.Type())
	decoded.Elem().Set(present)
	if err := json.Unmarshal(data, decoded.Interface()); err != nil {
		return fmt.Errorf("decode %s: %w", name, err)
	}
	present.Set(decoded.Elem())
	return nil
}

// Discard removes a record; there being none is fine.
func (d ContainerDir) Discard(v any) error {
	name, err := record(v)
	if err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(string(d), name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("discard %s: %w", name, err)
	}
	return nil
}

// trusted refuses a record that is not a small regular file of the superuser
// which nobody else can write.
func trusted(info os.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok || !info.Mode().IsRegular():
		return errors.New("not a regular file")
	case st.Uid != uint32(os.Geteuid()) || info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("owner %d, mode %o: only the superuser may write it", st.Uid, info.Mode().Perm())
	case info.Size() > maxRecord:
		return fmt.Errorf("%d bytes, at most %d expected", info.Size(), maxRecord)
	}
	return nil
}
