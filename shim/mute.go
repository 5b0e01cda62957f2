package shim

import (
	"context"

	eventstypes "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/containerd/v2/core/runtime"
	"github.com/containerd/log"
)

// The wrapped service tells of every process that it starts and that ends. For
// containerd a container that sleeps and wakes has done neither. Events of one
// container come in the order of what happens to it, so it is enough to count
// how many of a kind are not to be heard.

// mute has the next event of that topic about the container dropped.
func (c *container) mute(topic string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mutes[topic]++
}

// unmute takes that back, for an event that does not come.
func (c *container) unmute(topic string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mutes[topic]--
}

// muted tells whether an event of that topic is to be dropped, and counts it.
func (c *container) muted(topic string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mutes[topic] <= 0 {
		return false
	}
	c.mutes[topic]--
	return true
}

// muted tells whether an event is not containerd's to hear.
func (s *Service) muted(topic string, event events.Event) bool {
	var id string
	switch e := event.(type) {
	case *eventstypes.TaskCreate:
		id = e.ContainerID
	case *eventstypes.TaskStart:
		id = e.ContainerID
	case *eventstypes.TaskDelete:
		id = e.ContainerID
	case *eventstypes.TaskExit:
		if e.ID == e.ContainerID {
			id = e.ContainerID
		}
	}
	c := s.managed(id)
	return c != nil && c.muted(topic)
}

// publish tells containerd what the wrapped service does not know.
func (s *Service) publish(ctx context.Context, c *container, topic string, event events.Event) {
	if err := s.publisher.Publish(c.in(context.WithoutCancel(ctx)), topic, event); err != nil {
		log.G(ctx).WithError(err).WithField("container", c.id).Error("post event")
	}
}

// What the wrapped service tells of processes that come and go for a sleep.
const (
	topicCreate = runtime.TaskCreateEventTopic
	topicStart  = runtime.TaskStartEventTopic
	topicExit   = runtime.TaskExitEventTopic
	topicDelete = runtime.TaskDeleteEventTopic
)
