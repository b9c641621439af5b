package sysctld

import (
	"strings"

	"github.com/nodetune/nodetune/sysctl"
)

// mentions reports whether text contains one of the names of path, in any mix of
// dots, slashes and cases, as a word of its own.
func mentions(text, path string) bool {
	text = plainName(text)
	for _, name := range names(path) {
		name = plainName(name)
		for from := 0; ; {
			i := strings.Index(text[from:], name)
			if i < 0 {
				break
			}
			i += from
			end := i + len(name)
			if (i == 0 || !partOfName(text[i-1])) && (end == len(text) || !partOfName(text[end]) && text[end] != '/') {
				return true
			}
			from = i + 1
		}
	}
	return false
}

func plainName(s string) string { return strings.ReplaceAll(strings.ToLower(s), ".", "/") }

func partOfName(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_'
}

const byteOrderMark = "\ufeff"

// whyIneffective returns why a line that mentions path does not set it, or ""
// where the line does not mention it or is a comment. assigned is whether the
// loader takes text for an assignment.
func (l Loader) whyIneffective(text string, assigned bool, path string) string {
	text = strings.Trim(text, " \t\r\n\v\f") // a no-break space stays
	if text == "" {
		return ""
	}
	if text[0] == '#' || text[0] == ';' {
		if _, rest, ok := strings.Cut(text, "\r"); ok && mentions(rest, path) && !strings.HasPrefix(strings.TrimSpace(rest), "#") {
			return "a carriage return alone ends no line for " + string(l) + ": the line is part of the comment"
		}
		return ""
	}
	key := text
	if assigned {
		key, _, _ = strings.Cut(text, "=")
	}
	if !mentions(key, path) {
		return ""
	}
	dotted := string(sysctl.Key(sysctl.Key(path).Path())) // the swap is its own inverse
	word, _, more := strings.Cut(strings.TrimSpace(key), " ")
	switch {
	case strings.HasPrefix(text, byteOrderMark):
		return "a byte order mark stands before the key: save the file as UTF-8 without it"
	case strings.HasPrefix(text, "#!"):
		return "it is a script: no loader runs it"
	case word == "sysctl" || strings.HasSuffix(word, "/sysctl") || word == "echo":
		return "it is a command, and no loader runs commands: write " + dotted + " = VALUE"
	case !assigned:
		return "it has no \"=\": write " + dotted + " = VALUE"
	case strings.ContainsFunc(key, func(c rune) bool { return c > 0x7e || c < ' ' && c != '\t' && c != '\r' }):
		return "it has a character beside the key that cannot be seen or is not ASCII: write the line again"
	case strings.Contains(plainName(key), "proc/sys/"):
		return "the name must not begin with /proc/sys: write " + dotted + " = VALUE"
	case more:
		return "words stand before the key: write " + dotted + " = VALUE"
	case strings.Contains(key, ".."):
		return string(l) + " refuses a name with \"..\""
	case key != strings.ToLower(key):
		return "names are case-sensitive: write " + dotted + " = VALUE"
	case strings.Contains(key, "/") && strings.Contains(key, "."):
		return "after the first separator the other kind stands for itself: write " + dotted + " = VALUE"
	}
	return "the name is not the one of the key for " + string(l) + ": write " + dotted + " = VALUE"
}
