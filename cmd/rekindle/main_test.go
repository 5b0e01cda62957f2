package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/ttrpc"

	"github.com/rekindle-dev/rekindle/api"
)

const (
	idA = "01KKNTQ2CNDSB0KFK8NV23KZV7"
	idB = "01KKNTQ2CNDSB0KFK8NV23KZV8"
)

// fakeDaemon knows the checkpoints idA and idB of the pod shop/redis-0.
type fakeDaemon struct{ api.RekindleService }

func (fakeDaemon) checkpoints() []*api.Checkpoint {
	old := time.Now().Add(-3 * time.Hour).UnixNano()
	return []*api.Checkpoint{
		{Id: idB, Namespace: "shop", Workload: "pod.redis-0", Container: "redis", Pod: "redis-0", Trigger: "interval", CreatedNs: old, Bytes: 209 << 20, PauseNs: 42e6, DumpNs: 30e6, State: "ready"},
		{Id: idA, Namespace: "shop", Workload: "pod.redis-0", Container: "redis", Pod: "redis-0", Trigger: "request\x1b[2J", CreatedNs: old, Bytes: 1536, State: "suspect"},
	}
}

func (f fakeDaemon) List(_ context.Context, r *api.ListRequest) (*api.ListResponse, error) {
	if r.Namespace != "" && r.Namespace != "shop" {
		return &api.ListResponse{}, nil
	}
	broken := []*api.BrokenCheckpoint{{Id: idBroken, Namespace: "shop", Problem: "the MAC does not match"}}
	return &api.ListResponse{Checkpoints: f.checkpoints(), Broken: broken}, nil
}

func (fakeDaemon) Inspect(_ context.Context, r *api.InspectRequest) (*api.InspectResponse, error) {
	switch r.Id {
	case "01":
		return nil, errgrpc.ToGRPCf(errdefs.ErrInvalidArgument, "prefix is ambiguous")
	case idA, idB:
	default:
		return nil, errgrpc.ToGRPCf(errdefs.ErrNotFound, "no such checkpoint")
	}
	resp := &api.InspectResponse{
		ManifestJson: []byte(`{"id":"` + r.Id + `","namespace":"shop","podName":"redis-0","container":"redis","trigger":"interval","reason":"60s passed","pauseNs":42000000,"bytes":1536,"files":[{"path":"criu"}]}`),
		MarksJson:    []byte(`{"attempts":1,"failures":[{"time":"2026-03-14T09:26:53Z","reason":"took too long"}]}`),
		Dir:          "/var/lib/rekindle/x",
	}
	if r.Id == idB {
		resp.Problem = "criu/pages-1.img: size is 4096, want 8192"
	}
	return resp, nil
}

func (f fakeDaemon) Checkpoint(ctx context.Context, r *api.CheckpointRequest) (*api.CheckpointResponse, error) {
	switch {
	case r.Pod == "slow":
		<-ctx.Done()
		return nil, errgrpc.ToGRPC(ctx.Err())
	case r.Pod == "early":
		return nil, errgrpc.ToGRPC(context.DeadlineExceeded)
	case r.Pod == "failing":
		return nil, errgrpc.ToGRPCf(errdefs.ErrUnavailable, "dump: an exec session is open\nsecond line")
	case r.Namespace != "shop" || r.Pod != "redis-0" || r.Container != "" && r.Container != "redis":
		return nil, errgrpc.ToGRPCf(errdefs.ErrNotFound, "no running managed container")
	}
	return &api.CheckpointResponse{Checkpoints: f.checkpoints()[:1]}, nil
}

