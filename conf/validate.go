package conf

import (
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Ranges that hold whatever the file says. They keep a slip of the pen from
// switching a limit off; the reasons stand where a number is not obvious.
const (
	minInterval    = time.Second         // a dump takes a good part of a second
	maxInterval    = 30 * 24 * time.Hour // rarer than this is not a checkpoint policy
	maxKeep        = 1000
	maxReady       = 24 * time.Hour // what starts for longer than a day needs no help from us
	maxDumps       = 64
	minBandwidth   = 64 * KiB // the least that lets small containers have their turn
	maxDumpTime    = time.Hour
	maxExecWait    = 30 * time.Second
	maxStopBudget  = 90 * time.Second // the kubelet adds two minutes to the grace period
	maxSuccession  = 20 * time.Second // a start is held up that long for nothing when a pod is added
	maxSettle      = time.Hour
	maxPressure    = 95 // percent; a restore needs memory within the limit too
	maxRestores    = 100
	maxLogsKept    = 50
	minIdle        = time.Second // what is looked at every so often cannot be known sooner
	maxIdle        = 30 * 24 * time.Hour
	maxIdleCPU     = 1000 // a whole processor
	maxIdleTraffic = 100 * MiB
	maxStayAwake   = time.Hour
	maxWake        = 24 * time.Hour
	minMinFree     = 16 * MiB // room for manifests and marks of what is already there
	maxMinFree     = 1024 * TiB
	maxMaxAge      = 10 * 365 * 24 * time.Hour
	maxCount       = 100_000
	minScrub       = MiB        // slower than this and a checkpoint is gone before it is through
	maxGhostLimit  = 4095 * MiB // CRIU holds it in 32 bits
	minAuditSize   = 4 * KiB    // the longest line
	maxAuditFiles  = 100
	maxSocketPath  = 107 // sun_path less its final NUL
	maxNamespaces  = 10000
	maxNamespaceLn = 63
	maxNodeName    = 253
	maxArguments   = 20
)

var namespaceName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)

// RestoreModes are the values of defaults.restore and of the annotation.
var RestoreModes = []string{"auto", "never", "fault", "successor", "clone"}

// IdleActions are the values of defaults.idle_action, of bounds.idle_action and of
// the annotation, the least first.
var IdleActions = []string{"checkpoint", "suspend"}

// WakeAtStart is the value of sleep.at_start with which sleeping containers are
// woken.
const WakeAtStart = "wake"

// StartModes are the values of sleep.at_start.
var StartModes = []string{"sleep", WakeAtStart}

// Values of sleep.page_cache.
const (
	KeepPageCache = "keep"
	DropPageCache = "drop"
)

// PageCacheModes are the values of sleep.page_cache.
var PageCacheModes = []string{KeepPageCache, DropPageCache}

// Values of store.verify.
const (
	VerifyFull     = "full"
	VerifyScrubbed = "scrubbed"
)

// VerifyModes are the values of store.verify.
var VerifyModes = []string{VerifyFull, VerifyScrubbed}

// checker collects the mistakes of one Config.
type checker struct {
	path string
	keys []keyAt
	errs []error
	// rules says of each key which values it accepts, where that is asked for.
	rules map[string]string
}

// rule notes which values key accepts, in words that fit after "write".
func (c *checker) rule(key, format string, args ...any) string {
	text := fmt.Sprintf(format, args...)
	if c.rules != nil {
		c.rules[key] = text
	}
	return text
}

func (c *checker) fail(key, hint, reason string, args ...any) {
	e := &Error{Path: c.path, Key: key, Reason: fmt.Sprintf(reason, args...), Hint: hint}
	if at, ok := find(c.keys, key); ok {
		e.Line = at.line
	}
	c.errs = append(c.errs, e)
}

func validate(path string, keys []keyAt, cfg Config) []error {
	c := &checker{path: path, keys: keys}
	c.all(cfg)
	return c.errs
}

func (c *checker) all(cfg Config) {
	c.places(cfg)
	c.outputs(cfg)
	c.names("namespaces.allow", cfg.Namespaces.Allow)
	c.names("namespaces.deny", cfg.Namespaces.Deny)
	c.bounds(cfg.Bounds)
	c.defaults(cfg)
	c.limits(cfg.Limits)
	c.idle(cfg)
	c.oneOf("sleep.at_start", cfg.Sleep.AtStart, StartModes...)
	c.oneOf("sleep.page_cache", cfg.Sleep.PageCache, PageCacheModes...)
	c.size("criu.ghost_limit", cfg.CRIU.GhostLimit, 0, maxGhostLimit)
	c.quota(cfg.Quota)
	c.sizeOrNone("import.max_size", cfg.Import.MaxSize, MiB)
	c.encryption(cfg.Encryption)
}

