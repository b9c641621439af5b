// Package safetext makes text that anybody on the machine can choose (a
// process's comm, a path, an annotation) fit to print for people: one line,
// no terminal codes, no text that runs backwards.
//
// It is for eyes only. Documents (JSON, YAML) carry the text as it is and
// quote by their own rules.
package safetext

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// String returns s with everything that does not print replaced by Go's
// escape for it: control characters (so also newline, tab and ESC), C1
// controls, invisible and bidirectional format characters, and bytes that are
// not UTF-8. A backslash stays as it is, since systemd's unit names are full of
// them; so the result is safe, but not always reversible.
func String(s string) string {
	i := 0
	for i < len(s) && s[i] >= ' ' && s[i] < 0x7f {
		i++
	}
	if i == len(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 8)
	b.WriteString(s[:i])
	for i < len(s) {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			b.WriteString(`\x`)
			b.WriteString(hex(s[i]))
		case strconv.IsPrint(r):
			b.WriteRune(r)
		default:
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		}
		i += n
	}
	return b.String()
}

func hex(c byte) string {
	const digits = "0123456789abcdef"
	return string([]byte{digits[c>>4], digits[c&15]})
}
