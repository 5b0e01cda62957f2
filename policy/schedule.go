package policy

import (
	"errors"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// maxSchedule bounds a cron expression, in bytes.
const maxSchedule = 128

// Schedule says when a suspended container is woken. The zero value is never.
type Schedule struct {
	text  string
	times cron.Schedule
	// least is the time between two wakes.
	least time.Duration
}

// IsZero tells whether it is never.
func (s Schedule) IsZero() bool { return s.times == nil }

// String returns the schedule as an annotation says it, safe to print.
func (s Schedule) String() string {
	if s.IsZero() {
		return "never"
	}
	return quote(s.text)
}

// Next returns when a container that sleeps since then is to be woken, if it was
// last woken by its schedule at the other time (or never, the zero time); the
// zero time when it is not. Times are read in UTC.
func (s Schedule) Next(asleep, woken time.Time) time.Time {
	if s.IsZero() {
		return time.Time{}
	}
	after := asleep
	// What comes next is later than what is asked, by a nanosecond at least.
	if soonest := woken.Add(s.least - 1); !woken.IsZero() && soonest.After(after) {
		after = soonest
	}
	return s.times.Next(after.UTC())
}

// wakeAt reads the schedule.
func (r *resolver) wakeAt() Schedule {
	r.use(KeyWakeAt, SourceDefault, source{})
	least := r.cfg.Bounds.WakeMin
	for _, s := range r.sources(KeyWakeAt) {
		schedule, err := parseSchedule(s.value)
		if err != nil {
			r.problem(s, s.value, err.Error(), ignored)
			continue
		}
		schedule.least = least.Duration
		kind := s.kind
		if schedule.closest() < least.Duration {
			r.problem(s, s.value, "wakes more often than bounds.wake_min of the config file allows", least.String()+" at least are between two")
			kind = SourceBound
		}
		r.use(KeyWakeAt, kind, s)
		return schedule
	}
	return Schedule{}
}

var (
	errSchedule     = errors.New(`is not a cron expression; write five fields for minute, hour, day, month and weekday, such as "0 6 * * 1-5"`)
	errLongSchedule = errors.New("is too long for a cron expression")
	errZone         = errors.New("names a time zone; times are in UTC")
	errNoSuchTime   = errors.New("is a time that never comes")
)

// parseSchedule reads a cron expression. The parser's own errors repeat what was
// written, and are not passed on.
func parseSchedule(value string) (Schedule, error) {
	value = strings.Trim(value, " \t")
	switch {
	case len(value) > maxSchedule:
		return Schedule{}, errLongSchedule
	case strings.Contains(value, "TZ="):
		// It would be looked for in files, by that name.
		return Schedule{}, errZone
	}
	times, err := cron.ParseStandard(value)
	if err != nil {
		return Schedule{}, errSchedule
	}
	if times.Next(epoch).IsZero() {
		return Schedule{}, errNoSuchTime
	}
	return Schedule{text: value, times: times}, nil
}

// epoch is from where schedules are judged, so that the same text is always
// judged the same. A leap year is near.
var epoch = time.Date(2003, time.January, 1, 0, 0, 0, 0, time.UTC)

// closest returns the least time between two of the first wakes.
func (s Schedule) closest() time.Duration {
	const looked = 64
	least := time.Duration(1<<63 - 1)
	last := s.times.Next(epoch)
	for range looked {
		next := s.times.Next(last)
		if next.IsZero() {
			break
		}
		least, last = min(least, next.Sub(last)), next
	}
	return least
}
