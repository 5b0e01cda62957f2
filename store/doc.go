// Package store keeps checkpoints on disk so that none is lost by a crash and
// none is used that is not exactly what was dumped.
//
// Vocabulary:
//
//   - A checkpoint is a directory that CRIU reads in place, named by an id and
//     committed by its manifest. It never changes; see docs/checkpoint-format.md.
//   - A lineage is the place in the store that the checkpoints of one container
//     of one workload share: namespace, workload and container name.
//   - Staging is where a checkpoint is made, invisible until it is committed.
//   - Marks are the little that does change about a checkpoint: who claimed it,
//     how its restores went. They lie beside the checkpoints, not in them.
//   - Quarantine holds checkpoints that are never selected again, for a person
//     to look at; trash holds those on their way out.
//   - A log is what was written in one dump or restore. It has an id of its own,
//     and stays when the checkpoint and the container are gone.
//
// What holds at every moment, whatever is killed or pulled: a checkpoint that
// can be listed was complete and synced to disk before it got its name, and an
// older good one is removed only after that. Anything that fails on the way is
// swept by the next [Open].
//
// One process at a time opens a store. All methods of [Store] may be called
// from several goroutines; those of one [Staging] from one at a time.
package store
