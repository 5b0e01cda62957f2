package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Shape is the part of a container's spec that must be the same for a restore to
// be sound, as far as the runtime shows it. The shim compares what is not shown
// here (capabilities, security profiles) when it restores.
type Shape struct {
	ImageDigest string
	Args        []string
	// Env is the whole environment; Fingerprint leaves out what changes from pod
	// to pod.
	Env []string
	// Mounts are "type destination"; sources differ from pod to pod.
	Mounts     []string
	User       string
	Rlimits    []string
	Namespaces []string
	Devices    []string
	// Volatile are values that name the pod itself, such as its address; an
	// environment entry with such a value is left out.
	Volatile []string
}

// serviceVariable matches the variables that the kubelet derives from the
// namespace's services; they come and go with other people's services.
var serviceVariable = regexp.MustCompile(`^[A-Z0-9_]+_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)=`)

// Fingerprint is the digest of a shape.
func (s Shape) Fingerprint() string {
	s.Env = slices.DeleteFunc(slices.Clone(s.Env), s.volatile)
	s.Volatile = nil
	for _, set := range []*[]string{&s.Env, &s.Mounts, &s.Rlimits, &s.Namespaces, &s.Devices} {
		*set = slices.Sorted(slices.Values(*set))
	}
	data, err := json.Marshal(s)
	if err != nil {
		panic(fmt.Sprintf("encode a struct of strings: %v", err))
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func (s Shape) volatile(entry string) bool {
	name, value, _ := strings.Cut(entry, "=")
	return name == "HOSTNAME" || serviceVariable.MatchString(entry) ||
		value != "" && slices.Contains(s.Volatile, value)
}
