package sysctld

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Loader is a program that reads sysctl.d at boot.
type Loader string

// The loaders.
const (
	Systemd Loader = "systemd-sysctl" // systemd-sysctl.service
	Procps  Loader = "procps"         // sysctl --system
)

// Loaders are all of them.
var Loaders = []Loader{Systemd, Procps}

// dirs are searched in this order; a file masks those of its name in later
// ones. A merged /usr makes the last two the same.
var dirs = []string{"/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d"}

// procpsLast is read by procps after all others. systemd-sysctl does not read
// it, but Debian links /etc/sysctl.d/99-sysctl.conf to it.
const procpsLast = "/etc/sysctl.conf"

// Problem is a file or line that a loader, or this package, could not use.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"` // 0: the whole file
	Problem string `json:"problem"`
	// Uncertain marks what might hide a setting, so that a [Resolution] may be wrong.
	Uncertain bool `json:"opaque,omitempty"`
}

func (p Problem) String() string {
	if p.Line == 0 {
		return p.File + ": " + p.Problem
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Problem)
}

// File is one file of a sysctl.d directory.
type File struct {
	Path     string `json:"path"`
	MaskedBy string `json:"maskedBy,omitempty"` // the file of the same name that is read instead
}

// Boot is what one loader would read at the next boot.
type Boot struct {
	Loader   Loader
	Files    []File // in the order read, masked ones where they would stand
	Problems []Problem

	paths  []string
	lines  []line
	unread []unread
	nulls  []string // files that are /dev/null
	edit   edit
}

// edit is one file that is read with its planned content instead of its own.
type edit struct {
	path    string
	content []byte // nil: as if the file were not there
}

// line is an assignment about one of the paths asked for.
type line struct {
	assignment
	Place
	maskedBy string
}

// Read reads what loader would read at the next boot of root, and keeps the
// lines that name one of paths, which are names below /proc/sys. A file that
// cannot be read is a [Problem], as is a root that does not exist. The error is
// about a root that cannot be opened.
func Read(root string, loader Loader, paths ...string) (*Boot, error) {
	return readEdited(root, loader, edit{}, paths...)
}

func readEdited(root string, loader Loader, e edit, paths ...string) (*Boot, error) {
	b := &Boot{Loader: loader, edit: e}
	for _, path := range paths {
		b.paths = append(b.paths, names(path)...)
	}
	t, err := openTree(root)
	if errors.Is(err, fs.ErrNotExist) {
		b.problem(Problem{File: root, Problem: "the root given by --path.rootfs does not exist: what the files of sysctl.d set at the next boot is not known", Uncertain: true})
		return b, nil
	}
	if err != nil {
		return nil, err
	}
	defer t.close()
	b.find(t)
	for _, f := range b.Files {
		b.readFile(t, f)
	}
	for _, s := range b.findStrays(t) {
		b.readStray(t, s)
	}
	return b, nil
}

// ReadAll is [Read] for each of [Loaders], in their order.
func ReadAll(root string, paths ...string) ([]*Boot, error) {
	return readAll(root, edit{}, paths)
}

func readAll(root string, e edit, paths []string) ([]*Boot, error) {
	var all []*Boot
	for _, l := range Loaders {
		b, err := readEdited(root, l, e, paths...)
		if err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	return all, nil
}

// Problems returns the problems of all, each once.
func Problems(all []*Boot) []Problem {
	var problems []Problem
	for _, b := range all {
		for _, p := range b.Problems {
			if !slices.Contains(problems, p) {
				problems = append(problems, p)
			}
		}
	}
	return problems
}

// find lists the files in the order in which the loader reads them.
func (b *Boot) find(t *tree) {
	if etc, err := t.openat("/etc", unix.O_PATH|unix.O_DIRECTORY); err == nil {
		_ = etc.Close()
	} else if errors.Is(err, fs.ErrNotExist) {
		// A pod that has some directories of the host, and not this one.
		b.problem(Problem{File: "/etc", Problem: "is not below the root given by --path.rootfs: what is loaded at the next boot is not seen from here", Uncertain: true})
	}
	seen := make(map[string]string) // file name: path
	var ids []dirID
	for _, dir := range dirs {
		names, id, err := t.confNames(dir)
		names = b.edit.apply(dir, names)
		switch {
		case errors.Is(err, fs.ErrNotExist) && len(names) > 0:
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			b.Problems = append(b.Problems, Problem{File: dir, Problem: "cannot list the directory: " + cause(err), Uncertain: true})
			continue
		case slices.Contains(ids, id):
			continue
		default:
			ids = append(ids, id)
		}
		for _, name := range names {
			if b.Loader == Systemd && name[0] == '.' {
				continue
			}
			f := File{Path: dir + "/" + name, MaskedBy: seen[name]}
			if f.MaskedBy == "" {
				seen[name] = f.Path
			}
			b.Files = append(b.Files, f)
		}
	}
	slices.SortStableFunc(b.Files, func(x, y File) int {
		return strings.Compare(base(x.Path), base(y.Path))
	})
	if b.Loader == Procps {
		if f, err := t.openRegular(procpsLast); err == nil {
			_ = f.Close()
			b.Files = append(b.Files, File{Path: procpsLast})
		} else if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errNull) {
			b.problem(Problem{File: procpsLast, Problem: cause(err), Uncertain: true})
		}
	}
}

