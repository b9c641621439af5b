package reclaim

import (
	"path"
	"strings"
	"testing"
)

func TestParseCorePattern(t *testing.T) {
	for pattern, want := range map[string]CoreDir{
		"core\n": {},
		"|/lib/systemd/systemd-coredump %P %u %g %s %t %c %h\n": {},
		"cores/core\n":                    {},
		"/var/cores/core.%e.%p\n":         {"/var/cores", "core.*.*"},
		"/var/cores/%%core[%p]*\n":        {"/var/cores", `%core\[*]\*`},
		"/tmp/core\n":                     {"/tmp", "core"},
		"/core%\n":                        {"/", "core"},
		"/var/%h/core\n":                  {}, // a directory for each host
		"/var/cores/\n":                   {},
		"/var//cores/../x/core\n":         {"/var/x", "core"},
		"":                                {},
		"/var/cores/" + `a\b?` + "core\n": {"/var/cores", `a\\b\?core`},
	} {
		if got, ok := parseCorePattern(pattern); got != want || ok != (want.Dir != "") {
			t.Errorf("%q: got %q, %v", pattern, got, ok)
		}
	}
	c, _ := parseCorePattern("/var/cores/core.%e")
	for name, want := range map[string]bool{"core.sh": true, "core.sh.4711": true, "core": false, "score.sh": false} {
		if c.matches(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}

// What the kernel makes of a pattern is found by the glob that comes out of it.
func FuzzCorePattern(f *testing.F) {
	f.Add("/var/cores/core.%e.%p")
	f.Add("/a/%%[%")
	f.Fuzz(func(t *testing.T, pattern string) {
		c, ok := parseCorePattern(pattern)
		if !ok {
			return
		}
		if !path.IsAbs(c.Dir) || path.Clean(c.Dir) != c.Dir {
			t.Errorf("%q lies in %q", pattern, c.Dir)
		}
		if _, err := path.Match(c.glob, ""); err != nil {
			t.Fatalf("%q: %q: %v", pattern, c.glob, err)
		}
		var name strings.Builder // as format_corename in fs/coredump.c writes it
		for rest := path.Base(strings.TrimSuffix(pattern, "\n")); rest != ""; {
			switch {
			case strings.HasPrefix(rest, "%%"):
				name.WriteByte('%')
				rest = rest[2:]
			case rest[0] == '%' && len(rest) > 1:
				name.WriteString("4711")
				rest = rest[2:]
			case rest[0] == '%':
				rest = ""
			default:
				name.WriteByte(rest[0])
				rest = rest[1:]
			}
		}
		if n := name.String(); strings.ToValidUTF8(n, "") == n && (!c.matches(n) || !c.matches(n+".1")) {
			t.Errorf("%q: the kernel writes %q, which %q does not match", pattern, n, c.glob)
		}
	})
}
