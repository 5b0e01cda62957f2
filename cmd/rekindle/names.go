package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// errUsage is returned for an argument that cannot be right.
var errUsage = errors.New("wrong argument")

const (
	label     = `[a-z0-9]([-a-z0-9]*[a-z0-9])?`
	maxLabel  = 63
	maxDomain = 253
)

var (
	labelForm  = regexp.MustCompile(`^` + label + `$`)
	domainForm = regexp.MustCompile(`^` + label + `(\.` + label + `)*$`)
	idForm     = regexp.MustCompile(`^[0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{1,26}$`)
)

// target is what NAMESPACE/POD[/CONTAINER] names.
type target struct{ namespace, pod, container string }

// parseTarget reads a target; only with a container allowed may it have one.
func parseTarget(arg string, container bool) (target, error) {
	parts := strings.Split(arg, "/")
	most, form := 2, "NAMESPACE/POD"
	if container {
		most, form = 3, "NAMESPACE/POD[/CONTAINER]"
	}
	if len(parts) < 2 || len(parts) > most {
		return target{}, fmt.Errorf("%w: %.80q is not of the form %s", errUsage, arg, form)
	}
	t := target{namespace: parts[0], pod: parts[1]}
	if err := checkNamespace(t.namespace); err != nil {
		return target{}, err
	}
	if len(t.pod) > maxDomain || !domainForm.MatchString(t.pod) {
		return target{}, fmt.Errorf("%w: %.80q cannot be the name of a pod", errUsage, t.pod)
	}
	if len(parts) == 3 {
		t.container = parts[2]
		if len(t.container) > maxLabel || !labelForm.MatchString(t.container) {
			return target{}, fmt.Errorf("%w: %.80q cannot be the name of a container", errUsage, t.container)
		}
	}
	return t, nil
}

func checkNamespace(name string) error {
	if len(name) > maxLabel || !labelForm.MatchString(name) {
		return fmt.Errorf("%w: %.80q cannot be the name of a namespace", errUsage, name)
	}
	return nil
}

// checkID accepts a checkpoint's id or the beginning of one.
func checkID(id string) error {
	if !idForm.MatchString(id) {
		return fmt.Errorf("%w: %.80q is not a checkpoint id or the beginning of one; see 'rekindle list'", errUsage, id)
	}
	return nil
}
