package sysctld

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/nodetune/nodetune/sysctl"
)

// Tuned is the part of the active TuneD profiles that names a key. TuneD
// writes after the boot, and again whenever its profile changes. With its
// default reapply_sysctl=1 it then writes /run/sysctl.d, /etc/sysctl.d and
// /etc/sysctl.conf over its own values.
type Tuned struct {
	Profile string    `json:"profile"` // as active_profile and post_loaded_profile name it
	Lines   []Setting `json:"lines"`   // the last one that wins comes last
	// Problems are profiles and includes that only TuneD can resolve. They may
	// hide a line that changes the answer.
	Problems []string `json:"problems,omitempty"`
}

// tunedDirs are searched in this order for a profile (tuned-main.conf(5)); the
// ones named profiles are those of TuneD 2.23 and later.
var tunedDirs = []string{"/etc/tuned/profiles", "/etc/tuned", "/usr/lib/tuned/profiles", "/usr/lib/tuned"}

// tunedSafeName is the form of a name in active_profile that TuneD accepts.
var tunedSafeName = regexp.MustCompile(`^[a-zA-Z0-9_.-]+$`)

// maxTunedProfiles bounds the profiles that are read.
const maxTunedProfiles = 64

// ReadTuned returns what the active TuneD profiles of root, with the profiles
// they include, say about path. It is nil where TuneD has no active profile or
// none that names path.
func ReadTuned(root, path string) (*Tuned, error) {
	t, err := openTree(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // which Read reports
	}
	if err != nil {
		return nil, err
	}
	defer t.close()
	active, err := t.readSmall("/etc/tuned/active_profile")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	post, _ := t.readSmall("/etc/tuned/post_loaded_profile") // most hosts have none
	load := strings.Fields(active + "\n" + post)
	load = slices.DeleteFunc(load, func(n string) bool { return !tunedSafeName.MatchString(n) })
	w := tunedWalk{tree: t, path: path, dirs: t.tunedDirs(), vars: make(tunedVars)}
	w.load(load)
	w.resolve()
	if len(w.lines) == 0 {
		return nil, nil
	}
	return &Tuned{Profile: strings.Join(load, " "), Lines: w.lines, Problems: w.problems}, nil
}

// readSmall returns the first 4 KiB of a file.
func (t *tree) readSmall(name string) (string, error) {
	f, err := t.openRegular(name)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, 4096))
	return string(b), err
}

// tunedDirs returns the directories of profiles, the first to search first.
// profile_dirs of tuned-main.conf lists them in the opposite order.
func (t *tree) tunedDirs() []string {
	f, err := t.openRegular("/etc/tuned/tuned-main.conf")
	if err != nil {
		return tunedDirs
	}
	defer func() { _ = f.Close() }()
	b, _ := io.ReadAll(io.LimitReader(f, maxLineBytes))
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(tunedComment(line), "=")
		if strings.TrimSpace(key) != "profile_dirs" {
			continue
		}
		dirs := tunedList(unquote(strings.TrimSpace(value)))
		dirs = slices.DeleteFunc(dirs, func(d string) bool { return !path.IsAbs(d) })
		if len(dirs) > 0 && len(dirs) <= maxTunedProfiles {
			slices.Reverse(dirs)
			return dirs
		}
	}
	return tunedDirs
}

// tunedWalk merges profiles as TuneD does (loader.py, merger.py and unit.py).
type tunedWalk struct {
	tree     *tree
	path     string
	dirs     []string
	seen     []string // files
	units    []*tunedUnit
	vars     tunedVars
	lines    []Setting
	problems []string
}

type tunedUnit struct {
	tunedSection
	kind             string // the plugin
	enabled, replace bool
	drop             []string
	// uname and cpuinfo are patterns of Python that the machine has to match, or
	// TuneD leaves the section out; "" for none.
	uname, cpuinfo string
}

func (w *tunedWalk) problem(format string, args ...any) {
	if p := fmt.Sprintf(format, args...); len(w.problems) < maxProblems && !slices.Contains(w.problems, p) {
		w.problems = append(w.problems, p)
	}
}

