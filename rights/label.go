package rights

import (
	"fmt"
	"os"
	"strings"
)

// unconfined is what AppArmor calls a process without a profile.
const unconfined = "unconfined"

// profiled tells whether the spec asks for a security label that this node has
// the module for. runc leaves a profile out where AppArmor is not enabled.
func (r *Rights) profiled() (label string, asked bool) {
	if label := r.spec.Process.SelinuxLabel; label != "" {
		return label, true
	}
	label = r.spec.Process.ApparmorProfile
	return label, label != "" && label != unconfined && appArmor()
}

// appArmor tells whether the kernel confines by AppArmor.
func appArmor() bool {
	enabled, err := os.ReadFile("/sys/module/apparmor/parameters/enabled")
	return err == nil && strings.HasPrefix(string(enabled), "Y")
}

// mislabelled compares a security label with the one of the spec. A profile of
// AppArmor may have led to one of its children.
func (r *Rights) mislabelled(label string) error {
	want, asked := r.profiled()
	if !asked || label == want || strings.HasPrefix(label, want+"//") && r.spec.Process.SelinuxLabel == "" {
		return nil
	}
	return fmt.Errorf("%w: the security label is %.100q and not %.100q", ErrExceeded, label, want)
}

// cutMode takes off what AppArmor appends to a label: " (enforce)".
func cutMode(label string) string {
	label = strings.TrimRight(label, "\x00\n")
	if i := strings.LastIndex(label, " ("); i > 0 && strings.HasSuffix(label, ")") {
		return label[:i]
	}
	return label
}
