package sysctld

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
)

// Tuned is the part of the active TuneD profile that speaks about a key. TuneD
// writes after the boot, and again whenever its profile changes; with its
// default reapply_sysctl=1 it then writes sysctl.d over its own values.
type Tuned struct {
	Profile string    `json:"profile"` // as it stands in active_profile
	Lines   []Setting `json:"lines"`   // the last wins
}

// tunedDirs are searched in this order for a profile (tuned-main.conf(5)); the
// ones named profiles are those of TuneD 2.23 and later.
var tunedDirs = []string{"/etc/tuned/profiles", "/etc/tuned", "/usr/lib/tuned/profiles", "/usr/lib/tuned"}

// ReadTuned returns what the active TuneD profile of root, with the profiles it
// includes, says about path. It is nil where TuneD has no active profile or
// says nothing.
func ReadTuned(root, path string) (*Tuned, error) {
	t, err := openTree(root)
	if err != nil {
		return nil, err
	}
	defer t.close()
	f, err := t.openRegular("/etc/tuned/active_profile")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	active, err := io.ReadAll(io.LimitReader(f, 4096))
	_ = f.Close()
	if err != nil {
		return nil, err
	}
	w := tunedWalk{tree: t, path: path}
	for name := range strings.FieldsSeq(string(active)) {
		w.profile(name)
	}
	if len(w.lines) == 0 {
		return nil, nil
	}
	last := len(w.lines) - 1
	for i := range w.lines[:last] {
		w.lines[i].Disposition, w.lines[i].By = Overridden, w.lines[last].String()
	}
	w.lines[last].Disposition = Wins
	return &Tuned{Profile: strings.TrimSpace(string(active)), Lines: w.lines}, nil
}

type tunedWalk struct {
	tree  *tree
	path  string
	seen  []string // profiles, so that an include cannot go in circles
	lines []Setting
}

// profile adds the lines of a profile behind those of the profiles it includes.
// One that cannot be read adds nothing: this is evidence and no verdict.
func (w *tunedWalk) profile(name string) {
	if slices.Contains(w.seen, name) || len(w.seen) == 64 || strings.Contains(name, "/") {
		return
	}
	w.seen = append(w.seen, name)
	for _, dir := range tunedDirs {
		file := dir + "/" + name + "/tuned.conf"
		f, err := w.tree.openRegular(file)
		if err != nil {
			continue
		}
		includes, lines := parseTuned(f, file, w.path)
		_ = f.Close()
		for _, included := range includes {
			w.profile(included)
		}
		w.lines = append(w.lines, lines...)
		return
	}
}

// parseTuned returns what a profile includes and its lines about path.
func parseTuned(r io.Reader, file, path string) (includes []string, found []Setting) {
	in := bufio.NewScanner(io.LimitReader(r, maxFileBytes))
	section := ""
	for n := 1; in.Scan(); n++ {
		line := strings.TrimSpace(in.Text())
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		if line[0] == '[' {
			section = strings.Trim(line, "[] \t")
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		switch {
		case !ok:
		case section == "main" && key == "include":
			includes = append(includes, strings.FieldsFunc(value, func(c rune) bool { return strings.ContainsRune(" \t,;", c) })...)
		case section == "sysctl" && simplify(normalize(key)) == path:
			found = append(found, Setting{Place: Place{file, n}, Key: key, Value: strings.Trim(value, `"`)})
		}
	}
	return includes, found
}