func (c *checker) encryption(e Encryption) {
	if e.KeyFile != "" {
		c.absolute("encryption.key_file", e.KeyFile)
	}
	c.rule("encryption.key_file", "a clean absolute path, or empty")
	if len(e.KeyCommand) > 0 {
		c.absolute("encryption.key_command", e.KeyCommand[0])
	}
	c.rule("encryption.key_command", "a clean absolute path and at most %d arguments, or empty", maxArguments)
	if len(e.KeyCommand) > maxArguments+1 {
		c.fail("encryption.key_command", "write a script", "has more than %d arguments", maxArguments)
	}
	if e.KeyFile != "" && len(e.KeyCommand) > 0 {
		c.fail("encryption.key_command", "keep one of them", "is set, and encryption.key_file too")
	}
	c.sizeOrNone("encryption.memory", e.Memory, MiB)
}

func (c *checker) quota(q Quota) {
	c.sizeOrNone("quota.container_bytes", q.ContainerBytes, MiB)
	c.sizeOrNone("quota.namespace_bytes", q.NamespaceBytes, MiB)
	c.sizeOrNone("quota.node_bytes", q.NodeBytes, MiB)
	c.numberOrNone("quota.namespace_count", q.NamespaceCount, maxCount)
	c.numberOrNone("quota.node_count", q.NodeCount, maxCount)
}

func (c *checker) places(cfg Config) {
	c.absolute("store.path", cfg.Store.Path)
	c.rule("store.path", "a clean absolute path other than /")
	if cfg.Store.Path == "/" {
		c.fail("store.path", "name a directory of its own", "is the root directory")
	}
	c.size("store.min_free", cfg.Store.MinFree, minMinFree, maxMinFree)
	c.duration("store.max_age", cfg.Store.MaxAge, time.Hour, maxMaxAge)
	c.oneOf("store.verify", cfg.Store.Verify, VerifyModes...)
	c.durationOrNone("store.scrub_every", cfg.Store.ScrubEvery, time.Hour, maxMaxAge)
	c.size("store.scrub_rate", cfg.Store.ScrubRate, minScrub, maxMinFree)
	c.sizeOrNone("store.pack_rate", cfg.Store.PackRate, minScrub)
	if cfg.Store.Keys != "" {
		c.absolute("store.keys", cfg.Store.Keys)
	}
	c.rule("store.keys", "a clean absolute path, or empty")
	sockets := map[string]string{}
	for _, s := range []struct{ key, path string }{
		{"sockets.control", cfg.Sockets.Control},
		{"sockets.nri", cfg.Sockets.NRI},
		{"sockets.containerd", cfg.Sockets.Containerd},
	} {
		c.absolute(s.key, s.path)
		c.rule(s.key, "a clean absolute path of at most %d bytes, one of its own", maxSocketPath)
		if len(s.path) > maxSocketPath {
			c.fail(s.key, "choose a shorter path", "is longer than the %d bytes a unix socket may have", maxSocketPath)
		}
		if other, taken := sockets[s.path]; taken {
			c.fail(s.key, "give each socket its own path", "is the same as %s", other)
		}
		sockets[s.path] = s.key
	}
}

