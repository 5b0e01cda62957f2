package audit

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/rekindle-dev/rekindle/agent"
)

// maxReason bounds the text of a reason in a line, in bytes.
const maxReason = 4 << 10

// Entry is one line. Fields are added at the end and never change their
// meaning; what does not apply is left out.
type Entry struct {
	// Time is UTC, with fractions of a second.
	Time time.Time `json:"time"`
	Node string    `json:"node"`

	Namespace   string `json:"namespace"`
	Pod         string `json:"pod"`
	PodUID      string `json:"podUid,omitempty"`
	Container   string `json:"container"`
	ContainerID string `json:"containerId,omitempty"`

	Action  string `json:"action"`
	Trigger string `json:"trigger,omitempty"`
	Outcome string `json:"outcome"`
	// Class is one of a closed set, Reason is for people.
	Class      string `json:"class"`
	Reason     string `json:"reason"`
	Checkpoint string `json:"checkpoint,omitempty"`
	// Bytes and Pause are those of a checkpoint that was made, Took is the time
	// that a restore took.
	Bytes int64         `json:"bytes,omitempty"`
	Pause time.Duration `json:"pauseNs,omitempty"`
	Took  time.Duration `json:"tookNs,omitempty"`
}

// line encodes a decision. JSON escapes what a tenant may have put into names.
func line(node string, f agent.Facts, d agent.Decision) ([]byte, error) {
	e := Entry{
		Time: d.Time.UTC(), Node: node,
		Namespace: f.Namespace, Pod: f.Pod, PodUID: f.PodUID, Container: f.Name, ContainerID: f.ID,
		Action: d.Action, Trigger: string(d.Trigger), Outcome: d.Outcome, Class: string(d.Class),
		Reason: strings.ToValidUTF8(d.Reason[:min(len(d.Reason), maxReason)], "?"), Checkpoint: d.Checkpoint,
		Bytes: d.Bytes, Pause: d.Pause, Took: d.Took,
	}
	data, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode audit line: %w", err)
	}
	return append(data, '\n'), nil
}
