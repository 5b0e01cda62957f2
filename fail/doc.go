// Package fail has the points at which the programs can be made to fail, so that
// tests can show what is left when one dies or a disk gives up just there. They
// are part of every build: what is tested is what is shipped.
//
// A point does nothing, and costs the comparison of a pointer, unless the
// environment variable [Variable] names a file when the program starts, and the
// program runs as root. Each line of that file is the name of a point and what
// to do there:
//
//		commit.place kill
//		dump.frozen wait
//
//	  - kill ends the program with SIGKILL.
//	  - eio and enospc have the step fail with that error.
//	  - wait appends the name of the point, and the id of the process, to the file
//	    with ".reached" at its end, and stands still until the line is gone or
//	    [MaxWait] has passed: time for a test to kill another program.
//
// The file is read again at every point. It must belong to root and be writable
// for nobody else.
package fail
