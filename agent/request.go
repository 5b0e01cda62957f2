package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/log"

	"github.com/rekindle-dev/rekindle/policy"
)

// requestFile keeps, in a container's run directory, a digest of the last value
// of the request annotation that was seen, so that a daemon that was restarted
// does not answer it twice.
const requestFile = "request"

// Asked makes one checkpoint of each running container of a pod for which the
// value of the request annotation is another than the last one seen; that which
// the pod was created with counts as seen. annotations are the pod's as they
// are now. changed says that the value has just been seen to change: a pod
// without a managed container is then told so.
//
// Calls for one pod must not overlap. Asked waits until the runtime has told
// which containers live, and returns when the checkpoints are made or refused;
// the outcomes are decisions.
func (a *Agent) Asked(ctx context.Context, namespace, pod, uid string, annotations map[string]string, changed bool) {
	select {
	case <-ctx.Done():
		return
	case <-a.synchronized:
	}
	known, together := false, map[string]bool{}
	for _, t := range a.ofPod(namespace, pod) {
		if t.PodUID != uid {
			continue
		}
		known = true
		value := policy.RequestOf(annotations, t.Name)
		if value == "" || t.running() == 0 || !t.asksAnew(digestOf(value)) {
			continue
		}
		// Who is checkpointed together is so by one answer.
		if !together[t.Sandbox] {
			together[t.Sandbox] = t.consistent()
			a.answer(ctx, t, value)
		}
	}
	if !known && changed {
		a.decide(Facts{Namespace: namespace, Pod: pod, PodUID: uid}, Decision{
			Action: ActionCheckpoint, Outcome: Refused, Trigger: policy.Request, Class: ClassUnmanaged,
			Reason: "no container of this pod is managed; it needs the annotation rekindle.dev/on when it is created",
		})
	}
}

// answer makes the checkpoint, unless that was asked for too often.
func (a *Agent) answer(ctx context.Context, t *tracked, value string) {
	now, least := time.Now(), a.Config().Bounds.IntervalMin.Duration
	t.mu.Lock()
	since := now.Sub(t.answered)
	tooSoon := !t.answered.IsZero() && since < least
	if !tooSoon {
		t.answered = now
	}
	t.mu.Unlock()
	if tooSoon {
		a.decide(t.Facts, Decision{
			Action: ActionCheckpoint, Outcome: Refused, Trigger: policy.Request, Class: ClassRate,
			Reason: fmt.Sprintf("asked for %s after the last time, and bounds.interval_min is %s", since.Round(time.Millisecond), least),
		})
		return
	}
	// The outcome, good or bad, is a decision that is kept and logged.
	_, _ = a.Checkpoint(ctx, t.ID, policy.Request, "asked for by rekindle.dev/request="+policy.Quote(value))
}

// asksAnew tells whether a value has not been seen yet, and notes it.
func (t *tracked) asksAnew(digest string) bool {
	if t.lastRequest() == digest {
		return false
	}
	t.noteRequest(digest)
	return true
}

// lastRequest returns the digest of the last value seen.
func (t *tracked) lastRequest() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.requested == "" {
		t.requested = digestOf(policy.RequestOf(t.Annotations, t.Name))
		if data, err := os.ReadFile(filepath.Join(string(t.dir), requestFile)); err == nil {
			t.requested = string(data)
		}
	}
	return t.requested
}

func (t *tracked) noteRequest(digest string) {
	t.mu.Lock()
	t.requested = digest
	t.mu.Unlock()
	if err := t.dir.WriteFile(requestFile, []byte(digest)); err != nil {
		log.L.WithError(err).WithField("container", t.ID).Warn("note the request; the next daemon may answer it again")
	}
}

// inheritRequest takes over what was seen of the request annotation from the
// container before in the same pod: its end is no new request.
func (t *tracked) inheritRequest(previous *tracked) {
	if seen := previous.lastRequest(); seen != t.lastRequest() {
		t.noteRequest(seen)
	}
}

func digestOf(value string) string {
	sum := sha256.Sum256([]byte(value))
	return hex.EncodeToString(sum[:])
}
