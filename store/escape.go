package store

import (
	"strings"
	"unicode/utf8"
)

const hexDigits = "0123456789ABCDEF"

// escape writes a file name so that it survives JSON and a terminal: control
// characters, "%" and bytes that are not UTF-8 become %XX. Names in rootfs/ are
// a tenant's and may be any bytes.
func escape(name string) string {
	var b strings.Builder
	for i := 0; i < len(name); {
		r, n := utf8.DecodeRuneInString(name[i:])
		if r < 0x20 || r == 0x7f || r == '%' || (r == utf8.RuneError && n == 1) {
			b.WriteByte('%')
			b.WriteByte(hexDigits[name[i]>>4])
			b.WriteByte(hexDigits[name[i]&15])
		} else {
			b.WriteString(name[i : i+n])
		}
		i += n
	}
	return b.String()
}

// unescape undoes escape. What escape cannot have written stays as it is; the
// canonical form check refuses it.
func unescape(text string) string {
	if !strings.Contains(text, "%") {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+2 < len(text) {
			hi, lo := strings.IndexByte(hexDigits, text[i+1]), strings.IndexByte(hexDigits, text[i+2])
			if hi >= 0 && lo >= 0 {
				b.WriteByte(byte(hi<<4 | lo))
				i += 2
				continue
			}
		}
		b.WriteByte(text[i])
	}
	return b.String()
}
