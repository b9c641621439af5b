package sysctld

import (
	"regexp"
	"strings"
)

// tunedVars are the variables of the active profiles.
type tunedVars map[string]string

var (
	// tunedRef is a reference to a variable. TuneD names variables by \w+.
	tunedRef  = regexp.MustCompile(`\\?\$\{\w+\}`)
	tunedName = regexp.MustCompile(`^\w+$`)
)

// maxTunedValue bounds what variables that contain variables can expand to.
const maxTunedValue = 64 << 10

// define adds a variable, whose value is expanded at once.
func (v tunedVars) define(name, value string) {
	if tunedName.MatchString(name) {
		v[name] = v.expand(value)
	}
}

// expand replaces the variables in value once. A reference to an unknown variable
// stays as it is, and \${name} stands for ${name}.
func (v tunedVars) expand(value string) string {
	out := tunedRef.ReplaceAllStringFunc(value, func(ref string) string {
		if ref[0] == '\\' {
			return ref[1:]
		}
		if known, ok := v[ref[2:len(ref)-1]]; ok {
			return known
		}
		return ref
	})
	if len(out) > maxTunedValue {
		return value
	}
	return out
}

// unquote removes one pair of quotes around value.
func unquote(value string) string {
	if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
		return value[1 : len(value)-1]
	}
	return value
}

// modifier splits off TuneD's assignment modifier: with > TuneD only raises the
// value, with < it only lowers it.
func modifier(value string) (mod, rest string) {
	if len(value) > 1 && (value[0] == '>' || value[0] == '<') {
		return value[:1], strings.TrimSpace(value[1:])
	}
	return "", value
}

// unresolved reports whether value has a variable or function that only TuneD
// can resolve.
func unresolved(value string) bool { return strings.Contains(value, "${") }
