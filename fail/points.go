package fail

// Points of the store.
var (
	Begin = define("begin", "before space is reserved and a staging directory made")

	CommitScan           = define("commit.scan", "before the files of a dump are listed")
	CommitDigest         = define("commit.digest", "before they are digested")
	CommitSyncFiles      = define("commit.sync-files", "before they are synced")
	CommitSyncDirs       = define("commit.sync-directories", "before their directories are synced")
	CommitWriteManifest  = define("commit.write-manifest", "before the manifest is written under a temporary name")
	CommitRenameManifest = define("commit.rename-manifest", "before the manifest gets its name")
	CommitSyncStaging    = define("commit.sync-staging", "before that name is synced")
	CommitMakeParents    = define("commit.make-parents", "before the directories of the lineage are made and synced")
	CommitPlace          = define("commit.place", "before the checkpoint gets its place")
	CommitSyncParents    = define("commit.sync-parents", "before its place is synced")

	RemoveMove   = define("remove.move", "before a checkpoint is moved to the trash")
	RemoveSync   = define("remove.sync", "before that move is synced")
	RemoveDelete = define("remove.delete", "before what is in the trash is deleted")

	QuarantineMove   = define("quarantine.move", "before a checkpoint is moved into quarantine")
	QuarantineSync   = define("quarantine.sync", "before that move is synced")
	QuarantineReason = define("quarantine.reason", "before the reason is written beside it")
	QuarantineBound  = define("quarantine.bound", "before the oldest in quarantine makes way")

	MarksWrite = define("marks.write", "before marks are written")
	KeyWrite   = define("key.write", "before a new key is written")
)

// Points of the daemon.
var (
	CheckpointDumped = define("checkpoint.dumped", "after the dump, before the commit")
	EncryptBegin     = define("encrypt.begin", "after the dump into memory, before any of it is encrypted")
	EncryptDone      = define("encrypt.done", "when all of it is encrypted, before the commit")
	ImportBegin      = define("import.begin", "when there is a place for what is imported, before it is unpacked")
	ImportUnpacked   = define("import.unpacked", "when it is unpacked, before the commit")
	ExportHeld       = define("export.held", "when a checkpoint is held, and decrypted, before it is written")
	TicketClaimed    = define("ticket.claimed", "after a checkpoint is claimed, before its ticket is written")
	TicketWritten    = define("ticket.written", "after the ticket is written, before the runtime is told")
)

// Points of the shim.
var (
	DumpFrozen     = define("dump.frozen", "when the container is frozen, before CRIU is run")
	DumpCaptured   = define("dump.captured", "when memory and files are written, before the thaw")
	RestoreBegin   = define("restore.begin", "before anything is put back")
	RestoreFiles   = define("restore.files", "when the changed files are back, before /dev/shm")
	RestoreCreate  = define("restore.create", "when all files are back, before the executor is run")
	RestoreCreated = define("restore.created", "when the processes are there, before the outcome is noted")
)

// Points of the executor.
var (
	DecryptBegin     = define("decrypt.begin", "before any of a checkpoint is decrypted")
	DecryptDone      = define("decrypt.done", "when all of it is decrypted, before the shim is told")
	ExecutorRestore  = define("executor.restore", "before runc is told to restore")
	ExecutorVerified = define("executor.verified", "when CRIU is through and the digests match, before the runtime is told")
	ExecutorStart    = define("executor.start", "before the stopped processes are let run")
)