// apply puts the file that is edited among the names of dir, or takes it out.
func (e edit) apply(dir string, names []string) []string {
	name, ok := strings.CutPrefix(e.path, dir+"/")
	if !ok {
		return names
	}
	names = slices.DeleteFunc(names, func(n string) bool { return n == name })
	if e.content != nil {
		names = append(names, name)
	}
	return names
}

func base(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

func (b *Boot) problem(p Problem) { b.Problems = append(b.Problems, p) }

func (b *Boot) readFile(t *tree, f File) {
	if f.Path == b.edit.path {
		b.parse(bytes.NewReader(b.edit.content), f)
		return
	}
	file, err := t.openRegular(f.Path)
	switch {
	case errors.Is(err, errNull):
		b.nulls = append(b.nulls, f.Path)
		return
	case errors.Is(err, fs.ErrNotExist): // a dangling link sets nothing, and masks
		if f.MaskedBy == "" {
			b.problem(Problem{File: f.Path, Problem: "is a link to nothing"})
		}
		return
	case err != nil:
		if f.MaskedBy == "" {
			b.problem(Problem{File: f.Path, Problem: cause(err), Uncertain: true})
		}
		return
	}
	defer func() { _ = file.Close() }()
	if b.Loader == Procps && strings.ContainsAny(base(f.Path), `*?[{~\`) {
		b.problem(Problem{File: f.Path, Problem: "procps takes this file name for a pattern", Uncertain: true})
	}
	b.parse(file, f)
}

// maxProblems of one file are reported; in binary junk every line is one.
const maxProblems = 5

// parse reads one file.
func (b *Boot) parse(r io.Reader, f File) {
	buffered := bufio.NewReader(r)
	mark, _ := buffered.Peek(2)
	in := newLines(buffered, b.Loader)
	var problems []Problem
	more := 0
	report := func(n int, problem string, uncertain bool) {
		if len(problems) < maxProblems {
			problems = append(problems, Problem{File: f.Path, Line: n, Problem: problem, Uncertain: uncertain})
		} else {
			more++
			problems[maxProblems-1].Uncertain = problems[maxProblems-1].Uncertain || uncertain
		}
	}
	if string(mark) == "\xff\xfe" || string(mark) == "\xfe\xff" {
		report(1, "the file is UTF-16 text, of which the loaders read no line: save it as UTF-8 without a byte order mark", true)
	}
	for {
		err := in.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			report(in.number+1, cause(err), true)
			break
		}
		if in.long {
			report(in.number, "is longer than 64 KiB", true)
		}
		a, ok, problem := b.Loader.parseLine(string(in.text))
		if problem != "" {
			report(in.number, problem, problem == notText)
		}
		at := Place{f.Path, in.number}
		if ok && slices.ContainsFunc(b.paths, a.sets) {
			b.lines = append(b.lines, line{a, at, f.MaskedBy})
			continue
		}
		for _, path := range b.paths {
			if why := b.Loader.whyIneffective(string(in.text), ok, path); why != "" {
				b.ineffective(path, at, string(in.text), a, ok, why)
				break
			}
		}
	}
	if f.MaskedBy != "" {
		return
	}
	if more > 0 {
		problems[maxProblems-1].Problem += fmt.Sprintf(" (and %d more in this file)", more)
	}
	b.Problems = append(b.Problems, problems...)
}

// cause returns err without the path, which a Problem already names.
func cause(err error) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err.Error()
	}
	return err.Error()
}
