package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/hostfs"
)

// A journal file knows, for every value of every field, how many entries carry
// it (systemd's "Journal File Format", DataObject.n_entries). Following the
// chain of _SYSTEMD_UNIT therefore tells who wrote the file without reading an
// entry: some hundred small reads for a file of any size.

const (
	signature        = "LPKSHHRH"
	headerSize       = 208 // up to n_data, which every version has
	compactFlag      = 1 << 4
	objectHeader     = 16
	objectData       = 1
	objectField      = 2
	fieldPayload     = 40
	dataPayload      = 64
	dataPayloadSmall = 72 // with journalCompact, systemd 252
	unitField        = "_SYSTEMD_UNIT"

	// maxObjects ends the following of chains in a file that is damaged: no
	// file has as many fields and units.
	maxObjects = 100_000
	// maxUnitName is longer than any unit's (255 bytes, systemd.unit(5)).
	maxUnitName = 300
)

var le = binary.LittleEndian

var errFormat = errors.New("not a journal file, or a damaged one")

// fileUnits is what a journal file says about who wrote it.
type fileUnits struct {
	Entries uint64 // of the file
	Used    uint64 // bytes that hold them; files are allocated ahead
	Units   map[string]uint64
}

// ReadFile reads the counts of f, a file of size bytes. journald may write
// to it meanwhile: a count may then be that of a moment ago.
func ReadFile(f io.ReaderAt, size int64) (fileUnits, error) {
	j := reader{f: f, size: uint64(size)}
	var h [headerSize]byte
	if _, err := f.ReadAt(h[:], 0); err != nil || string(h[:8]) != signature {
		return fileUnits{}, errFormat
	}
	payload := uint64(dataPayload)
	if le.Uint32(h[12:])&compactFlag != 0 {
		payload = dataPayloadSmall
	}
	got := fileUnits{Entries: le.Uint64(h[152:]), Used: min(le.Uint64(h[136:]), uint64(size)), Units: map[string]uint64{}}
	table, length := le.Uint64(h[120:]), le.Uint64(h[128:])
	if table > uint64(size) || length > uint64(size)-table || length > 1<<24 {
		return fileUnits{}, errFormat
	}
	buckets := make([]byte, length)
	if _, err := f.ReadAt(buckets, int64(table)); err != nil {
		return fileUnits{}, errFormat
	}
	for ; len(buckets) >= 16; buckets = buckets[16:] {
		for at := le.Uint64(buckets); at != 0; {
			field, err := j.object(at, objectField, fieldPayload, len(unitField)+1)
			if err != nil {
				return fileUnits{}, err
			}
			if string(field[fieldPayload:]) == unitField {
				return got, j.values(le.Uint64(field[32:]), payload, got)
			}
			at = le.Uint64(field[24:])
		}
	}
	return got, nil // nobody's unit was ever noted
}

type reader struct {
	f    io.ReaderAt
	size uint64
	seen int
}

// object returns the object at an offset: its fixed part and at most max bytes
// of its payload.
func (j *reader) object(at uint64, kind byte, fixed uint64, most int) ([]byte, error) {
	if j.seen++; j.seen > maxObjects || at%8 != 0 || at > math.MaxInt64 || at >= j.size || j.size-at < fixed {
		return nil, errFormat
	}
	b := make([]byte, min(fixed+uint64(most), j.size-at))
	if _, err := j.f.ReadAt(b, int64(at)); err != nil || b[0] != kind {
		return nil, errFormat
	}
	n := le.Uint64(b[8:])
	if n < fixed {
		return nil, errFormat
	}
	return b[:min(n, uint64(len(b)))], nil
}

// values adds up the values of a field, beginning with the one at an offset.
func (j *reader) values(at, payload uint64, to fileUnits) error {
	for at != 0 {
		data, err := j.object(at, objectData, payload, len(unitField)+1+maxUnitName)
		if err != nil {
			return err
		}
		// A compressed value is longer than any name: it does not begin so.
		if unit, ok := bytes.CutPrefix(data[payload:], []byte(unitField+"=")); ok {
			to.Units[string(unit)] += le.Uint64(data[56:])
		}
		at = le.Uint64(data[32:])
	}
	return nil
}

// cachedFile is a file that was read, as it was then.
type cachedFile struct {
	size  uint64
	mtime unix.StatxTimestamp
	fileUnits
}

// Cache remembers the files of the journal: archived ones do not change.
type Cache struct {
	files   map[hostfs.Inode]cachedFile
	written map[string]float64 // by unit, at the pass before
}

// read reads the journal files of one directory, those that have changed.
func (c *Cache) read(rootfs hostfs.Root, dir string, each func(hostfs.Inode, cachedFile)) {
	d, err := rootfs.OpenDir(dir, unix.O_RDONLY)
	if err != nil {
		return
	}
	list := os.NewFile(uintptr(d), dir)
	defer func() { _ = list.Close() }()
	names, _ := list.Readdirnames(10_000) // journald keeps 100 by default
	for _, name := range names {
		if !IsFile([]byte(name)) {
			continue
		}
		fd, err := unix.Openat(d, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		f := os.NewFile(uintptr(fd), path.Join(dir, name))
		var st unix.Statx_t
		if err := hostfs.Statx(fd, hostfs.Self, &st); err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG {
			at := hostfs.Inode{Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Ino: st.Ino}
			known, ok := c.files[at]
			if !ok || known.size != st.Size || known.mtime != st.Mtime {
				known = cachedFile{size: st.Size, mtime: st.Mtime}
				known.fileUnits, err = ReadFile(f, int64(st.Size))
			}
			if err == nil {
				each(at, known)
			}
		}
		_ = f.Close()
	}
}

// UnitUsage is what one unit has in the journal.
type UnitUsage struct {
	Unit           string
	Bytes          uint64   // its share of the entries of each file, and so estimated
	BytesPerSecond *float64 // nil in the first pass
}

// Units returns who wrote the journal in the directories; seconds have passed
// since the pass before.
func (c *Cache) Units(rootfs hostfs.Root, dirs []string, seconds float64) []UnitUsage {
	bytes, entries := map[string]float64{}, map[string]float64{}
	files := map[hostfs.Inode]cachedFile{}
	for _, dir := range dirs {
		c.read(rootfs, dir, func(at hostfs.Inode, f cachedFile) {
			files[at] = f
			if f.Entries == 0 {
				return
			}
			perEntry := float64(f.Used) / float64(f.Entries)
			for unit, n := range f.Units {
				bytes[unit] += float64(n) * perEntry
				entries[unit] += float64(n)
			}
		})
	}
	var all []UnitUsage
	for unit, b := range bytes {
		u := UnitUsage{Unit: unit, Bytes: uint64(b)}
		if seconds > 0 && c.written != nil {
			// Old files may have gone meanwhile: then less is known, not less
			// written.
			rate := max(0, entries[unit]-c.written[unit]) * b / entries[unit] / seconds
			u.BytesPerSecond = &rate
		}
		all = append(all, u)
	}
	c.files, c.written = files, entries
	return all
}

var activeSuffix = []byte(".journal")

var crashedSuffix = []byte(".journal~")

func IsFile(name []byte) bool {
	return bytes.HasSuffix(name, activeSuffix) || bytes.HasSuffix(name, crashedSuffix)
}
