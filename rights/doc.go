// Package rights keeps a restore from giving a process more than its spec
// allows. CRIU brings credentials, capabilities, seccomp filters, namespaces and
// mounts back as the images have them and never looks at the new container's
// spec, so they are compared with it twice: in the images before CRIU opens them
// ([Rights.Images]), and on the restored processes before they run
// ([Rights.Restored]).
//
// What a spec allows is what its processes could have come to by themselves:
// docs/decisions/0018-rights.md says how that follows from the user, the
// capabilities and no_new_privs.
//
// The executor uses it. The shim does not: there is one for each pod, and the
// images' message types would cost each of them memory.
package rights
