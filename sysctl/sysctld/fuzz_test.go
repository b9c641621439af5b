package sysctld

import (
	"bytes"
	"errors"
	"io"
	"path"
	"strings"
	"testing"
)

func FuzzLines(f *testing.F) {
	f.Add([]byte("a=1\r\n\n\rb=2\x00c"))
	f.Add([]byte(q + " = 1"))
	f.Fuzz(func(t *testing.T, content []byte) {
		for _, loader := range Loaders {
			in, n := newLines(bytes.NewReader(content), loader), 0
			for err := in.next(); !errors.Is(err, io.EOF); err = in.next() {
				if err != nil {
					t.Fatal(err)
				}
				n++
				if in.number != n || len(in.text) > maxLineBytes || bytes.ContainsAny(in.text, "\n\x00") {
					t.Fatalf("%s: line %d numbered %d: %q", loader, n, in.number, in.text)
				}
			}
			if loader == Systemd && bytes.ContainsAny(content, "\r\x00") {
				continue
			}
			want := bytes.Count(content, []byte("\n"))
			if len(content) > 0 && content[len(content)-1] != '\n' {
				want++
			}
			if n != want {
				t.Errorf("%s: %d lines in %q, want %d", loader, n, content, want)
			}
		}
	})
}

func FuzzParseLine(f *testing.F) {
	f.Add("-net.ipv4.conf.*.rp_filter = 2")
	f.Add("/a/../b=\x00")
	f.Add("-fs..x")
	f.Fuzz(func(t *testing.T, text string) {
		for _, loader := range Loaders {
			a, ok, _ := loader.parseLine(text)
			if !ok {
				continue
			}
			if strings.HasPrefix(a.target, "/") || dotdot(a.target) {
				t.Errorf("%s: %q would write %q below /proc/sys", loader, text, a.target)
			}
			line := a.written + " = " + a.value
			if a.exclude {
				line = "-" + a.written
			}
			if strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") || !a.exclude && strings.HasPrefix(line, "-") ||
				strings.TrimLeft(line, " \t\n\v\f\r") != line {
				continue // a key that only a dash let through
			}
			if again, _, _ := loader.parseLine(line); again != a {
				t.Errorf("%s: %q is %+v, written again as %q it is %+v", loader, text, a, line, again)
			}
		}
	})
}

func FuzzGlob(f *testing.F) {
	f.Add("fs/*/max_[!a-c]?", "fs/inotify/max_dx")
	f.Add("[[:alpha:]-]*[", "a-[")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		got := globPath(pattern, name)
		if !strings.ContainsAny(pattern, `[\`) && isASCII(pattern+name) {
			if want, err := path.Match(pattern, name); err != nil || got != want {
				t.Errorf("%q against %q: %v, path.Match says %v (%v)", name, pattern, got, want, err)
			}
		}
		var escaped strings.Builder
		for _, c := range []byte(name) {
			if c != '/' {
				escaped.WriteByte('\\')
			}
			escaped.WriteByte(c)
		}
		if !globPath(escaped.String(), name) {
			t.Errorf("%q does not match itself, escaped", name)
		}
	})
}

func isASCII(s string) bool { return strings.IndexFunc(s, func(r rune) bool { return r >= 0x80 }) < 0 }

// FuzzResolve: whatever stands before it, the last assignment to the key itself
// wins, and it alone.
func FuzzResolve(f *testing.F) {
	for _, c := range bootCases {
		if content := c.files["/etc/sysctl.d/a.conf"]; len(content) < 1<<10 {
			f.Add([]byte(content))
		}
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		for _, loader := range Loaders {
			b := &Boot{Loader: loader, paths: []string{key}}
			b.parse(bytes.NewReader(content), File{Path: "junk"})
			if v := b.Resolve(key); v.Winner != nil && !takes(key, v.Winner.Value) {
				t.Fatalf("%s: the kernel would not take the winner %+v", loader, v.Winner)
			}
			b.parse(strings.NewReader(q+" = 17777\n"), File{Path: "last"})
			v := b.Resolve(key)
			if v.Winner == nil || v.Winner.Value != "17777" {
				t.Fatalf("%s: the last line does not win: %+v", loader, v)
			}
			for _, s := range v.Others {
				if s.Disposition == "" || s.Disposition == Wins {
					t.Errorf("%s: %+v beside the winner", loader, s)
				}
			}
			if len(b.Problems) > maxProblems {
				t.Errorf("%s: %d problems of one file", loader, len(b.Problems))
			}
		}
	})
}
