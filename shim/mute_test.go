package shim

import (
	"context"
	"slices"
	"testing"

	eventstypes "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/v2/core/events"

	"github.com/rekindle-dev/rekindle/api"
)

// heard is a publisher that notes what it is told.
type heard struct{ topics []string }

func (h *heard) Publish(_ context.Context, topic string, _ events.Event) error {
	h.topics = append(h.topics, topic)
	return nil
}

func (*heard) Close() error { return nil }

// What the wrapped service tells of a container that sleeps and wakes twice, and
// then ends, is for containerd one creation, one start and one end.
func TestMute(t *testing.T) {
	c := &container{id: "c1", dir: api.ContainerDir(t.TempDir()), mutes: map[string]int{}}
	s := &Service{containers: map[string]*container{"c1": c}, live: map[string]bool{}}
	out := &heard{}
	w := &witness{Publisher: out, service: s}
	tell := func(topic string, event events.Event) { must(t, w.Publish(context.Background(), topic, event)) }
	begin := func() {
		tell(topicCreate, &eventstypes.TaskCreate{ContainerID: "c1"})
		tell(topicStart, &eventstypes.TaskStart{ContainerID: "c1"})
	}
	end := func() {
		tell(topicExit, &eventstypes.TaskExit{ContainerID: "c1", ID: "c1", ExitStatus: 137})
		tell(topicDelete, &eventstypes.TaskDelete{ContainerID: "c1"})
	}
	begin()
	for range 2 {
		c.mute(topicExit)
		c.mute(topicDelete)
		end()
		c.mute(topicCreate)
		c.mute(topicStart)
		begin()
	}
	// A try that came to nothing tells nothing.
	c.mute(topicCreate)
	c.unmute(topicCreate)
	// Others are heard whatever happens.
	c.mute(topicExit)
	tell(topicExit, &eventstypes.TaskExit{ContainerID: "c1", ID: "an-exec"})
	tell(topicExit, &eventstypes.TaskExit{ContainerID: "c2", ID: "c2"})
	c.unmute(topicExit)
	end()

	want := []string{topicCreate, topicStart, topicExit, topicExit, topicExit, topicDelete}
	if !slices.Equal(out.topics, want) {
		t.Errorf("containerd heard %q, want %q", out.topics, want)
	}
	var exit api.Exit
	if err := c.dir.Read(&exit); err != nil || exit.Status != 137 {
		t.Errorf("the exit record is %+v, %v", exit, err)
	}
}
