package sysctld

import (
	"path"
	"strings"
	"unicode/utf8"

	"github.com/nodetune/nodetune/sysctl"
)

// assignment is one line that names a key.
type assignment struct {
	written string // the key as written, without the dash
	name    string // the path below /proc/sys that the loader remembers
	target  string // the path below /proc/sys that it would write; empty: none
	value   string
	exclude bool // a line of the form -key
}

// notText is the problem of a line that may hide anything.
const notText = "is not text"

// parseLine reads one line as the loader does. A blank line and a comment give
// neither an assignment nor a problem.
func (l Loader) parseLine(line string) (a assignment, ok bool, problem string) {
	blank := " \t\n\r" // WHITESPACE of systemd
	if l == Procps {
		blank = " \t\n\v\f\r" // isspace(3)
	}
	line = strings.Trim(line, blank)
	if line == "" || line[0] == '#' || line[0] == ';' {
		return a, false, ""
	}
	if !isText(line) {
		problem = notText
	}
	key, value, assigned := strings.Cut(line, "=")
	key, dash := strings.CutPrefix(key, "-")
	if !assigned && !dash {
		if problem == "" {
			problem = "is not an assignment; the loaders skip it"
		}
		return a, false, problem
	}
	a.exclude = !assigned
	a.value = strings.Trim(value, blank)
	if l == Systemd {
		key = strings.Trim(key, blank)
		a.name = simplify(normalize(key))
		a.target = a.name
		if dotdot(a.name) {
			a.target = "" // EINVAL: path_is_normalized
		}
	} else {
		key = strings.TrimRight(key, blank)
		// setting_new drops a second dash.
		a.name = normalize(strings.TrimPrefix(key, "-"))
		if under, ok := strings.CutPrefix(path.Join("/proc/sys", a.name), "/proc/sys/"); ok {
			a.target = under
		}
	}
	a.written = key
	if key == "" && problem == "" {
		problem = "has no key"
	}
	return a, key != "", problem
}

// normalize returns the path below /proc/sys for both spellings: the first
// separator decides, and where it is a dot, dots and slashes change places.
func normalize(key string) string {
	i := strings.IndexAny(key, "./")
	if i < 0 || key[i] == '/' {
		return key
	}
	return sysctl.Key(key).Path()
}

// simplify is path_simplify of systemd: no double slash, no component ".", no
// slash at either end.
func simplify(p string) string {
	parts := strings.Split(p, "/")
	kept := parts[:0]
	for _, part := range parts {
		if part != "" && part != "." {
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, "/")
}

func dotdot(p string) bool {
	for part := range strings.SplitSeq(p, "/") {
		if part == ".." {
			return true
		}
	}
	return false
}

func isText(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' && c != '\t' && c != '\r' || c == 0x7f {
			return false
		}
	}
	return utf8.ValidString(s)
}

// sets reports whether a names path, exactly or as a glob, be it to exclude it.
func (a assignment) sets(path string) bool {
	if isGlob(a.name) {
		return globPath(a.target, path)
	}
	return a.target == path
}
