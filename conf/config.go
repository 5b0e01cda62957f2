package conf

import "time"

// Config is what rekindle.toml says, with defaults for what it leaves out.
// A Config from [Load], [Parse] or [Default] is within its documented ranges.
// It is a value: whoever reloads the file swaps the whole of it.
type Config struct {
	Store      Store      `toml:"store"`
	Sockets    Sockets    `toml:"sockets"`
	Log        Log        `toml:"log"`
	Metrics    Metrics    `toml:"metrics"`
	Audit      Audit      `toml:"audit"`
	Kubernetes Kubernetes `toml:"kubernetes"`
	Namespaces Namespaces `toml:"namespaces"`
	Defaults   Defaults   `toml:"defaults"`
	Bounds     Bounds     `toml:"bounds"`
	Limits     Limits     `toml:"limits"`
	Sleep      Sleep      `toml:"sleep"`
	CRIU       CRIU       `toml:"criu"`
	Quota      Quota      `toml:"quota"`
	Import     Import     `toml:"import"`
	Encryption Encryption `toml:"encryption"`
}

// Store says where checkpoints are kept.
type Store struct {
	// Path is the absolute path of the store's directory.
	Path string `toml:"path" example:"\"/srv/rekindle\""`
	// MinFree is the space a dump must leave free on the store's filesystem.
	MinFree Size `toml:"min_free" example:"\"20GiB\""`
	// MaxAge is how long the checkpoints of a pod that is gone are kept for a
	// successor.
	MaxAge Duration `toml:"max_age" example:"\"24h\""`
	// Verify is one of [VerifyModes].
	Verify string `toml:"verify" example:"\"scrubbed\""`
	// ScrubEvery is how long a checkpoint lies before all of it is read and
	// verified again; 0 switches that off.
	ScrubEvery Duration `toml:"scrub_every" example:"\"168h\""`
	// ScrubRate is how many bytes a second are read for that.
	ScrubRate Size `toml:"scrub_rate" example:"\"64MiB\""`
	// PackRate is how many bytes a second are read to save space, by holes and by
	// sharing; 0 switches that off.
	PackRate Size `toml:"pack_rate" example:"\"64MiB\""`
	// Keys is the absolute path of the directory of keys; empty means keys/ in
	// the store.
	Keys string `toml:"keys" example:"\"/etc/rekindle/keys\""`
}

// Quota bounds what checkpoints take, by the sizes of their files; 0 is no
// bound. What is over it makes way, see the operator guide; the newest good
// checkpoint of a container never does.
type Quota struct {
	ContainerBytes Size `toml:"container_bytes" example:"\"20GiB\""`
	NamespaceBytes Size `toml:"namespace_bytes" example:"\"50GiB\""`
	NamespaceCount int  `toml:"namespace_count" example:"100"`
	NodeBytes      Size `toml:"node_bytes" example:"\"200GiB\""`
	NodeCount      int  `toml:"node_count" example:"500"`
}

// Sockets are the absolute paths of the unix sockets the daemon makes or uses.
type Sockets struct {
	// Control is made by the daemon, for the CLI and the shims.
	Control string `toml:"control"`
	// NRI is containerd's socket for NRI plugins.
	NRI string `toml:"nri"`
	// Containerd is containerd's API socket.
	Containerd string `toml:"containerd"`
}

// Log says what the daemon logs and how.
type Log struct {
	// Level is one of trace, debug, info, warn, error.
	Level string `toml:"level" example:"\"debug\""`
	// Format is text or json.
	Format string `toml:"format" example:"\"json\""`
}

// Metrics says where Prometheus may scrape.
type Metrics struct {
	// Address is host:port; empty switches metrics off.
	Address string `toml:"address" example:"\"127.0.0.1:9464\""`
}

// Audit says where the audit log is kept, and how much of it.
type Audit struct {
	// Path is the absolute path of the newest file; empty switches the log off.
	Path string `toml:"path" example:"\"/srv/log/rekindle/audit.log\""`
	// MaxSize is how large a file may become before the next one is begun.
	MaxSize Size `toml:"max_size" example:"\"64MiB\""`
	// MaxFiles is how many files are kept, with the newest.
	MaxFiles int `toml:"max_files" example:"10"`
}

// Kubernetes says how the daemon reaches the API server, which it needs for
// requests by annotation and for Events only.
type Kubernetes struct {
	// Kubeconfig is the absolute path of a kubeconfig; empty means the service
	// account of the daemon's pod, or none.
	Kubeconfig string `toml:"kubeconfig" example:"\"/etc/rekindle/kubeconfig\""`
	// Node is the name of this node's Node object; empty means NODE_NAME of the
	// environment, or the host name.
	Node string `toml:"node" example:"\"worker-1\""`
}

