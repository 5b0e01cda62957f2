package policy

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/rekindle-dev/rekindle/conf"
)

// ConditionKind is a way in which a container can become ready.
type ConditionKind string

// The kinds.
const (
	After ConditionKind = "after" // a time has passed since its creation
	Line  ConditionKind = "log"   // it has logged a line with a certain text
	Port  ConditionKind = "port"  // something listens on a TCP port of its pod
	File  ConditionKind = "file"  // it has made one of ReadyFiles
)

// Condition says when a container is ready. Which field counts depends on the
// kind; the zero value is never met.
type Condition struct {
	Kind  ConditionKind
	After time.Duration
	// Text is compared with lines of the log, and used for nothing else.
	Text string
	Port int
}

// ReadyFiles are the files by which a container can say that it is ready. They
// are fixed, because nothing that a tenant writes may be used as a path.
var ReadyFiles = []string{"/run/rekindle-ready", "/tmp/rekindle-ready"}

const (
	// defaultAfter is when a container counts as ready that does not say more.
	defaultAfter = 30 * time.Second
	// maxText bounds the text to be found in a log, in bytes.
	maxText = 128
)

// String returns the condition as an annotation says it, safe to print.
func (c Condition) String() string {
	switch c.Kind {
	case After:
		return "after=" + conf.Duration{Duration: c.After}.String()
	case Line:
		return "log=" + quote(c.Text)
	case Port:
		return "port=" + strconv.Itoa(c.Port)
	case File:
		return "file"
	}
	return "never"
}

// ready reads the condition of the ready trigger. Who meant a certain moment
// must not get another one: with a value that cannot be understood, the trigger
// never fires.
func (r *resolver) ready() {
	r.policy.Ready = Condition{Kind: After, After: min(defaultAfter, r.cfg.Bounds.ReadyMax.Duration)}
	sources := r.sources(KeyReady)
	for _, s := range sources {
		c, err := parseCondition(s.value)
		if err != nil {
			r.problem(s, s.value, err.Error(), ignored)
			continue
		}
		kind := s.kind
		if most := r.cfg.Bounds.ReadyMax.Duration; c.After > most {
			r.problem(s, s.value, "is above bounds.ready_max of the config file", most.String()+" is used")
			c.After, kind = most, SourceBound
		}
		r.policy.Ready = c
		r.use(KeyReady, kind, s)
		return
	}
	if len(sources) > 0 {
		r.policy.Ready = Condition{}
	}
	r.use(KeyReady, SourceDefault, source{})
}

var (
	errCondition = errors.New("is not one of after=DURATION, log=TEXT, port=NUMBER, file")
	errPort      = errors.New("is not a port; write a number from 1 to 65535, as in port=8080")
	errNoText    = errors.New("names no text to look for in the log")
	errText      = errors.New("has characters that do not stand in a line of a log")
)

func parseCondition(value string) (Condition, error) {
	kind, rest, found := strings.Cut(strings.Trim(value, " \t"), "=")
	c := Condition{Kind: ConditionKind(kind)}
	switch {
	case c.Kind == File && !found:
		return c, nil
	case c.Kind == After && found:
		var err error
		c.After, err = parseDuration(rest)
		return c, err
	case c.Kind == Line && found:
		c.Text = rest
		return c, checkText(rest)
	case c.Kind == Port && found:
		port, ok := parseCount(rest)
		if !ok || port < 1 || port > 65535 {
			return c, errPort
		}
		c.Port = port
		return c, nil
	}
	return c, errCondition
}

// checkText accepts what can stand in one line of a log.
func checkText(text string) error {
	switch {
	case text == "":
		return errNoText
	case len(text) > maxText:
		return fmt.Errorf("is longer than the %d bytes that are looked for in a log", maxText)
	case !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl):
		return errText
	}
	return nil
}
