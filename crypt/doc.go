// Package crypt encrypts what a checkpoint consists of, and decrypts it.
//
// A node has keys, each of 32 bytes, which an administrator gives it. The first
// is the current one. Each checkpoint has a data key of its own, at random; the
// checkpoint's manifest has it wrapped, encrypted by the current key of the node.
// Who restores one checkpoint is given that data key and no other.
//
// The content, a directory, becomes one stream: a tar in PAX format, with what
// tar does not know in records of its own, encrypted as Tink's streaming AEAD does
// it (AES-256-GCM in segments of 64 KiB, each bound to its place and to the id of
// the checkpoint). So a byte that was changed, a piece that was cut off, taken out
// or put elsewhere is found before what follows is read, and what was decrypted to
// its end is what was encrypted.
package crypt