// Namespaces says whose annotations count. A namespace in Deny is never
// managed, whatever Allow says.
type Namespaces struct {
	// Allow lists the namespaces that may opt in; empty means all.
	Allow []string `toml:"allow" example:"[\"shop\", \"bank\"]"`
	// Deny lists the namespaces that may not.
	Deny []string `toml:"deny" example:"[\"kube-system\", \"vault\"]"`
}

// Defaults is what holds for a pod that opts in and says no more.
type Defaults struct {
	// Interval is the time between two checkpoints of one container.
	Interval Duration `toml:"interval" example:"\"5m\""`
	// Keep is how many checkpoints of one container are kept.
	Keep int `toml:"keep" example:"5"`
	// Restore is one of [RestoreModes].
	Restore string `toml:"restore" example:"\"successor\""`
	// IdleAfter is how long a container has to be quiet to be idle.
	IdleAfter Duration `toml:"idle_after" example:"\"15m\""`
	// IdleAction is one of [IdleActions].
	IdleAction string `toml:"idle_action" example:"\"checkpoint\""`
	// IdleCPU is up to how much CPU time a container is quiet, in thousandths of a
	// processor.
	IdleCPU int `toml:"idle_cpu" example:"50"`
	// IdleTraffic is up to how many bytes per second a container is quiet.
	IdleTraffic Size `toml:"idle_traffic" example:"\"1KiB\""`
	// StayAwake is how long a container that was woken stays awake at least.
	StayAwake Duration `toml:"stay_awake" example:"\"2m\""`
}

// Bounds limits what annotations may ask for; more is cut down to the bound.
type Bounds struct {
	// IntervalMin and IntervalMax bound the interval annotation.
	IntervalMin Duration `toml:"interval_min" example:"\"30s\""`
	IntervalMax Duration `toml:"interval_max" example:"\"12h\""`
	// KeepMax bounds the keep annotation from above; below it is 1.
	KeepMax int `toml:"keep_max" example:"5"`
	// ReadyMax is how long after its creation a container may become ready, for
	// the ready trigger.
	ReadyMax Duration `toml:"ready_max" example:"\"10m\""`
	// IdleMin and IdleMax bound the annotation idle-after, IdleMax also stay-awake.
	IdleMin Duration `toml:"idle_min" example:"\"1m\""`
	IdleMax Duration `toml:"idle_max" example:"\"12h\""`
	// IdleAction is the most of [IdleActions] that may be done.
	IdleAction string `toml:"idle_action"`
	// IdleCPUMax and IdleTrafficMax bound the annotations idle-cpu and
	// idle-traffic.
	IdleCPUMax     int  `toml:"idle_cpu_max" example:"200"`
	IdleTrafficMax Size `toml:"idle_traffic_max" example:"\"64KiB\""`
	// StayAwakeMin bounds the annotation stay-awake from below.
	StayAwakeMin Duration `toml:"stay_awake_min" example:"\"10s\""`
	// WakeMin is the least time between two wakes by the annotation wake-at.
	WakeMin Duration `toml:"wake_min" example:"\"10m\""`
}

// Limits bounds what one node does at a time and for how long.
type Limits struct {
	// ConcurrentDumps is how many dumps may run at once on the node.
	ConcurrentDumps int `toml:"concurrent_dumps" example:"4"`
	// Bandwidth is how many bytes of checkpoints the node may write per second,
	// over time; 0 is no limit. Only the interval trigger waits for it.
	Bandwidth Size `toml:"bandwidth" example:"\"50MiB\""`
	// DumpTimeout ends a dump that takes longer; the container runs on.
	DumpTimeout Duration `toml:"dump_timeout" example:"\"2m\""`
	// RestoreTimeout ends a restore that takes longer; the container starts
	// cold. It is at most [MaxRestoreTimeout].
	RestoreTimeout Duration `toml:"restore_timeout" example:"\"90s\""`
	// ExecWait is how long a dump waits for an exec session to end.
	ExecWait Duration `toml:"exec_wait" example:"\"5s\""`
	// StopBudget is how long a stop signal may be held back for a checkpoint, if
	// the pod's grace period is no shorter;
	// 0 switches the stop trigger off.
	StopBudget Duration `toml:"stop_budget" example:"\"20s\""`
	// SuccessorWait is how long a new pod's container waits for the pod whose
	// checkpoint it could use to be told to stop; 0 switches the wait off.
	SuccessorWait Duration `toml:"successor_wait" example:"\"5s\""`
	// Settle is how long a restored container must live to count as sound.
	Settle Duration `toml:"settle" example:"\"1m\""`
	// FaultMargin is how much older than a failed probe's kill a checkpoint
	// should be: a newer one may hold the hang already.
	FaultMargin Duration `toml:"fault_margin" example:"\"1m\""`
	// Pressure is at how many percent of its memory limit a container is
	// checkpointed by the trigger of that name.
	Pressure int `toml:"pressure" example:"70"`
	// MaxRestores is how often one checkpoint may be restored without the
	// container settling, before an older one or a cold start takes its place.
	MaxRestores int `toml:"max_restores" example:"3"`
	// LogsKept is of how many operations of one container the logs of CRIU and
	// runc are kept.
	LogsKept int `toml:"logs_kept" example:"10"`
}

