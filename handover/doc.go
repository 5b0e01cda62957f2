// Package handover keeps the sockets of a suspended container alive.
//
// [Take] duplicates the sockets of a container's processes while they stand
// still: the duplicates are the same objects of the kernel, so that listeners go
// on completing handshakes into their backlog, and established connections go
// on acknowledging, when the processes are gone. [Held] waits for the first of
// them that has something to say ([Held.Wait]), and gives all of them to the
// executor of the restore ([Fetch]), from which the restored processes inherit
// them. No packet is lost, and no proxy stands between.
//
// What cannot be handed over is Left, with a reason. Unix sockets that are
// connected within the container are in CRIU's image and concern nobody here.
package handover