// load adds profiles in order, each after the profiles that it includes.
func (w *tunedWalk) load(profiles []string) {
	for _, name := range profiles {
		sections := w.read(name)
		for _, s := range sections {
			if s.name == "main" {
				w.include(s.pop("include", ""))
			}
		}
		for _, s := range sections {
			if s.name != "main" {
				w.merge(newTunedUnit(s))
			}
		}
	}
}

// include loads the profiles of an include line. TuneD has no variables yet when
// it reads the line, and a function is known to TuneD alone.
func (w *tunedWalk) include(list string) {
	for _, name := range tunedList(list) {
		if unresolved(name) {
			w.problem("includes %s, which only TuneD can resolve", name)
			return // the list was split inside the function
		}
		w.load([]string{name})
	}
}

// tunedList splits a list at commas and semicolons.
func tunedList(list string) []string {
	var all []string
	for part := range strings.FieldsFuncSeq(list, func(c rune) bool { return c == ',' || c == ';' }) {
		if part = strings.TrimSpace(part); part != "" {
			all = append(all, part)
		}
	}
	return all
}

// read returns the sections of the first file of a profile that was not read
// yet: a profile below /etc can include the one of the same name below /usr.
func (w *tunedWalk) read(name string) []*tunedSection {
	if len(w.seen) >= maxTunedProfiles {
		w.problem("more than %d profiles are included", maxTunedProfiles)
		return nil
	}
	name, optional := strings.CutPrefix(name, "-")
	missing := true
	for _, dir := range w.dirs {
		file := path.Join(dir, path.Base(name), "tuned.conf")
		if slices.Contains(w.seen, file) {
			missing = false
			continue
		}
		f, err := w.tree.openRegular(file)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				w.problem("%s: %s", file, cause(err))
				missing = false
			}
			continue
		}
		w.seen = append(w.seen, file)
		sections, err := parseTuned(f, file)
		_ = f.Close()
		if err != nil {
			w.problem("%s: %v: TuneD refuses the profile", file, err)
		}
		return sections
	}
	if missing && !optional {
		w.problem("the profile %s is in none of %s", name, strings.Join(w.dirs, ", "))
	}
	return nil
}

func newTunedUnit(s *tunedSection) *tunedUnit {
	u := &tunedUnit{
		kind:    s.pop("type", s.name),
		enabled: tunedTrue(s.pop("enabled", "1")),
		replace: tunedTrue(s.pop("replace", "0")),
		drop:    tunedList(s.pop("drop", "")),
		uname:   s.pop("uname_regex", ""),
		cpuinfo: s.pop("cpuinfo_regex", ""),
	}
	for _, name := range []string{"devices", "devices_udev_regex", "script_pre", "script_post"} {
		s.pop(name, "")
	}
	u.tunedSection = *s
	return u
}

// condition returns what the machine has to match for the section, "" for nothing.
func (u *tunedUnit) condition() string {
	var all []string
	if u.uname != "" {
		all = append(all, "uname_regex="+u.uname)
	}
	if u.cpuinfo != "" {
		all = append(all, "cpuinfo_regex="+u.cpuinfo)
	}
	return strings.Join(all, " and ")
}

// merge puts u over the unit of the same name, by _merge_two of merger.py.
func (w *tunedWalk) merge(u *tunedUnit) {
	i := slices.IndexFunc(w.units, func(o *tunedUnit) bool { return o.name == u.name })
	if i < 0 {
		w.units = append(w.units, u)
		return
	}
	old := w.units[i]
	if u.replace {
		for _, o := range old.options {
			w.lost(o, Overridden, place(u), "its section is replaced")
		}
		w.units[i] = u
		return
	}
	old.kind, old.enabled = u.kind, u.enabled
	old.uname, old.cpuinfo = cmp.Or(u.uname, old.uname), cmp.Or(u.cpuinfo, old.cpuinfo)
	for _, name := range u.drop {
		if o := old.find(name); o != nil {
			w.lost(o, Overridden, place(u), "it is dropped")
			old.pop(name, "")
		}
	}
	for _, o := range u.options {
		if was := old.find(o.name); was != nil {
			w.lost(was, Overridden, o.String(), "")
			*was = *o // keeps its position
			continue
		}
		old.options = append(old.options, o)
	}
}

