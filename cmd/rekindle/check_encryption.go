package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rekindle-dev/rekindle/conf"
	"github.com/rekindle-dev/rekindle/crypt"
)

// checkEncryption tells whether checkpoints are encrypted, and can be. A command
// that gives keys is for the daemon to run.
func checkEncryption(e conf.Encryption, swaps string) finding {
	switch {
	case !e.On():
		return good("off: checkpoints are memory in plain text")
	case e.KeyFile == "":
		return good("keys from " + e.KeyCommand[0])
	}
	keys, err := crypt.ReadKeyFile(e.KeyFile)
	if err != nil {
		return failed(err, "no checkpoint is made before there is a key; 'openssl rand -hex 32' makes one")
	}
	found := "key " + keys.Current() + " from " + e.KeyFile
	if !neverSwapped() && swapping(swaps) {
		return poor(found+", and this node swaps", "Linux 6.4 keeps plain text from being swapped out; before that, encrypt the swap or have none")
	}
	return good(found)
}

// neverSwapped tells whether the kernel can keep a tmpfs from being swapped out.
func neverSwapped() bool {
	var uts unix.Utsname
	var major, minor int
	if err := unix.Uname(&uts); err != nil {
		return false
	}
	if _, err := fmt.Sscanf(unix.ByteSliceToString(uts.Release[:]), "%d.%d", &major, &minor); err != nil {
		return false
	}
	return major > 6 || major == 6 && minor >= 4
}

// swapping tells, by /proc/swaps, whether there is any swap.
func swapping(swaps string) bool {
	text, err := os.ReadFile(swaps)
	return err == nil && strings.Count(string(text), "\n") > 1
}
