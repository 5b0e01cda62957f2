package kube

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rekindle-dev/rekindle/agent"
	"github.com/rekindle-dev/rekindle/policy"
)

func TestReasonOf(t *testing.T) {
	tests := map[string]struct {
		d    agent.Decision
		want string
	}{
		"request made":        {agent.Decision{Action: agent.ActionCheckpoint, Outcome: agent.Taken, Trigger: policy.Request}, Checkpointed},
		"stop made":           {agent.Decision{Action: agent.ActionCheckpoint, Outcome: agent.Taken, Trigger: policy.Stop}, Checkpointed},
		"ready made":          {agent.Decision{Action: agent.ActionCheckpoint, Outcome: agent.Taken, Trigger: policy.Ready}, Checkpointed},
		"interval made":       {agent.Decision{Action: agent.ActionCheckpoint, Outcome: agent.Taken, Trigger: policy.Interval}, ""},
		"interval failed":     {agent.Decision{Action: agent.ActionCheckpoint, Outcome: agent.Failed, Trigger: policy.Interval}, CheckpointFailed},
		"interval skipped":    {agent.Decision{Action: agent.ActionCheckpoint, Outcome: agent.Skipped, Trigger: policy.Interval}, ""},
		"request skipped":     {agent.Decision{Action: agent.ActionCheckpoint, Outcome: agent.Skipped, Trigger: policy.Request}, CheckpointRefused},
		"restored":            {agent.Decision{Action: agent.ActionRestore, Outcome: agent.Taken}, Restored},
		"restore failed":      {agent.Decision{Action: agent.ActionRestore, Outcome: agent.Failed}, RestoreFailed},
		"idle made":           {agent.Decision{Action: agent.ActionCheckpoint, Outcome: agent.Taken, Trigger: policy.Idle}, Checkpointed},
		"suspended":           {agent.Decision{Action: agent.ActionSuspend, Outcome: agent.Taken, Trigger: policy.Idle}, Suspended},
		"must not sleep":      {agent.Decision{Action: agent.ActionSuspend, Outcome: agent.Refused, Trigger: policy.Idle}, SuspendFailed},
		"suspend failed":      {agent.Decision{Action: agent.ActionSuspend, Outcome: agent.Failed, Trigger: policy.Idle}, SuspendFailed},
		"suspend skipped":     {agent.Decision{Action: agent.ActionSuspend, Outcome: agent.Skipped, Trigger: policy.Idle}, ""},
		"resumed":             {agent.Decision{Action: agent.ActionResume, Outcome: agent.Taken}, Resumed},
		"resume failed":       {agent.Decision{Action: agent.ActionResume, Outcome: agent.Failed}, ResumeFailed},
		"cold start":          {agent.Decision{Action: agent.ActionColdStart, Outcome: agent.Taken}, ""},
		"quarantine":          {agent.Decision{Action: agent.ActionQuarantine, Outcome: agent.Taken}, Quarantined},
		"removal":             {agent.Decision{Action: agent.ActionRemove, Outcome: agent.Taken}, ""},
		"container not taken": {agent.Decision{Action: agent.ActionAdmit, Outcome: agent.Refused}, NotManaged},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := reasonOf(tt.d); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// The API server refuses an Event whose fields are too long.
func TestEventIsWithinLimits(t *testing.T) {
	f := web
	f.Pod = strings.Repeat("p", 253)
	e := eventOf(strings.Repeat("n", 300), f, decided(agent.Decision{
		Action: agent.ActionRestore, Outcome: agent.Failed, Reason: strings.Repeat("ä", 2000) + "\xff",
	}))
	if len(e.Name) > 253 || len(e.Note) > 1024 || !utf8.ValidString(e.Note) || len(e.ReportingInstance) > 128 {
		t.Errorf("name %d, note %d, instance %d bytes", len(e.Name), len(e.Note), len(e.ReportingInstance))
	}
	if eventOf("n", agent.Facts{Name: "app", Pod: "gone"}, refused) != nil {
		t.Error("an Event about a pod of which nothing is known")
	}
}
