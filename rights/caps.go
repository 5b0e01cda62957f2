package rights

import (
	"fmt"
	"strings"

	"github.com/moby/sys/capability"
)

// set is a set of capabilities, one bit each, as the kernel counts them.
type set uint64

func (s set) has(c capability.Cap) bool { return s&(1<<c) != 0 }

// String names the capabilities as specs do.
func (s set) String() string {
	var names []string
	for c := range capability.Cap(64) {
		if s.has(c) {
			names = append(names, nameOf(c))
		}
	}
	return strings.Join(names, ", ")
}

func nameOf(c capability.Cap) string { return "CAP_" + strings.ToUpper(c.String()) }

// numbers maps the names of the capabilities to what the kernel calls them.
var numbers = func() map[string]capability.Cap {
	all := map[string]capability.Cap{}
	for _, c := range capability.ListKnown() {
		all[nameOf(c)] = c
	}
	return all
}()

// setOf reads names as they stand in a spec.
func setOf(names []string) (set, error) {
	var s set
	for _, name := range names {
		c, known := numbers[strings.ToUpper(name)]
		if !known {
			return 0, fmt.Errorf("unknown capability %.40q in the spec", name)
		}
		s |= 1 << c
	}
	return s, nil
}

// setIn joins the words in which an image has a set, the lowest first.
func setIn(words []uint32) set {
	var s set
	for i, word := range words {
		if i < 2 {
			s |= set(word) << (32 * i)
		}
	}
	return s
}