func (c *checker) outputs(cfg Config) {
	c.oneOf("log.level", cfg.Log.Level, "trace", "debug", "info", "warn", "error")
	c.oneOf("log.format", cfg.Log.Format, "text", "json")
	if cfg.Audit.Path != "" {
		c.absolute("audit.path", cfg.Audit.Path)
	}
	if cfg.Kubernetes.Kubeconfig != "" {
		c.absolute("kubernetes.kubeconfig", cfg.Kubernetes.Kubeconfig)
	}
	c.rule("kubernetes.kubeconfig", "a clean absolute path, or empty")
	c.rule("kubernetes.node", "at most %d characters", maxNodeName)
	if len(cfg.Kubernetes.Node) > maxNodeName {
		c.fail("kubernetes.node", "write the name that kubectl get nodes shows", "has more than %d characters", maxNodeName)
	}
	c.rule("audit.path", "a clean absolute path, or empty")
	c.size("audit.max_size", cfg.Audit.MaxSize, minAuditSize, TiB)
	c.number("audit.max_files", cfg.Audit.MaxFiles, maxAuditFiles)
	c.rule("metrics.address", "host:port, or empty")
	if cfg.Metrics.Address == "" {
		return
	}
	host, port, err := net.SplitHostPort(cfg.Metrics.Address)
	if n, perr := strconv.Atoi(port); err != nil || host == "" || perr != nil || n < 1 || n > 65535 {
		c.fail("metrics.address", `write "127.0.0.1:9464", or "0.0.0.0:9464" for all addresses`,
			"%q is not host:port", cfg.Metrics.Address)
	}
}

func (c *checker) names(key string, names []string) {
	c.rule(key, "at most %d names of namespaces", maxNamespaces)
	if len(names) > maxNamespaces {
		c.fail(key, "list fewer namespaces", "has more than %d names", maxNamespaces)
		return
	}
	for _, n := range names {
		if len(n) > maxNamespaceLn || !namespaceName.MatchString(n) {
			c.fail(key, "names are matched whole; patterns are not supported", "%.80q is not the name of a namespace", n)
		}
	}
}

func (c *checker) bounds(b Bounds) {
	c.duration("bounds.interval_min", b.IntervalMin, minInterval, maxInterval)
	c.duration("bounds.interval_max", b.IntervalMax, minInterval, maxInterval)
	c.number("bounds.keep_max", b.KeepMax, maxKeep)
	c.duration("bounds.ready_max", b.ReadyMax, time.Second, maxReady)
	c.atMost("bounds.interval_min", b.IntervalMin, "bounds.interval_max", b.IntervalMax)
}

func (c *checker) defaults(cfg Config) {
	d, b := cfg.Defaults, cfg.Bounds
	c.duration("defaults.interval", d.Interval, b.IntervalMin.Duration, b.IntervalMax.Duration)
	c.rule("defaults.interval", "bounds.interval_min to bounds.interval_max")
	c.number("defaults.keep", d.Keep, b.KeepMax)
	c.rule("defaults.keep", "1 to bounds.keep_max")
	c.oneOf("defaults.restore", d.Restore, RestoreModes...)
}

// idle checks what is said of idle and of sleeping containers.
func (c *checker) idle(cfg Config) {
	d, b := cfg.Defaults, cfg.Bounds
	c.duration("bounds.idle_min", b.IdleMin, minIdle, maxIdle)
	c.duration("bounds.idle_max", b.IdleMax, minIdle, maxIdle)
	c.atMost("bounds.idle_min", b.IdleMin, "bounds.idle_max", b.IdleMax)
	c.oneOf("bounds.idle_action", b.IdleAction, IdleActions...)
	c.number("bounds.idle_cpu_max", b.IdleCPUMax, maxIdleCPU)
	c.size("bounds.idle_traffic_max", b.IdleTrafficMax, 0, maxIdleTraffic)
	c.duration("bounds.stay_awake_min", b.StayAwakeMin, 0, maxStayAwake)
	c.atMost("bounds.stay_awake_min", b.StayAwakeMin, "bounds.idle_max", b.IdleMax)
	c.duration("bounds.wake_min", b.WakeMin, time.Second, maxWake)

	c.duration("defaults.idle_after", d.IdleAfter, b.IdleMin.Duration, b.IdleMax.Duration)
	c.rule("defaults.idle_after", "bounds.idle_min to bounds.idle_max")
	c.oneOf("defaults.idle_action", d.IdleAction, IdleActions...)
	c.rule("defaults.idle_action", "one of %s; not more than bounds.idle_action", quoted(IdleActions))
	if slices.Index(IdleActions, d.IdleAction) > slices.Index(IdleActions, b.IdleAction) {
		c.fail("defaults.idle_action", "write "+strconv.Quote(b.IdleAction)+" for both", "%q is more than bounds.idle_action allows", d.IdleAction)
	}
	c.rule("defaults.idle_cpu", "0 to bounds.idle_cpu_max")
	if d.IdleCPU < 0 || d.IdleCPU > b.IdleCPUMax {
		c.fail("defaults.idle_cpu", fmt.Sprintf("write a number from 0 to %d", b.IdleCPUMax), "%d is out of range", d.IdleCPU)
	}
	c.size("defaults.idle_traffic", d.IdleTraffic, 0, b.IdleTrafficMax)
	c.rule("defaults.idle_traffic", "0B to bounds.idle_traffic_max")
	c.duration("defaults.stay_awake", d.StayAwake, b.StayAwakeMin.Duration, b.IdleMax.Duration)
	c.rule("defaults.stay_awake", "bounds.stay_awake_min to bounds.idle_max")
}

