package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// A journal file knows, for every value of every field, how many entries carry
// it (systemd's "Journal File Format", DataObject.n_entries). Following the
// chain of _SYSTEMD_UNIT therefore tells who wrote the file without reading an
// entry: some hundred small reads for a file of any size.

const (
	journalSignature = "LPKSHHRH"
	journalHeader    = 208 // up to n_data, which every version has
	journalCompact   = 1 << 4
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

var errJournal = errors.New("not a journal file, or a damaged one")

// journalUnits is what a journal file says about who wrote it.
type journalUnits struct {
	entries uint64 // of the file
	used    uint64 // bytes that hold them; files are allocated ahead
	units   map[string]uint64
}

// readJournal reads the counts of f, a file of size bytes. journald may write
// to it meanwhile: a count may then be that of a moment ago.
func readJournal(f io.ReaderAt, size int64) (journalUnits, error) {
	j := journalReader{f: f, size: uint64(size)}
	var h [journalHeader]byte
	if _, err := f.ReadAt(h[:], 0); err != nil || string(h[:8]) != journalSignature {
		return journalUnits{}, errJournal
	}
	payload := uint64(dataPayload)
	if le.Uint32(h[12:])&journalCompact != 0 {
		payload = dataPayloadSmall
	}
	got := journalUnits{entries: le.Uint64(h[152:]), used: min(le.Uint64(h[136:]), uint64(size)), units: map[string]uint64{}}
	table, length := le.Uint64(h[120:]), le.Uint64(h[128:])
	if table > uint64(size) || length > uint64(size)-table || length > 1<<24 {
		return journalUnits{}, errJournal
	}
	buckets := make([]byte, length)
	if _, err := f.ReadAt(buckets, int64(table)); err != nil {
		return journalUnits{}, errJournal
	}
	for ; len(buckets) >= 16; buckets = buckets[16:] {
		for at := le.Uint64(buckets); at != 0; {
			field, err := j.object(at, objectField, fieldPayload, len(unitField)+1)
			if err != nil {
				return journalUnits{}, err
			}
			if string(field[fieldPayload:]) == unitField {
				return got, j.values(le.Uint64(field[32:]), payload, got)
			}
			at = le.Uint64(field[24:])
		}
	}
	return got, nil // nobody's unit was ever noted
}

type journalReader struct {
	f    io.ReaderAt
	size uint64
	seen int
}

// object returns the object at an offset: its fixed part and at most max bytes
// of its payload.
func (j *journalReader) object(at uint64, kind byte, fixed uint64, most int) ([]byte, error) {
	if j.seen++; j.seen > maxObjects || at%8 != 0 || at > math.MaxInt64 || at >= j.size || j.size-at < fixed {
		return nil, errJournal
	}
	b := make([]byte, min(fixed+uint64(most), j.size-at))
	if _, err := j.f.ReadAt(b, int64(at)); err != nil || b[0] != kind {
		return nil, errJournal
	}
	n := le.Uint64(b[8:])
	if n < fixed {
		return nil, errJournal
	}
	return b[:min(n, uint64(len(b)))], nil
}

// values adds up the values of a field, beginning with the one at an offset.
func (j *journalReader) values(at, payload uint64, to journalUnits) error {
	for at != 0 {
		data, err := j.object(at, objectData, payload, len(unitField)+1+maxUnitName)
		if err != nil {
			return err
		}
		// A compressed value is longer than any name: it does not begin so.
		if unit, ok := bytes.CutPrefix(data[payload:], []byte(unitField+"=")); ok {
			to.units[string(unit)] += le.Uint64(data[56:])
		}
		at = le.Uint64(data[32:])
	}
	return nil
}

// journalFile is a file that was read, as it was then.
type journalFile struct {
	size  uint64
	mtime unix.StatxTimestamp
	journalUnits
}

// journalCache remembers the files of the journal: archived ones do not change.
type journalCache struct {
	files   map[inode]journalFile
	written map[string]float64 // by unit, at the pass before
}

// read reads the journal files of one directory, those that have changed.
func (c *journalCache) read(rootfs hostRoot, dir string, each func(inode, journalFile)) {
	d, err := rootfs.openDir(dir, unix.O_RDONLY)
	if err != nil {
		return
	}
	list := os.NewFile(uintptr(d), dir)
	defer func() { _ = list.Close() }()
	names, _ := list.Readdirnames(10_000) // journald keeps 100 by default
	for _, name := range names {
		if !isJournal([]byte(name)) {
			continue
		}
		fd, err := unix.Openat(d, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		f := os.NewFile(uintptr(fd), path.Join(dir, name))
		var st unix.Statx_t
		if err := statx(fd, itself, &st); err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG {
			at := inode{dev: unix.Mkdev(st.Dev_major, st.Dev_minor), ino: st.Ino}
			known, ok := c.files[at]
			if !ok || known.size != st.Size || known.mtime != st.Mtime {
				known = journalFile{size: st.Size, mtime: st.Mtime}
				known.journalUnits, err = readJournal(f, int64(st.Size))
			}
			if err == nil {
				each(at, known)
			}
		}
		_ = f.Close()
	}
}

// unitUsage is what one unit has in the journal.
type unitUsage struct {
	unit           string
	bytes          uint64   // its share of the entries of each file, and so estimated
	bytesPerSecond *float64 // nil in the first pass
}

// units returns who wrote the journal in the directories; seconds have passed
// since the pass before.
func (c *journalCache) units(rootfs hostRoot, dirs []string, seconds float64) []unitUsage {
	bytes, entries := map[string]float64{}, map[string]float64{}
	files := map[inode]journalFile{}
	for _, dir := range dirs {
		c.read(rootfs, dir, func(at inode, f journalFile) {
			files[at] = f
			if f.entries == 0 {
				return
			}
			perEntry := float64(f.used) / float64(f.entries)
			for unit, n := range f.units {
				bytes[unit] += float64(n) * perEntry
				entries[unit] += float64(n)
			}
		})
	}
	var all []unitUsage
	for unit, b := range bytes {
		u := unitUsage{unit: unit, bytes: uint64(b)}
		if seconds > 0 && c.written != nil {
			// Old files may have gone meanwhile: then less is known, not less
			// written.
			rate := max(0, entries[unit]-c.written[unit]) * b / entries[unit] / seconds
			u.bytesPerSecond = &rate
		}
		all = append(all, u)
	}
	c.files, c.written = files, entries
	return all
}