func (fakeDaemon) Explain(_ context.Context, r *api.ExplainRequest) (*api.ExplainResponse, error) {
	if r.Pod != "redis-0" {
		return nil, errgrpc.ToGRPCf(errdefs.ErrNotFound, "nothing is known of this pod")
	}
	return &api.ExplainResponse{Containers: []*api.ContainerReport{
		{
			Name: "redis", ContainerId: "60303ae22b998861aa", Managed: true, Why: "the pod opted in",
			Settings:   []*api.Setting{{Key: "interval", Value: "30s", Origin: `rekindle.dev/interval="30s"`}},
			Problems:   []*api.Problem{{Key: "rekindle.dev/keep", Value: `"x"`, Reason: "is not a whole number"}},
			Decisions:  []*api.Decision{{TimeNs: time.Now().UnixNano(), Action: "checkpoint", Outcome: "taken", Reason: "30s passed", Checkpoint: idA}},
			Candidates: []*api.Candidate{{Checkpoint: idA, Usable: true, SuccessorReason: "it was claimed"}, {Checkpoint: idB, Reason: "it is of another image"}},
			Restart:    &api.Prospect{Checkpoint: idA},
			Successor:  &api.Prospect{Reason: "this is a\x1b new pod"},
			Triggers: []*api.TriggerReport{
				{Trigger: "request", Last: &api.Decision{TimeNs: time.Now().UnixNano(), Action: "checkpoint", Outcome: "failed", Reason: "an exec session is open"}},
				{Trigger: "stop"},
			},
			NextNs: time.Now().Add(20 * time.Second).UnixNano(), NextWhy: "the interval",
			Findings: []*api.Finding{{Kind: "volume", Severity: "loss", What: "what is on volumes: \x1b[2J", Remedy: "use stop"}}, PreflightNs: time.Now().UnixNano(),
		},
		{Name: "sidecar", Why: "not listed"},
	}}, nil
}

func (fakeDaemon) Preflight(_ context.Context, r *api.PreflightRequest) (*api.PreflightResponse, error) {
	c := &api.ContainerPreflight{Name: "redis", ContainerId: "60303ae22b998861aa", TookNs: 2e6, Findings: []*api.Finding{
		{Kind: "connection", Severity: "loss", What: "established: \x1b[2J", Remedy: "connect again"},
	}}
	switch r.Pod {
	case "redis-0":
	case "rings":
		c.Findings = append(c.Findings, &api.Finding{Kind: "io_uring", Severity: "blocker", What: "io_uring is in use"})
	case "plain":
		c.Findings = nil
	default:
		return nil, errgrpc.ToGRPCf(errdefs.ErrNotFound, "no running managed container")
	}
	return &api.PreflightResponse{Containers: []*api.ContainerPreflight{c}}, nil
}

func (fakeDaemon) Logs(_ context.Context, r *api.LogsRequest) (*api.LogsResponse, error) {
	if r.Checkpoint != idA && r.Pod != "redis-0" {
		return nil, errgrpc.ToGRPCf(errdefs.ErrNotFound, "no logs are kept")
	}
	at := time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC).UnixNano()
	return &api.LogsResponse{Logs: []*api.OperationLog{
		{Id: idB, TimeNs: at, Namespace: "shop", Pod: "redis-0", Container: "redis", Action: "restore", Outcome: "failed", Reason: "started cold\ninstead", Checkpoint: idA},
		{Id: idA, Action: "checkpoint", Outcome: "taken", Checkpoint: idA, Reason: "kept with the checkpoint"},
	}}, nil
}

func (fakeDaemon) Log(_ context.Context, r *api.LogRequest) (*api.LogResponse, error) {
	if r.Id == idB {
		return &api.LogResponse{Text: []byte("==> restore.log\n(00.1) Error (criu/x.c:1): \x1b[2J\tfile\n")}, nil
	}
	return &api.LogResponse{Text: []byte("==> dump.log\nDumping finished successfully\n")}, nil
}

func (fakeDaemon) Remove(_ context.Context, r *api.RemoveRequest) (*api.RemoveResponse, error) {
	switch r.Id {
	case idA:
		return &api.RemoveResponse{Id: idA}, nil
	case idB:
		return nil, errgrpc.ToGRPCf(errdefs.ErrUnavailable, "checkpoint is being restored")
	}
	return nil, errgrpc.ToGRPCf(errdefs.ErrNotFound, "no such checkpoint")
}

