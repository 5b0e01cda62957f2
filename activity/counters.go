package activity

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// counters are what the kernel counts in one network namespace since it was made.
type counters struct {
	// segments are those of TCP, in and out; opened counts connections.
	segments, opened uint64
	// established is how many connections there are now.
	established uint64
	// datagrams are those of UDP that were received and sent.
	datagrams uint64
}

// readCounters reads those of the namespace in which a process is.
func readCounters(pid int) (counters, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/snmp", pid))
	if err != nil {
		return counters{}, fmt.Errorf("read network counters: %w", err)
	}
	c := counters{
		segments:    tableSum(string(text), "Tcp:", "InSegs", "OutSegs"),
		opened:      tableSum(string(text), "Tcp:", "ActiveOpens", "PassiveOpens"),
		established: tableSum(string(text), "Tcp:", "CurrEstab"),
		datagrams:   tableSum(string(text), "Udp:", "InDatagrams", "OutDatagrams"),
	}
	// A kernel without IPv6 has no such file.
	if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/snmp6", pid)); err == nil {
		c.datagrams += listSum(string(text), "Udp6InDatagrams", "Udp6OutDatagrams")
	}
	return c, nil
}

// tableSum adds up columns of a table of two lines, names and numbers, that both
// begin with a word.
func tableSum(text, word string, names ...string) (sum uint64) {
	var heading []string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != word {
			continue
		}
		if heading == nil {
			heading = fields
			continue
		}
		for i, name := range heading {
			if i < len(fields) && slices.Contains(names, name) {
				n, _ := strconv.ParseUint(fields[i], 10, 64)
				sum += n
			}
		}
		break
	}
	return sum
}

// listSum adds up numbers of a list with a name and a number on each line.
func listSum(text string, names ...string) (sum uint64) {
	for line := range strings.Lines(text) {
		if name, rest, found := strings.Cut(line, " "); found && slices.Contains(names, strings.TrimRight(name, "\t")) {
			n, _ := strconv.ParseUint(strings.TrimSpace(rest), 10, 64)
			sum += n
		}
	}
	return sum
}

// inUse tells whether a network namespace has TCP sockets of a family. Asking for
// them costs the kernel a walk through the table of the whole node.
func inUse(pid int, file, word string) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, file))
	if err != nil {
		return file == "sockstat" // a kernel without IPv6 has no other one
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[0] == word && fields[1] == "inuse" {
			return fields[2] != "0"
		}
	}
	return true
}