func (c *checker) limits(l Limits) {
	c.number("limits.concurrent_dumps", l.ConcurrentDumps, maxDumps)
	c.sizeOrNone("limits.bandwidth", l.Bandwidth, minBandwidth)
	c.duration("limits.dump_timeout", l.DumpTimeout, time.Second, maxDumpTime)
	c.duration("limits.restore_timeout", l.RestoreTimeout, time.Second, MaxRestoreTimeout)
	c.duration("limits.exec_wait", l.ExecWait, 0, maxExecWait)
	c.duration("limits.stop_budget", l.StopBudget, 0, maxStopBudget)
	c.duration("limits.successor_wait", l.SuccessorWait, 0, maxSuccession)
	c.duration("limits.settle", l.Settle, time.Second, maxSettle)
	c.duration("limits.fault_margin", l.FaultMargin, 0, maxSettle)
	c.number("limits.pressure", l.Pressure, maxPressure)
	c.number("limits.max_restores", l.MaxRestores, maxRestores)
	c.number("limits.logs_kept", l.LogsKept, maxLogsKept)
}

func (c *checker) absolute(key, path string) {
	c.rule(key, "a clean absolute path")
	if !filepath.IsAbs(path) || filepath.Clean(path) != path {
		c.fail(key, "write an absolute path without . or .. and without a slash at the end", "%.200q is not a clean absolute path", path)
	}
}

func (c *checker) oneOf(key, value string, allowed ...string) {
	rule := c.rule(key, "one of %s", quoted(allowed))
	if !slices.Contains(allowed, value) {
		c.fail(key, "write "+rule, "%.80q is not known", value)
	}
}

func (c *checker) number(key string, n, hi int) {
	rule := c.rule(key, "1 to %d", hi)
	if n < 1 || n > hi {
		c.fail(key, "write a number from "+rule, "%d is out of range", n)
	}
}

// numberOrNone also accepts 0, which is no limit.
func (c *checker) numberOrNone(key string, n, hi int) {
	rule := c.rule(key, "0 to %d", hi)
	if n < 0 || n > hi {
		c.fail(key, "write a number from "+rule, "%d is out of range", n)
	}
}

func (c *checker) size(key string, s, lo, hi Size) {
	rule := c.rule(key, "%v to %v", lo, hi)
	if s < lo || s > hi {
		c.fail(key, "write a size from "+rule, "%v is out of range", s)
	}
}

// sizeOrNone also accepts 0, which is no limit.
func (c *checker) sizeOrNone(key string, s, lo Size) {
	rule := c.rule(key, "0B, or %v to %v", lo, maxMinFree)
	if s != 0 && (s < lo || s > maxMinFree) {
		c.fail(key, "write a size of "+rule, "%v is out of range", s)
	}
}

// durationOrNone also accepts 0, which means not at all.
func (c *checker) durationOrNone(key string, d Duration, lo, hi time.Duration) {
	rule := c.rule(key, "0s, or %v to %v", Duration{lo}, Duration{hi})
	if d.Duration != 0 && (d.Duration < lo || d.Duration > hi) {
		c.fail(key, "write a duration of "+rule, "%v is out of range", d)
	}
}

func (c *checker) duration(key string, d Duration, lo, hi time.Duration) {
	rule := c.rule(key, "%v to %v", Duration{lo}, Duration{hi})
	if d.Duration < lo || d.Duration > hi {
		c.fail(key, "write a duration from "+rule, "%v is out of range", d)
	}
}

// atMost refuses bounds that cross.
func (c *checker) atMost(key string, d Duration, other string, most Duration) {
	if d.Duration > most.Duration {
		c.fail(key, "make it at most "+other, "%v is above %s, %v", d, other, most)
	}
}

// quoted lists words as the file writes them.
func quoted(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = strconv.Quote(w)
	}
	return strings.Join(out, ", ")
}
