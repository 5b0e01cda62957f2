// Package sockdiag asks the kernel for the sockets of a network namespace, by what the
// kernel calls sock_diag. It tells what is there, and judges nothing.
package sockdiag
