// Package policy turns what a pod asks for and what the node allows into what
// is done for one container.
//
// A pod asks with annotations, which anybody who can create a pod can write.
// They choose from closed lists and bounded numbers and nothing else; a value
// that makes no sense is passed over and told, never a reason to fail a pod.
// The config file sets the defaults and the bounds, see package conf.
// [Keys] lists the annotations.
// "app.rekindle.dev/interval" and the like override a key for one container.
package policy