// serve answers on a socket in a temporary directory.
func serve(t *testing.T) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "d.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server, err := ttrpc.NewServer()
	if err != nil {
		t.Fatal(err)
	}
	api.RegisterRekindleService(server, fakeDaemon{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(context.Background(), listener)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return socket
}

// execute runs one command line.
func execute(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), "rekindle", args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestCommands(t *testing.T) {
	t.Setenv(socketVariable, serve(t))
	tests := map[string]struct {
		args   string
		code   int
		stdout []string // parts of it
		stderr string   // a part of it; empty when nothing may be there
	}{
		"List":                  {"list", 0, []string{"ID ", "NAMESPACE", idA, "209MiB", "1.5KiB", "42ms", "3h", "suspect", "request?[2J"}, ""},
		"ListNamespace":         {"list -n bank", 0, []string{"ID "}, ""},
		"ListBadNamespace":      {"list -n Shop", exitUsage, nil, "cannot be the name of a namespace"},
		"ListSurplus":           {"list x", exitUsage, nil, "unknown command"},
		"Inspect":               {"inspect " + idA, 0, []string{"shop/redis-0", "interval: 60s passed", "took too long", "Verified", "yes"}, ""},
		"InspectUnsound":        {"inspect " + idB, exitFailed, []string{"NO: criu/pages-1.img"}, "does not verify"},
		"InspectNotFound":       {"inspect 01ZZ", exitNotFound, nil, "no such checkpoint"},
		"InspectAmbiguous":      {"inspect 01", exitUsage, nil, "ambiguous"},
		"InspectBadID":          {"inspect ../etc", exitUsage, nil, "is not a checkpoint id"},
		"InspectNoID":           {"inspect", exitUsage, nil, "accepts 1 arg"},
		"Checkpoint":            {"checkpoint shop/redis-0", 0, []string{idB, "42ms"}, ""},
		"CheckpointContainer":   {"checkpoint shop/redis-0/redis", 0, []string{idB}, ""},
		"CheckpointOther":       {"checkpoint shop/redis-0/other", exitNotFound, nil, "no running managed container"},
		"CheckpointFails":       {"checkpoint shop/failing", exitFailed, nil, "exec session is open; second line"},
		"CheckpointTimeout":     {"checkpoint shop/slow --timeout 50ms", exitFailed, nil, "no answer within 50ms"},
		"CheckpointOutOfTime":   {"checkpoint shop/early --timeout 900ms", exitFailed, nil, "no answer within 900ms"},
		"CheckpointDumpTimeout": {"checkpoint shop/early --timeout 1h", exitFailed, nil, "rekindle: context deadline exceeded"},
		"CheckpointNoPod":       {"checkpoint redis-0", exitUsage, nil, "NAMESPACE/POD[/CONTAINER]"},
		"CheckpointDots":        {"checkpoint shop/..", exitUsage, nil, "name of a pod"},
		"CheckpointLongPod":     {"checkpoint shop/" + strings.Repeat("a", 254), exitUsage, nil, "name of a pod"},
		"CheckpointFourParts":   {"checkpoint a/b/c/d", exitUsage, nil, "not of the form"},
		"CheckpointControl":     {"checkpoint shop/redis\x1b[2J", exitUsage, nil, "name of a pod"},
		"Explain": {"explain shop/redis-0", 0, []string{
			"redis: managed", "next checkpoint in", "30s", "whole number", "another image",
			"a restart in this pod would be restored from " + idA, "a successor pod would start cold: this is a? new pod", "used", "it was claimed",
			"exec session is open", "nothing was decided yet", "preflight 0s ago", "what is on volumes: ?[2J", "use stop",
			"sidecar: not managed: not listed",
		}, ""},
		"Suspend":          {"suspend shop/redis-0", 0, []string{"STATE", "redis      asleep  412ms", idA, "sidecar    asleep  already"}, ""},
		"SuspendFails":     {"suspend shop/failing", exitFailed, nil, "an exec session is open"},
		"Resume":           {"resume shop/redis-0/redis", 0, []string{"redis      awake  71ms"}, ""},
		"ResumeNoPod":      {"resume redis-0", exitUsage, nil, "NAMESPACE/POD[/CONTAINER]"},
		"ExplainUnknown":   {"explain shop/other", exitNotFound, nil, "nothing is known"},
		"ExplainContainer": {"explain shop/redis-0/redis", exitUsage, nil, "NAMESPACE/POD"},
		"Preflight":        {"preflight shop/redis-0", 0, []string{"redis:", "loss", "established: ?[2J", "connect again"}, ""},
		"PreflightNothing": {"preflight shop/plain", 0, []string{"redis: nothing found in 2ms"}, ""},
		"PreflightBlocker": {"preflight shop/rings/redis", exitFailed, []string{"blocker", "io_uring is in use"}, "1 found that keep"},
		"PreflightUnknown": {"preflight shop/other", exitNotFound, nil, "no running managed container"},
		"PreflightNoPod":   {"preflight redis-0", exitUsage, nil, "NAMESPACE/POD[/CONTAINER]"},
		"Logs": {"logs shop/redis-0/redis", 0, []string{
			"2026-03-14T09:26:53Z shop/redis-0/redis restore failed " + idA + ": started cold; instead\n==> restore.log\n(00.1) Error (criu/x.c:1): ?[2J\tfile\n\n",
			"1970-01-01T00:00:00Z checkpoint taken " + idA + ": kept with the checkpoint\n==> dump.log\nDumping finished",
		}, ""},
		"LogsOfCheckpoint":      {"logs " + idA + " --list", 0, []string{"TIME ", "OUTCOME", "2026-03-14T09:26:53Z", "failed"}, ""},
		"LogsUnknown":           {"logs shop/other", exitNotFound, nil, "no logs are kept"},
		"LogsBadID":             {"logs ILO", exitUsage, nil, "is not a checkpoint id"},
		"LogsBadPod":            {"logs shop/../x", exitUsage, nil, "cannot be the name of a pod"},
		"Remove":                {"remove " + idA, 0, []string{"removed " + idA}, ""},
		"RemoveGoesOn":          {"remove 01ZZ " + idA, exitNotFound, []string{"removed " + idA}, "no such checkpoint"},
		"RemoveBusy":            {"remove " + idB, exitFailed, nil, "being restored"},
		"RemoveBusyAndNotFound": {"remove 01ZZ " + idB, exitFailed, nil, "being restored"},
		"RemoveNothing":         {"remove", exitUsage, nil, "at least 1 arg"},
		"RemoveBadID":           {"remove " + idA + " -- -x", exitUsage, nil, "is not a checkpoint id"},
		"Version":               {"version", 0, []string{"rekindle dev (go"}, ""},
		"Help":                  {"--help", 0, []string{"Exit status", "cannot be reached"}, ""},
		"NoCommand":             {"", 0, []string{"Available Commands"}, ""},
		"UnknownCommand":        {"lst", exitUsage, nil, "unknown command"},
		"UnknownFlag":           {"list --all", exitUsage, nil, "unknown flag"},
		"UnknownOutput":         {"list -o yaml", exitUsage, nil, "use table or json"},
		"NegativeTimeout":       {"list --timeout -1s", exitUsage, nil, "negative"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := execute(t, strings.Fields(tc.args)...)
			if code != tc.code {
				t.Errorf("code=%d, want %d", code, tc.code)
			}
			for _, part := range tc.stdout {
				if !strings.Contains(stdout, part) {
					t.Errorf("stdout lacks %q:\n%s", part, stdout)
				}
			}
			if !strings.Contains(stderr, tc.stderr) || (tc.stderr == "") != (stderr == "") {
				t.Errorf("stderr=%q, want %q", stderr, tc.stderr)
			}
			if strings.Contains(stdout+stderr, "\x1b") {
				t.Error("a control character reached the terminal")
			}
		})
	}
}

