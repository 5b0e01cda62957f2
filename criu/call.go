package criu

import (
	"errors"
	"strings"
)

// Call is a runc command line as containerd's runc library writes it.
type Call struct {
	// Global are the options before the command, as they were.
	Global []string
	// Command is the runc command: create, start, kill, …
	Command string
	// ID is the container's id, the first argument of the command.
	ID string
	// Root and Log are the values of those global options.
	Root, Log string
	// Bundle, PidFile and ConsoleSocket are options of create.
	Bundle, PidFile, ConsoleSocket string
	// NoPivot is an option of create.
	NoPivot bool
}

// ErrNoCall is returned for a command line that names no command.
var ErrNoCall = errors.New("no runc command in the arguments")

// valued are the options that take their value from the next argument.
var valued = map[string]bool{
	"--root": true, "--log": true, "--log-format": true, "--criu": true, "--rootless": true,
	"--bundle": true, "-b": true, "--pid-file": true, "--console-socket": true,
	"--pidfd-socket": true, "--preserve-fds": true, "--process": true, "-p": true,
	"--resources": true, "-r": true, "--format": true, "-f": true,
	"--image-path": true, "--work-path": true, "--parent-path": true, "--manage-cgroups-mode": true,
}

// ParseCall reads a runc command line, without the program's name. Options it
// does not know are kept in Global or passed over.
func ParseCall(args []string) (Call, error) {
	var c Call
	for i := 0; i < len(args); i++ {
		name, value, inline := strings.Cut(args[i], "=")
		if !strings.HasPrefix(name, "-") {
			switch {
			case c.Command == "":
				c.Command = args[i]
			case c.ID == "":
				c.ID = args[i]
			}
			continue
		}
		width := 1
		if valued[name] && !inline && i+1 < len(args) {
			value, width = args[i+1], 2
		}
		if c.Command == "" {
			c.Global = append(c.Global, args[i:i+width]...)
		}
		c.set(name, value)
		i += width - 1
	}
	if c.Command == "" {
		return c, ErrNoCall
	}
	return c, nil
}

func (c *Call) set(name, value string) {
	switch name {
	case "--root":
		c.Root = value
	case "--log":
		c.Log = value
	case "--bundle", "-b":
		c.Bundle = value
	case "--pid-file":
		c.PidFile = value
	case "--console-socket":
		c.ConsoleSocket = value
	case "--no-pivot":
		c.NoPivot = true
	}
}
