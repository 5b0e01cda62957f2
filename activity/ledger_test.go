package activity_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/activity"
)

const (
	server = "10.0.0.9:8080"
	node   = "10.0.0.1:40000"
	client = "10.7.7.7:40000"
)

// look is what a ledger is told at one look.
type look struct {
	gone, live []activity.Socket
	sessions   bool
	pause      bool // before it
	// want is what it makes of it: connections, probes, bytes.
	want [3]uint64
}

func of(list ...activity.Socket) []activity.Socket { return list }

// short is a connection that comes and goes between two looks.
func short(cookie uint64, from string, received, sent uint64) activity.Socket {
	return activity.NewSocket(cookie, server, from, received, sent)
}

func TestLedger(t *testing.T) {
	open := func(bytes uint64) activity.Socket { return activity.NewSocket(1, server, client, bytes, 0) }
	trial := func(cookie, received uint64) activity.Socket {
		return activity.NewSocket(cookie, server, node, received, 0)
	}
	inside := func(cookie, asked, answered uint64) []activity.Socket {
		const local, far = "127.0.0.1:6379", "127.0.0.1:50000"
		return of(activity.NewSocket(cookie, local, far, asked, answered), activity.NewSocket(cookie+1, far, local, answered, asked))
	}
	var many []activity.Socket
	for i := range uint64(30) {
		many = append(many, short(100+i, node, 120, 200))
	}
	tests := map[string][]look{
		"what was there before": {
			{live: of(open(500))}, {live: of(open(500))},
		},
		"data on an old connection": {
			{live: of(open(500))}, {live: of(open(500))}, {live: of(open(530)), want: [3]uint64{0, 0, 30}}, {live: of(open(530))},
		},
		"the last data of an old connection": {
			{live: of(open(500))}, {gone: of(open(520)), want: [3]uint64{0, 0, 20}}, {},
		},
		"a new connection that says nothing": {
			{}, {live: of(open(0)), want: [3]uint64{1, 0, 0}}, {live: of(open(0))},
		},
		"a client's short connection": {
			{}, {gone: of(short(1, client, 100, 900)), want: [3]uint64{1, 0, 1000}},
		},
		"a client's short connections, all alike": {
			{}, {gone: of(short(1, client, 100, 900)), want: [3]uint64{1, 0, 1000}}, {gone: of(short(2, client, 100, 900)), want: [3]uint64{1, 0, 1000}},
		},
		"somebody else's connection in the pod": {
			{}, {live: of(activity.NewSocket(1, "10.0.0.9:9999", client, 5, 5))}, {gone: of(activity.NewSocket(1, "10.0.0.9:9999", client, 9, 9))},
		},
		"HTTP probes": {
			{},
			{gone: of(short(1, node, 120, 200)), want: [3]uint64{1, 0, 320}},
			{gone: of(short(2, node, 120, 203)), want: [3]uint64{0, 1, 0}},
			{gone: of(short(3, node, 120, 200)), want: [3]uint64{0, 1, 0}},
		},
		"TCP probes": {
			{}, {gone: of(short(1, node, 0, 0)), want: [3]uint64{1, 0, 0}}, {gone: of(short(2, node, 0, 0), short(3, node, 0, 0)), want: [3]uint64{0, 2, 0}},
		},
		"a request from the node that is not a probe's": {
			{},
			{gone: of(short(1, node, 120, 200)), want: [3]uint64{1, 0, 320}},
			{gone: of(short(2, node, 120, 200)), want: [3]uint64{0, 1, 0}},
			{gone: of(short(3, node, 431, 200)), want: [3]uint64{1, 0, 631}},
		},
		"requests from the node that are too large": {
			{},
			{gone: of(short(1, node, 8<<10, 9)), want: [3]uint64{1, 0, 8<<10 + 9}},
			{gone: of(short(2, node, 8<<10, 9)), want: [3]uint64{1, 0, 8<<10 + 9}},
			{gone: of(short(3, node, 1, 1<<20)), want: [3]uint64{1, 0, 1<<20 + 1}},
			{gone: of(short(4, node, 1, 1<<20)), want: [3]uint64{1, 0, 1<<20 + 1}},
		},
		"more from the node than are probes": {
			{}, {gone: of(short(1, node, 120, 200)), want: [3]uint64{1, 0, 320}}, {gone: many, want: [3]uint64{18, 12, 18 * 320}},
		},
		"a probe that is under way at a look": {
			{},
			{gone: of(short(1, node, 120, 200)), want: [3]uint64{1, 0, 320}},
			{live: of(trial(2, 120))},
			{gone: of(trial(2, 120)), want: [3]uint64{0, 1, 0}},
		},
		"a probe whose end the container does not notice": {
			{}, {live: of(trial(2, 120))}, {live: of(trial(2, 120).HalfClosed())}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {live: of(trial(2, 120).HalfClosed())},
		},
		"a connection from the node that stays": {
			{},
			{live: of(trial(2, 120))},
			{live: of(trial(2, 120))},
			{},
			{},
			{},
			{},
			{},
			{},
			{},
			{},
			{live: of(trial(2, 120)), want: [3]uint64{1, 0, 120}},
			{live: of(trial(2, 120))},
			{live: of(trial(2, 150)), want: [3]uint64{0, 0, 30}},
		},
		"a large request from the node that is under way": {
			{}, {live: of(trial(2, 120))}, {live: of(trial(2, 9<<10)), want: [3]uint64{1, 0, 9 << 10}},
		},
		"connections within the pod": {
			{}, {gone: inside(1, 14, 7), want: [3]uint64{2, 0, 42}}, {gone: inside(3, 14, 7), want: [3]uint64{2, 0, 42}},
		},
		"what exec probes connect to": {
			{},
			{gone: inside(1, 14, 7), sessions: true, want: [3]uint64{2, 0, 42}},
			{gone: inside(3, 14, 7), sessions: true, want: [3]uint64{0, 2, 0}},
			{gone: inside(5, 14, 9), sessions: true, want: [3]uint64{0, 2, 0}},
			{gone: inside(7, 14, 7), want: [3]uint64{2, 0, 42}},
		},
		"a probe that has not come for long": {
			{},
			{gone: of(short(1, node, 120, 200)), want: [3]uint64{1, 0, 320}},
			{gone: of(short(2, node, 120, 200)), want: [3]uint64{0, 1, 0}},
			{pause: true},
			{gone: of(short(3, node, 120, 200)), want: [3]uint64{1, 0, 320}},
		},
	}
	for name, looks := range tests {
		t.Run(name, func(t *testing.T) {
			l := activity.NewLedger()
			now := time.Unix(1e9, 0)
			for i, k := range looks {
				now = now.Add(time.Second)
				if k.pause {
					now = now.Add(time.Hour)
				}
				got := l.Account(now, k.gone, k.live, k.sessions)
				if sum := [3]uint64{uint64(got.Connections), uint64(got.Probes), got.Bytes}; sum != k.want {
					t.Fatalf("look %d: %v connections, probes, bytes, want %v", i, sum, k.want)
				}
				if got.Connections > 0 && got.Busiest == "" {
					t.Errorf("look %d: nothing is said of the connection", i)
				}
			}
		})
	}
}

func TestLedgerNamesTheBusiest(t *testing.T) {
	l := activity.NewLedger()
	now := time.Unix(1e9, 0)
	l.Account(now, nil, nil, false)
	var list []activity.Socket
	for i := range uint64(5) {
		list = append(list, activity.NewSocket(i, server, fmt.Sprintf("10.7.7.%d:5000", i), i*100%300, 0))
	}
	if got := l.Account(now.Add(time.Second), nil, list, false); got.Busiest != "between 10.7.7.2:5000 and port 8080 here" {
		t.Errorf("the busiest is %q", got.Busiest)
	}
}
