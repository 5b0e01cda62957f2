package criu

// restoreCauses are what keeps a checkpoint from being restored.
var restoreCauses = []cause{
	{
		"file-size", sign(`File .* has bad size \d+ \(expect \d+\)$`),
		"a file that was open at the checkpoint has another size now", "volumes are not in a checkpoint: keep such files elsewhere, or use the stop trigger instead of interval",
	},
	{
		"file-mode", sign(`File .* has bad mode \d+ \(expect \d+\)$`),
		"a file that was open at the checkpoint has another mode now", "set the mode as it was, or take a new checkpoint",
	},
	{
		"file-build", sign(`File .* has bad build-ID`),
		"a program or library that was in use at the checkpoint is another one now", "take a new checkpoint; do not replace programs on volumes",
	},
	{
		"file-missing", sign(`Can't open file .* on restore: No such file or directory$`),
		"a file that was open at the checkpoint is not there any more", "volumes are not in a checkpoint: keep files that are open, or use the stop trigger instead of interval",
	},
	{
		"volume-missing", sign(`^create criu restore mountpoint for .* mount: `),
		"what a volume of the container is mounted from does not exist", "look at the pod's volumes on the node",
	},
	{
		"mount-missing", sign(`mnt: No mapping for \d+:.* mountpoint$`),
		"a mount that the checkpoint needs is missing from the new container", "give the pod the volumes that it had, or take a new checkpoint",
	},
	{
		"address-gone", sign(`inet: Can't bind inet socket \(id \d+\): Cannot assign requested address$`),
		"the application listened on an address that this pod does not have", "listen on 0.0.0.0 or :: instead of the pod's address",
	},
	{
		"port-taken", sign(`inet: Can't bind inet socket \(id \d+\): Address already in use$`),
		"the port that the application listened on is taken", "see which other container of the pod listens on it",
	},
	{
		"pid-taken", sign(`Can't fork for \d+: File exists$`),
		"a process id of the checkpoint is taken", "shared process namespaces are not supported",
	},
	{
		"killed", sign(`\d+ killed by signal 9: Killed$`),
		"a process was killed while it was restored, most likely because the memory limit is below what the checkpoint holds", "raise the container's memory limit to what it was at the checkpoint",
	},
	{
		"processor", sign(`CPU (instruction )?capabilities do not match run time$|FPU feature required by image is not supported|CPU xfeatures has unsupported bits`),
		"the checkpoint was made on a processor that can do more than this one", "restore on nodes of one kind",
	},
	{
		"image-missing", sign(`Unexpected EOF on \(empty-image\)$`),
		"a file of the checkpoint is missing", "nothing: the container started cold, and the next checkpoint is a new one; see that nobody but Rekindle writes below the store",
	},
	{
		"image-damaged", sign(`Read \d+ bytes while \d+ expected from |Error \(criu/image\.c:\d+\): Unexpected EOF$|Failed unpacking object \w+ from |Magic doesn't match for `),
		"a file of the checkpoint is damaged, or of another version of CRIU", "look for errors of the disk, or remove the checkpoint if CRIU was replaced",
	},
	{
		"pages-cut", sign(`: ` + ErrLogFlood.Error() + `$`),
		"the memory pages of the checkpoint are cut off, on which CRIU loops", "look for errors of the disk",
	},
}