func TestJSON(t *testing.T) {
	t.Setenv(socketVariable, serve(t))
	tests := map[string]struct {
		args string
		keys string // of the first object of the list, or of the answer
	}{
		"List":       {"list", "bytes container created dumpNs id namespace pauseNs pod state trigger workload"},
		"Checkpoint": {"checkpoint shop/redis-0", "bytes container created dumpNs id namespace pauseNs pod state trigger workload"},
		"Explain":    {"explain shop/redis-0", "candidates containerId decisions findings managed name next nextWhy preflight problems restart settings successor triggers why"},
		"Suspend":    {"suspend shop/redis-0", "checkpoint id name sockets tookNs"},
		"Preflight":  {"preflight shop/redis-0", "containerId findings name tookNs"},
		"Inspect":    {"inspect " + idA, "dir manifest marks sound"},
		"Remove":     {"remove " + idA, "removed"},
		"Pin":        {"pin " + idA, "pinned"},
		"Verify":     {"verify " + idA, "bytes id sound tookNs"},
		"GC":         {"gc --dry-run", "bytes container id namespace pod reason"},
		"Quarantine": {"quarantine", "bytes container dir id namespace pod reason since"},
		"Release":    {"quarantine release " + idB, "released"},
		"Keys":       {"key list", "checkpoints created current id"},
		"KeyRotate":  {"key rotate", "current"},
		"KeyRetire":  {"key retire " + idA, "retired"},
		"Version":    {"version", "go version"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := execute(t, append(strings.Fields(tc.args), "-o", "json")...)
			if code != 0 {
				t.Fatalf("code=%d: %s", code, stderr)
			}
			var answer map[string]any
			if err := json.Unmarshal([]byte(stdout), &answer); err != nil {
				t.Fatalf("%v in %s", err, stdout)
			}
			for _, value := range answer {
				if list, ok := value.([]any); ok {
					if first, ok := list[0].(map[string]any); ok {
						answer = first
					}
				}
			}
			if got := keys(answer); got != tc.keys {
				t.Fatalf("keys=%q, want %q", got, tc.keys)
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale.sock")
	listener, err := net.Listen("unix", stale)
	if err != nil {
		t.Fatal(err)
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = listener.Close()
	tests := map[string]struct{ socket, stderr string }{
		"NoSocket": {filepath.Join(dir, "none.sock"), "systemctl status rekindled"},
		"Stale":    {stale, "left its socket"},
		"TooLong":  {"/" + strings.Repeat("x", 200), "is --socket right?"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			for _, args := range [][]string{{"list"}, {"explain", "a/b"}, {"checkpoint", "a/b"}, {"remove", "01"}, {"inspect", "01"}} {
				code, _, stderr := execute(t, append(args, "--socket", tc.socket)...)
				if code != exitUnreachable || !strings.Contains(stderr, tc.stderr) || !strings.Contains(stderr, tc.socket) {
					t.Errorf("%s: code=%d stderr=%q, want %d and %q", args[0], code, stderr, exitUnreachable, tc.stderr)
				}
			}
		})
	}
}

func TestPluginName(t *testing.T) {
	var out bytes.Buffer
	if code := run(t.Context(), "kubectl-rekindle", []string{"list", "--help"}, &out, &out); code != 0 {
		t.Fatalf("code=%d", code)
	}
	if !strings.Contains(out.String(), "kubectl rekindle list") {
		t.Fatalf("help does not show how to call it:\n%s", out.String())
	}
}
