//go:build race

package store_test

// slowdown is how much longer the store takes with the race detector.
const slowdown = 10
