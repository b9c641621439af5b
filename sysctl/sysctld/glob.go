package sysctld

import "strings"

// isGlob is string_is_glob of both loaders.
func isGlob(s string) bool { return strings.ContainsAny(s, "*?[") }

// globPath reports whether glob(3) with pattern would find path: wildcards do
// not cross a slash. The rule that a wildcard spares a leading dot is left out,
// since nothing below /proc/sys begins with one.
func globPath(pattern, path string) bool {
	for {
		p, pmore, pok := strings.Cut(pattern, "/")
		s, smore, sok := strings.Cut(path, "/")
		if !fnmatch(p, s) || pok != sok {
			return false
		}
		if !pok {
			return true
		}
		pattern, path = pmore, smore
	}
}

// fnmatch is fnmatch(3) without flags, in the C locale: a wildcard matches a
// slash too. It takes at most len(pattern)*len(s) steps.
func fnmatch(pattern, s string) bool {
	p, i := 0, 0
	star, from := -1, 0
	for i < len(s) {
		if p < len(pattern) {
			if pattern[p] == '*' {
				star, from = p, i
				p++
				continue
			}
			if n, ok := matchOne(pattern[p:], s[i]); ok {
				p, i = p+n, i+1
				continue
			}
		}
		if star < 0 {
			return false
		}
		from++
		p, i = star+1, from
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// matchOne matches c against the first element of pattern and returns the
// length of that element.
func matchOne(pattern string, c byte) (int, bool) {
	switch pattern[0] {
	case '?':
		return 1, true
	case '[':
		if n, ok := matchSet(pattern, c); n > 0 {
			return n, ok
		}
	case '\\':
		if len(pattern) > 1 {
			return 2, pattern[1] == c
		}
		return 1, false
	}
	return 1, pattern[0] == c
}

// matchSet matches c against the bracket expression that pattern begins with.
// A length of 0 says that the bracket is never closed and stands for itself.
func matchSet(pattern string, c byte) (int, bool) {
	i := 1
	negated := i < len(pattern) && (pattern[i] == '!' || pattern[i] == '^')
	if negated {
		i++
	}
	found := false
	for first := true; i < len(pattern); first = false {
		if pattern[i] == ']' && !first {
			return i + 1, found != negated
		}
		if class, rest, ok := strings.Cut(pattern[i:], ":]"); ok && strings.HasPrefix(class, "[:") {
			found = found || inClass(class[2:], c)
			i = len(pattern) - len(rest)
			continue
		}
		low, n := setByte(pattern[i:])
		i += n
		high := low
		if i+1 < len(pattern) && pattern[i] == '-' && pattern[i+1] != ']' {
			high, n = setByte(pattern[i+1:])
			i += 1 + n
		}
		found = found || low <= c && c <= high
	}
	return 0, false
}

func setByte(s string) (byte, int) {
	if s[0] == '\\' && len(s) > 1 {
		return s[1], 2
	}
	return s[0], 1
}

func inClass(class string, c byte) bool {
	lower, upper := 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z'
	digit := '0' <= c && c <= '9'
	switch class {
	case "alpha":
		return lower || upper
	case "digit":
		return digit
	case "alnum":
		return lower || upper || digit
	case "lower":
		return lower
	case "upper":
		return upper
	case "xdigit":
		return digit || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
	case "punct":
		return c > ' ' && c < 0x7f && !lower && !upper && !digit
	case "graph":
		return c > ' ' && c < 0x7f
	case "print":
		return c >= ' ' && c < 0x7f
	case "space":
		return c == ' ' || '\t' <= c && c <= '\r'
	case "blank":
		return c == ' ' || c == '\t'
	case "cntrl":
		return c < ' ' || c == 0x7f
	}
	return false
}
