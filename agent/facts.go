package agent

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/rekindle-dev/rekindle/policy"
	"github.com/rekindle-dev/rekindle/store"
)

// Facts are what the runtime says of one container. Names and labels in them
// were chosen by a tenant, who could choose them freely only within his own
// namespace.
type Facts struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Sandbox string `json:"sandbox"`

	Namespace string            `json:"namespace"`
	Pod       string            `json:"pod"`
	PodUID    string            `json:"pod_uid"`
	Labels    map[string]string `json:"labels,omitempty"`
	// Annotations are the pod's.
	Annotations map[string]string `json:"annotations,omitempty"`

	Image       string `json:"image"`
	ImageDigest string `json:"image_digest"`
	Fingerprint string `json:"fingerprint"`
	// Grace is how long the pod may take to stop; 0 when that is not known.
	Grace time.Duration `json:"grace_ns,omitempty"`
	// Refusal says why this container cannot be checkpointed; empty when it can.
	Refusal string `json:"refusal,omitempty"`
	// Pid is the host's id of the container's init; 0 until it has started.
	Pid int `json:"pid,omitempty"`
}

// Isolation is what a container shares with others; the runtime's face fills it
// in, and policy judges it.
type Isolation = policy.Isolation

// errNoIdentity is returned for a pod whose names cannot be an identity.
var errNoIdentity = errors.New("pod has no usable identity")

// generatedSuffix is what Kubernetes appends to a generated name.
var generatedSuffix = regexp.MustCompile(`^[a-z0-9]{4,10}$`)

// Kinds of workload, the first part of a lineage's workload name.
const (
	kindPod      = "pod"      // one name, one pod at a time: StatefulSets, static and bare pods
	kindTemplate = "template" // pods of one ReplicaSet: names vary, the template does not
	kindJob      = "job"      // pods of one Job, or of one index of it: as above
)

// Labels that Kubernetes puts on the pods of a Job.
const (
	jobNameLabel  = "batch.kubernetes.io/job-name"
	jobUIDLabel   = "batch.kubernetes.io/controller-uid"
	jobIndexLabel = "batch.kubernetes.io/job-completion-index"
)

// lineageOf computes under which name the checkpoints of a container are kept,
// and hence which later containers may ask for them. Only the pod's metadata
// count; the store checks their form.
//
// A pod of a Deployment is known by its template's hash, and one of a Job by the
// Job's name, which Kubernetes puts into its labels and its name; both must
// agree, so that a label alone opens nothing. The Job's UID keeps a Job apart
// from an earlier one of the same name, whose work is done.
func lineageOf(f Facts) (store.Lineage, error) {
	workload := kindPod + "." + f.Pod
	if name := templateOf(f); name != "" {
		workload = kindTemplate + "." + name
	} else if name := jobOf(f); name != "" {
		workload = kindJob + "." + name
	}
	l := store.Lineage{Namespace: f.Namespace, Workload: workload, Container: f.Name}
	if err := l.Validate(); err != nil {
		return store.Lineage{}, fmt.Errorf("%w: %w", errNoIdentity, err)
	}
	return l, nil
}

// templateOf returns the name of the ReplicaSet that a pod is of, or nothing.
func templateOf(f Facts) string {
	hash := f.Labels["pod-template-hash"]
	owner, suffix, found := strings.Cut(f.Pod, "-"+hash+"-")
	if hash == "" || !found || owner == "" || !generatedSuffix.MatchString(suffix) {
		return ""
	}
	return owner + "-" + hash
}

// jobOf names the Job that a pod is of, with the index if it has one; or nothing.
func jobOf(f Facts) string {
	name, uid := f.Labels[jobNameLabel], f.Labels[jobUIDLabel]
	if index := f.Labels[jobIndexLabel]; index != "" {
		name += "-" + index
	}
	suffix, found := strings.CutPrefix(f.Pod, name+"-")
	if name == "" || uid == "" || !found || !generatedSuffix.MatchString(suffix) {
		return ""
	}
	return name + "." + uid
}

// shared tells whether several pods may live under one lineage at the same time.
func shared(l store.Lineage) bool {
	return strings.HasPrefix(l.Workload, kindTemplate+".") || strings.HasPrefix(l.Workload, kindJob+".")
}
