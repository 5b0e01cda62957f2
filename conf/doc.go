// Package conf reads rekindle.toml, the one config file of a node.
//
// The file is strict on purpose: a key that is not known, a value of the wrong
// kind or one out of range is an [Error] that names the line, the key and the
// remedy. A node admin learns of a mistake when the daemon starts, not when a
// checkpoint is missing.
//
// Every key may be left out; [Default] says what is used then. The shipped
// rekindle.toml states every key with its default and what it is for.
package conf
