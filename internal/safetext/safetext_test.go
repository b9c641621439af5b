package safetext

import (
	"strconv"
	"testing"
	"unicode/utf8"
)

func TestString(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"fluent-bit", "fluent-bit"},
		{`system-serial\x2dgetty.slice`, `system-serial\x2dgetty.slice`},
		{"two\nlines\t", `two\nlines\t`},
		{"\x1b[31mred\x1b]0;title\a", `\x1b[31mred\x1b]0;title\a`},
		{"\u009b31mred", `\u009b31mred`},
		{"a\xff\xc3", `a\xff\xc3`},
		{"\u202egnp.exe", `\u202egnp.exe`},
		{"zero\u200bwidth\u2028", `zero\u200bwidth\u2028`},
		{"grün 日本", "grün 日本"},
		{"\ufffd", "\ufffd"},
	} {
		if got := String(c.in); got != c.want {
			t.Errorf("String(%q) = %q, want %q", c.in, got, c.want)
		}
	}
}

// The result prints: no rune in it is anything but a letter, mark, number,
// punctuation, symbol or space. What prints already is untouched.
func FuzzString(f *testing.F) {
	f.Add("kubelet")
	f.Add("\x1b[2J\n\xff\u202e")
	f.Fuzz(func(t *testing.T, s string) {
		got := String(s)
		if !utf8.ValidString(got) {
			t.Fatalf("%q is not UTF-8", got)
		}
		for _, r := range got {
			if !strconv.IsPrint(r) {
				t.Fatalf("String(%q) = %q holds %U", s, got, r)
			}
		}
		if again := String(got); again != got {
			t.Fatalf("String(%q) = %q, and again %q", s, got, again)
		}
	})
}
