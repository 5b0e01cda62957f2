// Command clock prints the processor time that processes have used until now, in
// nanoseconds and all together: what their threads have, also those that have ended.
//
//	clock PID...
package main

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

func main() {
	var sum int64
	for _, arg := range os.Args[1:] {
		ns, err := used(arg)
		if err != nil {
			fmt.Fprintln(os.Stderr, "clock:", err)
			os.Exit(1)
		}
		sum += ns
	}
	fmt.Println(sum)
}

// used reads a process's clock. Its id is made as clock_getcpuclockid(3) makes it:
// the complement of the process id, and 2 for the scheduler's own, exact count.
func used(arg string) (int64, error) {
	pid, err := strconv.ParseInt(arg, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("read process id: %w", err)
	}
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|2), &t); err != nil {
		return 0, fmt.Errorf("read clock of process %d: %w", pid, err)
	}
	return t.Nano(), nil
}
