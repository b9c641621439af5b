package hostconfig

import (
	"strings"
)

// globMatch reports whether glob(3) with this pattern finds the path name:
// component by component, and a leading dot only where the pattern has it.
func globMatch(pattern, name string) bool {
	p, n := strings.Split(pattern, "/"), strings.Split(name, "/")
	// glob keeps doubled slashes in what it returns, and the file is the same.
	p, n = components(p), components(n)
	if len(p) != len(n) {
		return false
	}
	for i := range p {
		if !fnmatch(p[i], n[i]) {
			return false
		}
	}
	return true
}

func components(all []string) []string {
	var kept []string
	for _, c := range all {
		if c != "" && c != "." {
			kept = append(kept, c)
		}
	}
	return kept
}

// fnmatch is fnmatch(3) with FNM_PERIOD, for a name without slashes. Its time is
// bounded by the product of both lengths.
func fnmatch(pattern, name string) bool {
	if strings.HasPrefix(name, ".") && !strings.HasPrefix(pattern, ".") && !strings.HasPrefix(pattern, `\.`) {
		return false
	}
	p, n := 0, 0
	starP, starN := -1, 0
	for n < len(name) {
		if p < len(pattern) && pattern[p] == '*' {
			starP, starN = p, n
			p++
			continue
		}
		if p < len(pattern) {
			if size, ok := matchOne(pattern[p:], name[n]); ok {
				p += size
				n++
				continue
			}
		}
		if starP < 0 {
			return false
		}
		starN++
		p, n = starP+1, starN
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// matchOne reports whether the first element of pattern, which is no '*', takes
// c, and how long that element is.
func matchOne(pattern string, c byte) (size int, ok bool) {
	switch pattern[0] {
	case '?':
		return 1, true
	case '\\':
		if len(pattern) > 1 {
			return 2, pattern[1] == c
		}
	case '[':
		if size, ok, valid := matchSet(pattern, c); valid {
			return size, ok
		}
	}
	return 1, pattern[0] == c
}

// matchSet matches a bracket expression, glob(7). valid is false where none is
// closed: '[' then stands for itself.
func matchSet(pattern string, c byte) (size int, ok, valid bool) {
	i := 1
	not := i < len(pattern) && (pattern[i] == '!' || pattern[i] == '^')
	if not {
		i++
	}
	for first := true; i < len(pattern); first = false {
		if pattern[i] == ']' && !first {
			return i + 1, ok != not, true
		}
		if strings.HasPrefix(pattern[i:], "[:") {
			if name, _, closed := strings.Cut(pattern[i+2:], ":]"); closed && classes[name] != nil {
				ok = ok || classes[name](c)
				i += len(name) + 4
				continue
			}
		}
		low, n := setChar(pattern[i:])
		i += n
		high := low
		if i+1 < len(pattern) && pattern[i] == '-' && pattern[i+1] != ']' {
			high, n = setChar(pattern[i+1:])
			i += 1 + n
		}
		ok = ok || low <= c && c <= high
	}
	return 0, false, false
}

func setChar(s string) (c byte, size int) {
	if s[0] == '\\' && len(s) > 1 {
		return s[1], 2
	}
	return s[0], 1
}

// classes are the character classes of the C locale.
var classes = map[string]func(byte) bool{
	"alpha":  isAlpha,
	"digit":  isDigit,
	"alnum":  func(c byte) bool { return isAlpha(c) || isDigit(c) },
	"upper":  func(c byte) bool { return c >= 'A' && c <= 'Z' },
	"lower":  func(c byte) bool { return c >= 'a' && c <= 'z' },
	"space":  isSpace,
	"blank":  isBlank,
	"punct":  func(c byte) bool { return c > ' ' && c < 0x7f && !isAlpha(c) && !isDigit(c) },
	"print":  func(c byte) bool { return c >= ' ' && c < 0x7f },
	"graph":  func(c byte) bool { return c > ' ' && c < 0x7f },
	"cntrl":  func(c byte) bool { return c < ' ' || c == 0x7f },
	"xdigit": func(c byte) bool { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' },
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// poptWords splits s as poptParseArgvString(3) does: by white space, but not
// within quotes, where \ only escapes the quote. ok is false where s ends with \.
func poptWords(s string) (all []string, ok bool) {
	var word strings.Builder
	end := func() {
		if word.Len() > 0 {
			all = append(all, word.String())
			word.Reset()
		}
	}
	quote := byte(0)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quote != 0 && c == quote:
			quote = 0
			continue
		case quote == 0 && isSpace(c):
			end()
			continue
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
			continue
		case c == '\\':
			if i++; i == len(s) {
				return nil, false
			}
			if quote != 0 && s[i] != quote {
				word.WriteByte(c)
			}
			c = s[i]
		}
		word.WriteByte(c)
	}
	end()
	return all, true
}
