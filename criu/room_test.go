package criu

import "testing"

func TestNodeRoom(t *testing.T) {
	tests := map[string]struct {
		text string
		want int64
		bad  bool
	}{
		"without swap":   {"MemTotal:  2048 kB\nMemFree:  512 kB\nMemAvailable:   1024 kB\nSwapFree:   0 kB\n", 1 << 20, false},
		"with swap":      {"MemAvailable:   1024 kB\nSwapTotal:  9 kB\nSwapFree:   1024 kB\n", 2 << 20, false},
		"no such line":   {"MemTotal:  2048 kB\n", 0, true},
		"cut off":        {"MemAvailable:", 0, true},
		"not a number":   {"MemAvailable:  many kB\nSwapFree: 0 kB\n", 0, true},
		"nothing at all": {"", 0, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := nodeRoom(test.text)
			if got != test.want || (err != nil) != test.bad {
				t.Errorf("%d, %v", got, err)
			}
		})
	}
}
