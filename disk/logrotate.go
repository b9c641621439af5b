package disk

import (
	"bufio"
	"bytes"
	"path"
	"slices"
	"strings"
)

// stanza is one block of logrotate's configuration, logrotate(8): patterns and
// the directives between its braces, with the global ones that came before.
type stanza struct {
	file         string
	line         int
	patterns     []string
	copytruncate bool
}

// rotated is what logrotate's configuration says, as far as it matters here:
// which paths are its own, and which of them it rotates by copytruncate.
type rotated struct {
	stanzas  []stanza
	includes []string
}

// parseLogrotate reads one file. global is what held before it, and is changed
// by the directives outside of blocks. What it does not know it passes over:
// logrotate itself is the one to complain.
func parseLogrotate(file string, b []byte, global *bool) rotated {
	var r rotated
	var patterns []string
	var block *stanza
	script := false
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, maxConfig+1)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || line[0] == '#':
			continue
		case script:
			script = words[0] != "endscript"
			continue
		case block == nil && words[0] == "include" && len(words) > 1:
			r.includes = append(r.includes, strings.Trim(words[1], `"'`))
			continue
		case block == nil && (line[0] == '/' || line[0] == '"' || line[0] == '\'' || line[0] == '{'):
			names, opens := strings.CutSuffix(line, "{")
			if before, after, ok := strings.Cut(line, "{"); ok && !opens {
				// Everything on one line: the rest are directives.
				names, opens, words = before, true, strings.Fields(after)
			} else {
				words = nil
			}
			patterns = append(patterns, quoted(names)...)
			if !opens {
				continue
			}
			block = &stanza{file: file, line: n, patterns: patterns, copytruncate: *global}
			patterns = nil
		}
		to := global
		if block != nil {
			to = &block.copytruncate
		}
		for _, w := range words {
			switch w {
			case "copytruncate":
				*to = true
			case "nocopytruncate":
				*to = false
			case "prerotate", "postrotate", "firstaction", "lastaction", "preremove":
				script = true
			case "}":
				if block != nil {
					r.stanzas = append(r.stanzas, *block)
					block, to = nil, global
				}
			}
			if script {
				break
			}
		}
	}
	if block != nil {
		r.stanzas = append(r.stanzas, *block) // never closed
	}
	return r
}

// quoted splits a line of paths: by blanks, but not within quotes.
func quoted(s string) []string {
	var all []string
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimSpace(s) {
		if q := s[0]; q == '"' || q == '\'' {
			name, rest, _ := strings.Cut(s[1:], string(q))
			all, s = append(all, name), rest
			continue
		}
		end := strings.IndexAny(s, " \t")
		if end < 0 {
			end = len(s)
		}
		all, s = append(all, s[:end]), s[end:]
	}
	return all
}

// maxIncludes bounds what a configuration may include.
const maxIncludes = 1000

// readLogrotate reads /etc/logrotate.conf and what it includes, a file or a
// directory, as logrotate does.
func readLogrotate(read func(string) ([]byte, error), list func(string) ([]string, error)) []stanza {
	global := false
	var all []stanza
	taken := map[string]bool{} // includes may go in a circle
	take := func(p string) (includes []string) {
		if taken[p] || len(taken) == maxIncludes {
			return nil
		}
		taken[p] = true
		b, err := read(p)
		if err != nil {
			return nil
		}
		r := parseLogrotate(p, b, &global)
		all = append(all, r.stanzas...)
		return r.includes
	}
	includes := take("/etc/logrotate.conf")
	if includes == nil {
		includes = []string{"/etc/logrotate.d"}
	}
	for n := 0; len(includes) > 0 && n < maxIncludes; n++ {
		p := includes[0]
		includes = includes[1:]
		names, err := list(p)
		if err != nil {
			includes = append(includes, take(p)...)
			continue
		}
		for _, name := range names {
			if !tabooName(name) {
				includes = append(includes, take(path.Join(p, name))...)
			}
		}
	}
	return all
}

// tabooName reports whether logrotate leaves out a file of an included
// directory: its default tabooext.
func tabooName(name string) bool {
	if strings.HasPrefix(name, ".") {
		return true
	}
	return slices.ContainsFunc([]string{
		",v", ".bak", ".cfsaved", ".disabled", ".dpkg-bak", ".dpkg-del", ".dpkg-dist", ".dpkg-new", ".dpkg-old",
		".dpkg-tmp", ".ignore", ".new", ".old", ".orig", ".rhn-cfg-tmp-", ".rpmnew", ".rpmorig", ".rpmsave", ".swp", ".ucf-dist", ".ucf-new", ".ucf-old", "~",
	}, func(ext string) bool { return strings.HasSuffix(name, ext) })
}

// manages reports whether a pattern of logrotate's configuration matches p:
// such a file is logrotate's to rotate, and nobody else's.
func (s stanza) manages(p string) bool {
	for _, pattern := range s.patterns {
		pattern = strings.ReplaceAll(pattern, "[!", "[^") // glob(7), path.Match
		if ok, err := path.Match(pattern, p); ok && err == nil {
			return true
		}
	}
	return false
}
