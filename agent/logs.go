package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/log"
	"golang.org/x/sys/unix"

	"github.com/rekindle-dev/rekindle/api"
	"github.com/rekindle-dev/rekindle/criu"
	"github.com/rekindle-dev/rekindle/store"
)

// maxHeads bounds one answer, which must fit into a message of 4 MiB.
const maxHeads = 1000

// keepLog keeps what CRIU and runc wrote in an operation, when they did, with
// what became of it. That a log cannot be kept harms nothing else.
func (a *Agent) keepLog(t *tracked, d Decision, text []byte) {
	if len(text) == 0 {
		return
	}
	err := a.store.KeepLog(store.LogHead{
		Namespace: t.Namespace, Pod: t.Pod, Container: t.Name, ContainerID: t.ID,
		Action: d.Action, Outcome: d.Outcome, Reason: d.Reason, Failed: d.Outcome != Taken, Checkpoint: d.Checkpoint,
	}, text, a.Config().Limits.LogsKept)
	if err != nil {
		log.G(a.ctx).WithError(err).WithField("container", t.ID).Warn("keep the logs of CRIU and runc")
	}
}

// logsIn returns what lies in a directory in which CRIU worked: its own log, and
// before it, of a failure, what runc said. It is empty when there is neither.
func logsIn(dir, criuLog string) []byte {
	var text []byte
	for _, name := range []string{criu.RuncLog, criuLog} {
		part, err := readEnds(filepath.Join(dir, name), store.MaxLog)
		if err != nil {
			if !errors.Is(err, os.ErrNotExist) {
				part = fmt.Appendf(nil, "it cannot be read: %v\n", err)
			} else {
				continue
			}
		}
		text = fmt.Appendf(text, "==> %s\n%s", name, part)
		if !bytes.HasSuffix(text, []byte("\n")) {
			text = append(text, '\n')
		}
	}
	return text
}

// readEnds reads a file, of one that is longer than most the beginning and the
// end.
func readEnds(path string, most int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	if info.Size() <= most {
		return io.ReadAll(io.LimitReader(f, most))
	}
	begin, end := make([]byte, most/2), make([]byte, most/2)
	if _, err := f.ReadAt(begin, 0); err != nil {
		return nil, err
	}
	if _, err := f.ReadAt(end, info.Size()-most/2); err != nil {
		return nil, err
	}
	gap := fmt.Appendf(nil, "\n[… %d bytes are left out …]\n", info.Size()-most)
	return slices.Concat(begin, gap, end), nil
}

// Logs tells which logs of a pod's containers, or of a checkpoint, are kept.
func (s *Control) Logs(_ context.Context, r *api.LogsRequest) (*api.LogsResponse, error) {
	var heads []store.LogHead
	if r.Checkpoint != "" {
		var err error
		if heads, err = s.agent.logsOf(r.Checkpoint); err != nil {
			return nil, storeError(err)
		}
	} else {
		heads = s.agent.store.Logs(func(h store.LogHead) bool {
			return h.Namespace == r.Namespace && h.Pod == r.Pod && (r.Container == "" || h.Container == r.Container)
		})
		if len(heads) == 0 {
			return nil, errgrpc.ToGRPCf(errdefs.ErrNotFound,
				"no logs of %s are kept on this node: nothing was dumped or restored, or it was too long ago; rekindle explain tells what was decided",
				strings.TrimSuffix(r.Namespace+"/"+r.Pod+"/"+r.Container, "/"))
		}
	}
	resp := &api.LogsResponse{}
	for _, h := range heads[:min(len(heads), maxHeads)] {
		resp.Logs = append(resp.Logs, &api.OperationLog{
			Id: h.ID, TimeNs: h.Time.UnixNano(), Namespace: h.Namespace, Pod: h.Pod, Container: h.Container, ContainerId: h.ContainerID,
			Action: h.Action, Outcome: h.Outcome, Reason: h.Reason, Checkpoint: h.Checkpoint,
		})
	}
	return resp, nil
}

// Log returns one log. The id of a checkpoint stands for the log of its dump,
// which lies in it.
func (s *Control) Log(_ context.Context, r *api.LogRequest) (*api.LogResponse, error) {
	text, err := s.agent.store.ReadLog(r.Id)
	if errors.Is(err, store.ErrNoLog) {
		if dir, derr := s.agent.store.Whereabouts(r.Id); derr == nil {
			text, err = logsIn(dir, criu.DumpLog), nil
		}
	}
	if err != nil {
		return nil, storeError(err)
	}
	return &api.LogResponse{Text: text}, nil
}

// logsOf returns the logs of the operations on one checkpoint: of its dump and
// of its restores.
func (a *Agent) logsOf(prefix string) ([]store.LogHead, error) {
	id, err := a.checkpointWith(prefix)
	if err != nil {
		return nil, err
	}
	heads := a.store.Logs(func(h store.LogHead) bool { return h.Checkpoint == id })
	if slices.ContainsFunc(heads, func(h store.LogHead) bool { return h.Action == ActionCheckpoint }) {
		return heads, nil
	}
	dir, err := a.store.Whereabouts(id)
	if errors.Is(err, store.ErrNotFound) {
		return heads, nil
	}
	if err != nil {
		return nil, err
	}
	if len(logsIn(dir, criu.DumpLog)) == 0 {
		return heads, nil
	}
	dump := store.LogHead{ID: id, Action: ActionCheckpoint, Outcome: Taken, Checkpoint: id, Reason: "kept with the checkpoint"}
	if c, err := a.store.Get(id); err == nil {
		dump.Namespace, dump.Pod, dump.Container = c.Namespace, c.PodName, c.Container
		dump.Time, dump.ContainerID = c.Created, c.ContainerID
	}
	return append(heads, dump), nil
}

// checkpointWith completes the beginning of a checkpoint's id. The checkpoint
// may be in quarantine, or be gone and have left only logs.
func (a *Agent) checkpointWith(prefix string) (string, error) {
	ids, err := a.store.IDs(prefix)
	if err != nil {
		return "", err
	}
	for _, h := range a.store.Logs(func(h store.LogHead) bool { return strings.HasPrefix(h.Checkpoint, strings.ToUpper(prefix)) }) {
		ids = append(ids, h.Checkpoint)
	}
	slices.Sort(ids)
	switch ids = slices.Compact(ids); len(ids) {
	case 0:
		return "", fmt.Errorf("find logs of checkpoint %.26s: %w", prefix, store.ErrNotFound)
	case 1:
		return ids[0], nil
	}
	return "", fmt.Errorf("find logs of checkpoint %.26s: %w: %d ids start with it", prefix, store.ErrAmbiguous, len(ids))
}
