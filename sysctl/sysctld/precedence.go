package sysctld

import (
	"fmt"
	"slices"
)

// Place is the position of a line.
type Place struct {
	File string `json:"file"`
	Line int    `json:"line"` // from 1
}

func (p Place) String() string { return fmt.Sprintf("%s:%d", p.File, p.Line) }

// Disposition is the effect of a line.
type Disposition string

// The dispositions.
const (
	Wins       Disposition = "wins"
	Overridden Disposition = "overridden" // a later line sets the key, By
	Repeats    Disposition = "repeats"    // repeats By and changes nothing
	Spared     Disposition = "spared"     // a glob, and By names the key itself
	Spares     Disposition = "spares"     // keeps globs away from the key
	Masked     Disposition = "masked"     // its file is not read; By is the one read instead
	Refused    Disposition = "refused"    // the kernel would not accept this value
	NoEffect   Disposition = "no effect"  // Reason says why
)

// Setting is a line about a key.
type Setting struct {
	Place
	Key         string      `json:"key"` // as written, glob or not
	Value       string      `json:"value,omitempty"`
	Disposition Disposition `json:"fate"`
	By          string      `json:"by,omitempty"` // a file, or a file:line
	// Modifier is TuneD's: ">" only raises the value, "<" only lowers it.
	Modifier string `json:"modifier,omitempty"`
	// Reason explains a line that has no effect.
	Reason string `json:"reason,omitempty"`
}

// Resolution is the line that sets one key, and the lines that do not.
type Resolution struct {
	Loader Loader    `json:"loader"`
	Winner *Setting  `json:"winner,omitempty"` // nil: no line, the kernel's default stays
	Others []Setting `json:"others,omitempty"` // in the order read
	// excluded reports whether procps 4.0.7 and later would not write Winner.
	excluded bool
}

// Resolve returns which line sets path, one of the paths given to [Read].
func (b *Boot) Resolve(path string) Resolution {
	var masked, read []Setting
	var lines []line
	for _, l := range b.lines {
		if !slices.ContainsFunc(names(path), l.sets) {
			continue
		}
		s := Setting{Place: l.Place, Key: l.written, Value: l.value}
		if l.maskedBy != "" {
			s.Disposition, s.By = Masked, l.maskedBy
			if slices.Contains(b.nulls, l.maskedBy) {
				s.Reason = "a link to /dev/null"
			}
			masked = append(masked, s)
			continue
		}
		read = append(read, s)
		lines = append(lines, l)
	}
	decide := systemd
	if b.Loader == Procps {
		decide = procps
	}
	v := Resolution{Loader: b.Loader}
	if winner := decide(path, lines, read); winner >= 0 {
		w := read[winner]
		w.Disposition, w.By = Wins, ""
		v.Winner = &w
		v.excluded = b.Loader == Procps && isGlob(lines[winner].name) &&
			slices.ContainsFunc(lines, func(l line) bool { return l.exclude && isGlob(l.name) })
		read = slices.Delete(read, winner, winner+1)
	}
	v.Others = append(read, masked...)
	for _, u := range b.unread {
		if slices.Contains(names(path), u.path) {
			v.Others = append(v.Others, u.Setting)
		}
	}
	return v
}

// systemd fills in the dispositions and returns the index of the winner, or -1.
// It follows systemd-sysctl, which first reads all files into an ordered map
// from name to value. A new value moves a name to the end, a repeated one does
// not. Then it writes the map in order, and a glob skips keys that are named
// explicitly.
func systemd(path string, lines []line, out []Setting) (winner int) {
	type option struct {
		name string
		line int // index
	}
	var options []option
	for i, l := range lines {
		at := slices.IndexFunc(options, func(o option) bool { return o.name == l.name })
		if at >= 0 {
			old := options[at].line
			if lines[old].exclude == l.exclude && lines[old].value == l.value {
				out[i].Disposition, out[i].By = Repeats, out[old].String()
				continue
			}
			out[old].Disposition, out[old].By = Overridden, out[i].String()
			options = slices.Delete(options, at, at+1)
		}
		options = append(options, option{l.name, i})
	}
	own := func(name string) int {
		at := slices.IndexFunc(options, func(o option) bool { return o.name == name })
		if at < 0 {
			return -1
		}
		return options[at].line
	}
	winner = -1
	for _, o := range options {
		if out[o.line].decides(lines[o.line], path, own, out) {
			if winner >= 0 {
				out[winner].Disposition, out[winner].By = Overridden, out[o.line].String()
			}
			winner = o.line
		}
	}
	return winner
}

// procps is the same for sysctl --system, which writes every line in turn. A
// glob skips keys that any line names or excludes.
func procps(path string, lines []line, out []Setting) (winner int) {
	own := func(name string) int {
		return slices.IndexFunc(lines, func(l line) bool { return l.name == name })
	}
	winner = -1
	for i, l := range lines {
		if out[i].decides(l, path, own, out) {
			if winner >= 0 {
				out[winner].Disposition, out[winner].By = Overridden, out[i].String()
			}
			winner = i
		}
	}
	return winner
}

// decides reports whether l, which is s, writes path, and fills in the
// disposition of s where not. own returns the index in out of the line that names a key, or -1.
func (s *Setting) decides(l line, path string, own func(name string) int, out []Setting) bool {
	spared := -1
	if isGlob(l.name) {
		for _, name := range names(path) {
			if !l.sets(name) {
				continue
			}
			if spared = own(name); spared < 0 {
				break
			}
		}
	}
	switch {
	case l.exclude && isGlob(l.name):
		s.Disposition, s.Reason = NoEffect, "systemd-sysctl has no exclusion by glob, procps since 4.0.7"
	case l.exclude:
		s.Disposition = Spares
	case spared >= 0:
		s.Disposition, s.By = Spared, out[spared].String()
	case !takes(path, l.value):
		s.Disposition = Refused
	default:
		return true
	}
	return false
}

// twins are two names of one variable, outside of user namespaces.
var twins = [][]string{
	{"fs/inotify/max_user_instances", "user/max_inotify_instances"},
	{"fs/inotify/max_user_watches", "user/max_inotify_watches"},
}

// names returns every name of the variable path.
func names(path string) []string {
	for _, t := range twins {
		if slices.Contains(t, path) {
			return t
		}
	}
	return []string{path}
}
