// Package archive writes checkpoints into files that leave the node, and reads
// such files, which may come from anybody.
//
// Vocabulary:
//
//   - An archive is the tar file that the kubelet, CRI-O, Podman and checkpointctl
//     write and read: docs/archives.md names its parts.
//   - A layer is how an archive keeps a container's changed files: as OCI images
//     do, with ".wh." names for what was deleted.
//   - A bundle is an archive as the only layer of an OCI image, in an image layout
//     that is itself one tar file.
//   - Claims are what an archive says of itself. They are compared with what a new
//     container is, and never acted upon.
//
// Reading is for hostile files: see [Read] for what is refused, and [Limits].
package archive
