// Package audit keeps the audit log: one line of JSON for each decision of the
// agent, in a file that only the superuser can read and that is only ever
// appended to. Its size is bounded by rotation.
//
// Nothing waits for the log. A line goes into a bounded queue; when the disk
// does not keep up, or fails, lines are dropped, counted, and that is told once.
package audit