// Sleep says how suspended containers are kept on this node.
type Sleep struct {
	// AtStart is one of [StartModes]: what the daemon does, when it starts, with
	// the containers that sleep.
	AtStart string `toml:"at_start" example:"\"wake\""`
	// PageCache is one of [PageCacheModes]: what becomes of a checkpoint's pages in
	// the page cache while a container sleeps in it.
	PageCache string `toml:"page_cache" example:"\"drop\""`
}

// CRIU holds the options of CRIU that depend on the node's workloads.
type CRIU struct {
	// GhostLimit is the largest deleted but still open file a dump carries.
	GhostLimit Size `toml:"ghost_limit" example:"\"1GiB\""`
}

// Import says whether checkpoints may be taken in that were made elsewhere.
type Import struct {
	// MaxSize is how large one may be; 0 forbids it.
	MaxSize Size `toml:"max_size" example:"\"16GiB\""`
}

// Encryption says whether new checkpoints are encrypted: with a file or a command
// that gives the keys they are.
type Encryption struct {
	// KeyFile is the absolute path of a file of keys.
	KeyFile string `toml:"key_file" example:"\"/etc/rekindle/encryption.keys\""`
	// KeyCommand is a program, by its absolute path, and its arguments; it writes
	// the keys to its standard output.
	KeyCommand []string `toml:"key_command" example:"[\"/usr/local/bin/unseal\", \"rekindle\"]"`
	// Memory bounds the plain text that lies in memory at any time; 0 is half of the
	// node's memory.
	Memory Size `toml:"memory" example:"\"16GiB\""`
}

// On tells whether new checkpoints are encrypted.
func (e Encryption) On() bool { return e.KeyFile != "" || len(e.KeyCommand) > 0 }

// MaxRestoreTimeout leaves room within the two minutes the kubelet gives one
// CreateContainer call, so that a cold start still fits after a restore that
// ran out of time.
const MaxRestoreTimeout = 90 * time.Second

// Default returns the configuration of an empty file.
func Default() Config {
	return Config{
		Store: Store{
			Path: "/var/lib/rekindle", MinFree: GiB, MaxAge: Duration{7 * 24 * time.Hour},
			Verify: VerifyFull, ScrubEvery: Duration{24 * time.Hour}, ScrubRate: 32 * MiB, PackRate: 32 * MiB,
		},
		Sockets: Sockets{
			Control:    "/run/rekindle/rekindled.sock",
			NRI:        "/var/run/nri/nri.sock",
			Containerd: "/run/containerd/containerd.sock",
		},
		Log:        Log{Level: "info", Format: "text"},
		Audit:      Audit{Path: "/var/log/rekindle/audit.log", MaxSize: 16 * MiB, MaxFiles: 5},
		Namespaces: Namespaces{Allow: []string{}, Deny: []string{"kube-system"}},
		Defaults: Defaults{
			Interval: Seconds(60), Keep: 3, Restore: "auto",
			IdleAfter: Duration{5 * time.Minute}, IdleAction: "suspend", IdleCPU: 20, StayAwake: Seconds(30),
		},
		Bounds: Bounds{
			IntervalMin: Seconds(5), IntervalMax: Duration{24 * time.Hour}, KeepMax: 10, ReadyMax: Duration{time.Hour},
			IdleMin: Seconds(30), IdleMax: Duration{24 * time.Hour}, IdleAction: "suspend", IdleCPUMax: 500, IdleTrafficMax: MiB,
			StayAwakeMin: Seconds(5), WakeMin: Seconds(60),
		},
		Limits: Limits{
			ConcurrentDumps: 2,
			DumpTimeout:     Seconds(60),
			RestoreTimeout:  Seconds(60),
			ExecWait:        Seconds(2),
			StopBudget:      Seconds(10),
			SuccessorWait:   Seconds(2),
			Settle:          Seconds(30),
			FaultMargin:     Seconds(30),
			Pressure:        80,
			MaxRestores:     2,
			LogsKept:        5,
		},
		Sleep:      Sleep{AtStart: "sleep", PageCache: KeepPageCache},
		CRIU:       CRIU{GhostLimit: 512 * MiB},
		Quota:      Quota{NamespaceCount: 1000, NodeCount: 2000},
		Encryption: Encryption{KeyCommand: []string{}},
	}
}
