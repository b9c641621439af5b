package hostconfig

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/nodetune/nodetune/internal/hostfs"
)

// LogrotateStanza is one block of logrotate's configuration, logrotate(8): patterns and
// the directives between its braces, upon the global ones that came before.
type LogrotateStanza struct {
	File     string
	Line     int
	Patterns []string
	rotation
	// skipped is why logrotate itself leaves the stanza out. Its files are then
	// not rotated, and still are not nodetune's.
	Skipped string
}

// rotation is what the directives say, as far as it matters here.
type rotation struct {
	Copytruncate bool
	// every is the period: hourly, daily, weekly, monthly, yearly, minutes, or
	// "size", where size alone decides.
	Every            string
	size             int64 // with every "size"
	minsize, maxsize int64 // 0: none
}

// Bounded reports whether a log is rotated for its size, and so cannot grow
// for as long as its period lasts.
func (r rotation) Bounded() bool { return r.Every == "size" || r.maxsize > 0 }

// logrotateConf is a configuration that was read.
type logrotateConf struct {
	Stanzas []LogrotateStanza
	// problems are what logrotate or nodetune could not read, each with its
	// file and line.
	Problems []Problem
}

// Problem is what could not be read in the file Path, and why.
type Problem struct{ Path, Message string }

// defaultRotation is logrotate's before any directive.
var defaultRotation = rotation{Every: "size", size: 1 << 20}

// Bounds of one configuration.
const (
	maxIncludes     = 1000
	maxNesting      = 16 // logrotate's own
	maxStanzas      = 10_000
	maxPatterns     = 100_000
	maxPatternBytes = 2048 // logrotate's own
)

// logrotateConfigs are the main files: the second is openSUSE's and SLE's, whose
// logrotate reads it before the first.
var logrotateConfigs = []string{"/usr/etc/logrotate.conf", "/etc/logrotate.conf"}

// ReadLogrotate reads logrotate's configuration and what it includes, as
// logrotate does.
func ReadLogrotate(host hostfs.HostFiles) logrotateConf {
	r := logrotateReader{host: host, taboo: defaultTaboo()}
	global := defaultRotation
	for _, p := range logrotateConfigs {
		if _, err := host.Kind(p); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		r.path(p, "/", &global)
	}
	if !r.included {
		// logrotate itself then does not read it, but another call of it may.
		if _, err := host.Kind("/etc/logrotate.d"); err == nil {
			r.path("/etc/logrotate.d", "/", &global)
		}
	}
	return r.conf
}

// logrotateReader reads files and remembers what holds across them.
type logrotateReader struct {
	host     hostfs.HostFiles
	conf     logrotateConf
	taboo    []string // patterns of fnmatch(3)
	depth    int      // of includes
	files    int
	patterns int
	included bool
}

func (r *logrotateReader) problem(file string, line int, format string, args ...any) {
	if len(r.conf.Problems) < MaxWarnings {
		r.conf.Problems = append(r.conf.Problems, Problem{file, fmt.Sprintf("%s:%d: ", file, line) + fmt.Sprintf(format, args...)})
	}
}

// path reads a file or every file of a directory, readConfigPath in config.c of
// logrotate. dir is the working directory: that of the including file while a
// directory is read.
func (r *logrotateReader) path(p, dir string, global *rotation) bool {
	if !path.IsAbs(p) {
		p = path.Join(dir, p)
	}
	names, err := r.host.List(p)
	if err != nil { // no directory
		return r.file(p, dir, global)
	}
	ok := true
	for _, name := range names {
		file := path.Join(p, name)
		if r.isTaboo(name) {
			continue
		}
		if _, err := r.host.List(file); err == nil {
			continue // logrotate takes the files of one level
		}
		if !r.file(file, p, global) {
			ok = false
		}
	}
	return ok
}

// file reads one file. Global directives of a file with an error are taken back.
func (r *logrotateReader) file(p, dir string, global *rotation) bool {
	if r.files++; r.files > maxIncludes {
		r.problem(p, 1, "not read: logrotate's configuration has more than %d files", maxIncludes)
		return false
	}
	b, err := r.host.Read(p)
	if err != nil {
		r.problem(p, 1, "not read: %v", err)
		return false
	}
	before := *global
	f := logrotateFile{logrotateReader: r, name: p, dir: dir, b: b, line: 1, global: global}
	if f.parse(); f.failed {
		*global = before
	}
	return !f.failed
}

func (r *logrotateReader) isTaboo(name string) bool {
	if name == "." || name == ".." {
		return true
	}
	return slices.ContainsFunc(r.taboo, func(pattern string) bool { return fnmatch(pattern, name) })
}

// defaultTaboo are the endings of names in an included directory that logrotate
// passes over (those of v3.22).
func defaultTaboo() []string {
	var all []string
	for _, ext := range []string{
		",v", ".bak", ".cfsaved", ".disabled", ".dpkg-bak", ".dpkg-del", ".dpkg-dist", ".dpkg-new", ".dpkg-old",
		".dpkg-tmp", ".new", ".old", ".orig", ".pacnew", ".pacorig", ".pacsave", ".rhn-cfg-tmp-*", ".rpmnew", ".rpmorig", ".rpmsave",
		".swp", ".ucf-dist", ".ucf-new", ".ucf-old", "~",
	} {
		all = append(all, "*"+ext)
	}
	return all
}

// tabooList adds to the patterns, or replaces them where the value does not
// begin with '+'.
func (r *logrotateReader) tabooList(value, prefix string) {
	value, adds := strings.CutPrefix(value, "+")
	if !adds {
		r.taboo = nil
	}
	for _, one := range strings.FieldsFunc(value, func(c rune) bool { return c == ',' || strings.ContainsRune(cSpace, c) }) {
		if len(r.taboo) < maxIncludes {
			r.taboo = append(r.taboo, prefix+one)
		}
	}
}

// logrotateSize reads a size: a number, decimal, octal or hexadecimal, with k, M
// or G.
func logrotateSize(s string) (int64, error) {
	number, factor := s, int64(1)
	if s != "" {
		switch s[len(s)-1] {
		case 'k', 'K':
			number, factor = s[:len(s)-1], 1<<10
		case 'M':
			number, factor = s[:len(s)-1], 1<<20
		case 'G':
			number, factor = s[:len(s)-1], 1<<30
		}
	}
	n, err := strconv.ParseInt(number, 0, 64)
	if err != nil || n < 0 || n > 1<<62/factor || strings.Contains(number, "_") {
		return 0, fmt.Errorf("bad size %.40q", s)
	}
	return n * factor, nil
}

// Matches reports whether a pattern of logrotate's configuration matches p:
// such a file is logrotate's to rotate, and nodetune leaves it alone.
func (s LogrotateStanza) Matches(p string) bool {
	return slices.ContainsFunc(s.Patterns, func(pattern string) bool {
		return globMatch(pattern, p) || path.Clean(pattern) == p // a pattern that matches nothing is a name
	})
}

// Some returns the first patterns of s, for a message.
func (s LogrotateStanza) Some() string {
	return strings.Join(s.Patterns[:min(3, len(s.Patterns))], " ")
}
