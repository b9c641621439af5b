package journal

import (
	"cmp"
	"context"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/hostfs"
)

// Budget is what one pass may read of the journal, and what is kept of it.
type Budget struct {
	// Names of a directory that are listed.
	Names int
	// Files that are read and remembered: journald keeps 100 in a directory by
	// default (SystemMaxFiles=).
	Files int
	// Objects that are read in a pass. One takes 1.5 µs where the file is
	// cached, so all take 0.3 s. What is left is read by the next pass.
	Objects int
	// FileUnits is how many counts all files together have. With their names,
	// of at most 300 bytes each, they take 6 MiB.
	FileUnits int
	// Units are reported, the largest first.
	Units int
}

// PassBudget is the budget of every pass.
var PassBudget = Budget{Names: 10_000, Files: 1_000, Objects: 200_000, FileUnits: 16_384, Units: 2_000}

// Keys of what Units omits.
const (
	OmittedFiles       = "journal_files"             // beyond the budget: they are read later, or never
	OmittedUnits       = "journal_units"             // those with fewest entries
	OmittedDirectories = "journal_dirs_not_journald" // not journald's: by place, name, owner or mode
	OmittedDamaged     = "journal_files_damaged"     // not in journald's format, or owned by another user
)

// cachedFile is a file that was read, as it was then.
type cachedFile struct {
	size, blocks uint64
	mtime        unix.StatxTimestamp
	damaged      bool
	fileUnits
}

// Cache remembers the files of the journal: archived ones do not change.
type Cache struct {
	files   map[hostfs.Inode]cachedFile
	written map[string]float64 // by unit, at the pass before
}

// IsDir reports whether dir has the place and the name of a directory where
// journald keeps files: MACHINE-ID, with .NAMESPACE for a namespace, see
// systemd-journald.service(8). Any other directory may contain what another
// program wrote, such as systemd-journal-remote.
func IsDir(dir string) bool {
	parent, name := path.Split(dir)
	if parent != "/var/log/journal/" && parent != "/run/log/journal/" {
		return false
	}
	id, namespace, isNamespace := strings.Cut(name, ".")
	if len(id) != 32 || isNamespace && namespace == "" {
		return false
	}
	return strings.Trim(id, "0123456789abcdef") == ""
}

// trusted reports whether only root, or the user that nodetune runs as, can
// have written a file or a directory.
func trusted(st *unix.Statx_t) bool {
	return (st.Uid == 0 || int(st.Uid) == os.Geteuid()) && st.Mode&0o022 == 0
}

// pass is one reading of the journal.
type pass struct {
	ctx     context.Context // of the reading, which this is the whole of
	cache   *Cache
	left    Budget
	files   map[hostfs.Inode]cachedFile
	omitted map[string]int
}

// directory reads the journal files of one directory, those that have changed.
func (p *pass) directory(rootfs hostfs.Root, dir string) {
	var st unix.Statx_t
	d, err := rootfs.OpenDir(dir, unix.O_RDONLY)
	if err != nil {
		return
	}
	list := os.NewFile(uintptr(d), dir)
	defer func() { _ = list.Close() }()
	if err := hostfs.Statx(d, hostfs.Self, &st); err != nil || !IsDir(dir) || !trusted(&st) {
		p.omitted[OmittedDirectories]++
		return
	}
	names, _ := list.Readdirnames(p.left.Names) // what was listed is read
	// The files that journald writes now come first.
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(strings.Count(a, "@"), strings.Count(b, "@")), cmp.Compare(a, b))
	})
	for _, name := range names {
		if !IsFile([]byte(name)) {
			continue
		}
		if p.left.Files <= 0 || p.ctx.Err() != nil {
			p.omitted[OmittedFiles]++
			continue
		}
		p.left.Files--
		p.file(d, dir, name)
	}
}

// file reads one file, unless it is as it was.
func (p *pass) file(d int, dir, name string) {
	fd, err := unix.Openat(d, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	f := os.NewFile(uintptr(fd), path.Join(dir, name))
	defer func() { _ = f.Close() }()
	var st unix.Statx_t
	if err := hostfs.Statx(fd, hostfs.Self, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return
	}
	if !trusted(&st) {
		p.omitted[OmittedDamaged]++
		return
	}
	at := hostfs.Inode{Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Ino: st.Ino}
	if _, again := p.files[at]; again {
		return // a hard link
	}
	known, ok := p.cache.files[at]
	if !ok || known.size != st.Size || known.mtime != st.Mtime {
		if p.left.Objects <= 0 {
			p.omitted[OmittedFiles]++
			return
		}
		known = cachedFile{size: st.Size, mtime: st.Mtime}
		known.fileUnits, err = readFile(f, int64(st.Size), min(maxObjects, p.left.Objects))
		p.left.Objects -= known.objects
		if err != nil && p.left.Objects <= 0 {
			p.omitted[OmittedFiles]++ // the next pass reads it
			return
		}
		if known.damaged = err != nil; known.damaged {
			known.Units = nil
		}
	}
	known.blocks = st.Blocks * 512
	known.Omitted += keepLargest(known.Units, max(0, p.left.FileUnits))
	p.left.FileUnits -= len(known.Units)
	p.files[at] = known
	p.omitted[OmittedUnits] += known.Omitted
	if known.damaged {
		p.omitted[OmittedDamaged]++
	}
}

// UnitUsage is what one unit has in the journal.
type UnitUsage struct {
	Unit           string
	Bytes          uint64   // its share of the entries of each file, and so estimated
	BytesPerSecond *float64 // nil in the first pass
}

// Units returns which units wrote the journal in the directories, and how much
// was left out, by reason; seconds have passed since the pass before.
func (c *Cache) Units(ctx context.Context, rootfs hostfs.Root, dirs []string, seconds float64) ([]UnitUsage, map[string]int) {
	p := pass{ctx: ctx, cache: c, left: PassBudget, files: map[hostfs.Inode]cachedFile{}, omitted: map[string]int{}}
	for _, dir := range dirs {
		p.directory(rootfs, dir)
	}
	bytes, entries := map[string]float64{}, map[string]float64{}
	for _, f := range p.files {
		f.share(func(unit string, b, n float64) {
			bytes[unit] += b
			entries[unit] += n
		})
	}
	p.omitted[OmittedUnits] += keepLargest(bytes, PassBudget.Units)
	var all []UnitUsage
	for unit, b := range bytes {
		u := UnitUsage{Unit: unit, Bytes: uint64(b)}
		if seconds > 0 && c.written != nil && entries[unit] > 0 {
			// Old files may have gone meanwhile: then less is known, not less
			// written.
			rate := max(0, entries[unit]-c.written[unit]) * b / entries[unit] / seconds
			u.BytesPerSecond = &rate
		}
		all = append(all, u)
	}
	c.files, c.written = p.files, entries
	for reason, n := range p.omitted {
		if n == 0 {
			delete(p.omitted, reason)
		}
	}
	return all, p.omitted
}

// share calls add with what each unit has of the file. Together they have no
// more than the file has allocated, whatever its header contains.
func (f *cachedFile) share(add func(unit string, bytes, entries float64)) {
	total := 0.0
	for _, n := range f.Units {
		total += float64(n)
	}
	total = max(total, float64(f.Entries))
	if total == 0 {
		return
	}
	perEntry := float64(min(f.Used, f.blocks)) / total
	for unit, n := range f.Units {
		add(unit, float64(n)*perEntry, float64(n))
	}
}