// place names the file of u.
func place(u *tunedUnit) string {
	if len(u.options) == 0 {
		return "a profile that includes it"
	}
	return u.options[0].File
}

// names reports whether o sets the key in question. TuneD makes every dot a slash.
func (w *tunedWalk) names(o *tunedOption) bool {
	return slices.Contains(names(w.path), simplify(strings.ReplaceAll(o.name, ".", "/")))
}

// lost records a line that another one takes the effect of.
func (w *tunedWalk) lost(o *tunedOption, d Disposition, by, reason string) {
	if w.names(o) {
		w.lines = append(w.lines, Setting{Place: o.Place, Key: o.name, Value: unquote(o.value), Disposition: d, By: by, Reason: reason})
	}
}

// resolve defines the variables and adds the lines that TuneD applies, in its
// order.
func (w *tunedWalk) resolve() {
	for _, u := range w.units {
		if u.name != "variables" {
			continue
		}
		for _, o := range u.options {
			if o.name == "include" {
				w.includeVars(o.value)
				continue
			}
			w.vars.define(o.name, o.value)
		}
	}
	winner := -1
	for _, u := range w.units {
		for _, o := range u.options {
			if u.kind != "sysctl" || !w.names(o) {
				continue
			}
			if !u.enabled {
				w.lost(o, NoEffect, "", "its section is not enabled")
				continue
			}
			s := Setting{Place: o.Place, Key: o.name, Disposition: Wins}
			s.Modifier, s.Value = modifier(w.vars.expand(unquote(o.value)))
			switch {
			case unresolved(s.Value):
				s.Reason = "only TuneD can resolve the value"
			case !takes(w.path, s.Value):
				s.Disposition = Refused
			case u.condition() != "":
				s.Reason = "on machines that match " + shorten(u.condition())
			}
			// A value that only raises or lowers leaves the one before in place, and
			// one with a condition may.
			if winner >= 0 && s.Disposition == Wins && s.Modifier == "" && u.condition() == "" {
				w.lines[winner].Disposition, w.lines[winner].By = Overridden, s.String()
			}
			if s.Disposition == Wins {
				winner = len(w.lines)
			}
			w.lines = append(w.lines, s)
		}
	}
	if last := len(w.lines) - 1; winner >= 0 && winner < last {
		s := w.lines[winner]
		w.lines = append(slices.Delete(w.lines, winner, winner+1), s)
	}
}

// includeVars reads a file of variables: options, with or without sections.
func (w *tunedWalk) includeVars(name string) {
	if !path.IsAbs(name) {
		w.problem("the variables file %s is not an absolute path", name)
		return
	}
	f, err := w.tree.openRegular(path.Clean(name))
	if err != nil {
		w.problem("the variables file %s: %s", name, cause(err))
		return
	}
	defer func() { _ = f.Close() }()
	sections, err := parseTuned(io.MultiReader(strings.NewReader("[variables]\n"), f), name)
	if err != nil {
		w.problem("the variables file %s: %v", name, err)
		return
	}
	for _, s := range sections {
		for _, o := range s.options {
			w.vars.define(o.name, o.value)
		}
	}
}

// Most returns the largest value that TuneD may leave in the key, unknown where
// it only lowers or where only TuneD can resolve the value.
func (t *Tuned) Most() (most sysctl.Value, by string) {
	most = sysctl.Unknown
	if t == nil {
		return most, ""
	}
	for _, s := range t.Lines {
		if s.Disposition == Wins && s.Modifier != "<" && s.Number() > most {
			most, by = s.Number(), "TuneD profile "+t.Profile+", "+s.String()
		}
	}
	return most, by
}
