package agent

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/rekindle-dev/rekindle/store"
)

// objection says why a checkpoint cannot be restored on this node. What may
// differ, and why, is in docs/decisions/0017-what-may-differ.md.
func (n Node) objection(m store.Manifest) string {
	switch {
	case m.Arch != n.Arch:
		return fmt.Sprintf("it was made on another architecture (%s, this node is %s)", m.Arch, n.Arch)
	case n.lacks(m.CPUFeatures) != "":
		return fmt.Sprintf("it was made on a processor that can do more (%.60s)", n.lacks(m.CPUFeatures))
	case m.Cgroup != n.Cgroup:
		return fmt.Sprintf("it was made with other control groups (%.20s, this node has %s)", m.Cgroup, n.Cgroup)
	case older(n.Kernel, m.Kernel):
		return fmt.Sprintf("it was made on a newer kernel (%.60s, this node has %.60s)", m.Kernel, n.Kernel)
	case older(n.CRIU, m.CRIU):
		return fmt.Sprintf("it was made by a newer CRIU (%.60s, this node has %.60s)", m.CRIU, n.CRIU)
	case older(n.Runc, m.Runc):
		return fmt.Sprintf("it was made by a newer runc (%.60s, this node has %.60s)", m.Runc, n.Runc)
	}
	return ""
}

// lacks names the features that this node's processor does not have.
func (n Node) lacks(features string) string {
	has := strings.Fields(n.CPUFeatures)
	missing := slices.DeleteFunc(strings.Fields(features), func(f string) bool { return slices.Contains(has, f) })
	return strings.Join(missing, " ")
}

// leading are the numbers with which a version begins: 6.18.5 in 6.18.5-amd64.
var leading = regexp.MustCompile(`^(\d{1,6})(?:\.(\d{1,6}))?(?:\.(\d{1,6}))?`)

// older tells whether what a node has is older than what a checkpoint was made
// with. Where the two cannot be compared, only the same will do.
func older(has, madeWith string) bool {
	x, y := leading.FindStringSubmatch(has), leading.FindStringSubmatch(madeWith)
	if x == nil || y == nil {
		return has != madeWith
	}
	return slices.Compare(numbers(x[1:]), numbers(y[1:])) < 0
}

// numbers reads the parts of a version; one that is not there is 0.
func numbers(parts []string) []int {
	list := make([]int, len(parts))
	for i, part := range parts {
		list[i], _ = strconv.Atoi(part)
	}
	return list
}
