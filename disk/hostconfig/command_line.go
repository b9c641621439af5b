package hostconfig

import (
	"slices"
	"strings"
)

// argument returns the value of the last of these flags, with their dashes.
func argument(args []string, names ...string) string {
	last := ""
	for i, a := range args {
		name, value, ok := strings.Cut(a, "=")
		if !slices.Contains(names, name) {
			continue
		}
		if ok {
			last = value
		} else if i+1 < len(args) {
			last = args[i+1]
		}
	}
	return last
}

// parseEnvironment reads an EnvironmentFile=, systemd.exec(5).
func parseEnvironment(b []byte, env map[string]string) {
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if name, value, ok := strings.Cut(line, "="); ok && line[0] != '#' && line[0] != ';' {
			if w := words(value); len(w) == 1 {
				value = w[0]
			}
			env[strings.TrimSpace(name)] = value
		}
	}
}

// execStart splits a command line of a unit, systemd.service(5): %% and $$ stand for
// one character, ${NAME} for a variable, and $NAME, as a word of its own, for the
// words in one. unknown are the variables that env does not have.
func execStart(line string, env map[string]string) (all, unknown []string) {
	for _, word := range words(line) {
		word = strings.ReplaceAll(word, "%%", "%")
		if name, ok := strings.CutPrefix(word, "$"); ok && isName(name) {
			value, known := env[name]
			if !known {
				unknown = append(unknown, name)
			}
			all = append(all, words(value)...)
			continue
		}
		var to strings.Builder
		for rest := word; rest != ""; {
			before, after, found := strings.Cut(rest, "$")
			to.WriteString(before)
			name, behind, closed := strings.Cut(strings.TrimPrefix(after, "{"), "}")
			switch {
			case !found:
			case strings.HasPrefix(after, "$"):
				to.WriteByte('$')
				after = after[1:]
			case strings.HasPrefix(after, "{") && closed && isName(name):
				value, known := env[name]
				if !known {
					unknown = append(unknown, name)
				}
				to.WriteString(value)
				after = behind
			default:
				to.WriteByte('$')
			}
			rest = after
		}
		all = append(all, to.String())
	}
	return all, unknown
}

// isName reports whether s may name a variable of the environment.
func isName(s string) bool {
	return s != "" && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

// words splits s as a shell does: by blanks, but not within quotes, with \
// before a character that stands for itself.
func words(s string) []string {
	var all []string
	var word strings.Builder
	quote, in := byte(0), false
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == quote && quote != 0:
			quote = 0
		case c == '\\' && quote != '\'' && i+1 < len(s):
			i++
			in = true
			word.WriteByte(s[i])
		case quote == 0 && (c == '"' || c == '\''):
			quote, in = c, true
		case quote == 0 && (c == ' ' || c == '\t' || c == '\n' || c == '\r'):
			if in {
				all = append(all, word.String())
				word.Reset()
				in = false
			}
		default:
			in = true
			word.WriteByte(c)
		}
	}
	if in {
		all = append(all, word.String())
	}
	return all
}
