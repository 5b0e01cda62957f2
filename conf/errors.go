package conf

import (
	"errors"
	"strconv"
	"strings"
	"unicode"
)

// ErrInvalid is what every [Error] wraps.
var ErrInvalid = errors.New("invalid configuration")

// Error is one mistake in a config file.
type Error struct {
	// Path is the file, empty when the text came from elsewhere.
	Path string
	// Line counts from 1; 0 when the mistake has no line, as with a default
	// that another key has put out of range.
	Line int
	// Key is the full name, such as "limits.dump_timeout"; empty for a
	// mistake of syntax.
	Key string
	// Reason says what is wrong.
	Reason string
	// Hint says what to do about it.
	Hint string
}

// Error renders "path:line: key: reason; hint" on one line that does no harm to
// a terminal, whatever is in the file.
func (e *Error) Error() string {
	var b strings.Builder
	path := e.Path
	if path == "" {
		path = "rekindle.toml"
	}
	b.WriteString(path)
	if e.Line > 0 {
		b.WriteString(":" + strconv.Itoa(e.Line))
	}
	b.WriteString(": ")
	if e.Key != "" {
		b.WriteString(e.Key + ": ")
	}
	b.WriteString(e.Reason)
	if e.Hint != "" {
		b.WriteString("; " + e.Hint)
	}
	return printable(b.String())
}

// maxText is how much of an error is shown; a key may be as long as the file.
const maxText = 1000

func printable(text string) string {
	if len(text) > maxText {
		text = text[:maxText] + "..."
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}

// Unwrap makes errors.Is(err, ErrInvalid) true.
func (e *Error) Unwrap() error { return ErrInvalid }
