package policy

// ConnectionMode says what becomes of the sockets of a suspended container.
type ConnectionMode string

// ProbeMode says what the kubelet's probes do with a suspended container.
type ProbeMode string

// StopMode says what a stop signal does with a suspended container.
type StopMode string

// The modes, the default of each first.
const (
	KeepConnections  ConnectionMode = "keep"
	CloseConnections ConnectionMode = "close"

	AnswerProbes ProbeMode = "answer"
	WakeOnProbes ProbeMode = "wake"

	EndAsleep  StopMode = "end"
	WakeToStop StopMode = "wake"
)

var (
	connectionModes = []ConnectionMode{KeepConnections, CloseConnections}
	probeModes      = []ProbeMode{AnswerProbes, WakeOnProbes}
	stopModes       = []StopMode{EndAsleep, WakeToStop}
)

// Sleep is how a suspended container sleeps, and what wakes it.
type Sleep struct {
	Connections ConnectionMode
	Probes      ProbeMode
	Stop        StopMode
	// WakeAt is when it is woken in any case.
	WakeAt Schedule
}

// sleep reads what is said of a suspended container.
func (r *resolver) sleep() {
	r.policy.Sleep = Sleep{
		Connections: choose(r, KeyConnections, SourceDefault, KeepConnections, connectionModes),
		Probes:      choose(r, KeyProbes, SourceDefault, AnswerProbes, probeModes),
		Stop:        choose(r, KeyStopAsleep, SourceDefault, EndAsleep, stopModes),
		WakeAt:      r.wakeAt(),
	}
}
