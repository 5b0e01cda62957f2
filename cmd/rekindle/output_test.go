package main

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

func keys(m map[string]any) string { return strings.Join(slices.Sorted(maps.Keys(m)), " ") }

func TestSize(t *testing.T) {
	tests := map[string]struct {
		bytes int64
		want  string
	}{
		"Zero": {0, "0B"}, "Bytes": {1023, "1023B"}, "Kibi": {1024, "1.0KiB"}, "Tens": {10 << 10, "10KiB"},
		"Mebi": {199 << 20, "199MiB"}, "Gibi": {3 << 29, "1.5GiB"}, "Tebi": {5 << 50, "5120TiB"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := size(tc.bytes); got != tc.want {
				t.Fatalf("size=%s, want %s", got, tc.want)
			}
		})
	}
}

func TestShort(t *testing.T) {
	tests := map[string]struct {
		d    time.Duration
		want string
	}{
		"Future": {-time.Second, "0s"}, "Seconds": {119 * time.Second, "119s"}, "Minutes": {2 * time.Minute, "2m"},
		"Hours": {47 * time.Hour, "47h"}, "Days": {48 * time.Hour, "2d"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := short(tc.d); got != tc.want {
				t.Fatalf("short=%s, want %s", got, tc.want)
			}
		})
	}
}
