package journal

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"math"
	"slices"
)

// A journal file knows, for every value of every field, how many entries carry
// it (systemd's "Journal File Format", DataObject.n_entries). Following the
// chain of _SYSTEMD_UNIT therefore shows which units wrote the file without
// reading an entry: some hundred small reads for a file of any size.

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
	// maxFieldTable is the largest table of fields that is read. journald makes
	// one of 333 buckets, which are 5 KiB.
	maxFieldTable = 64 << 10
	// maxFileUnits is how many units of a file are kept, the ones with most
	// entries. A node has some 200.
	maxFileUnits = 512
	// maxUnitName is longer than any unit's (255 bytes, systemd.unit(5)).
	maxUnitName = 300
)

var le = binary.LittleEndian

var errFormat = errors.New("not a journal file, or a damaged one")

// fileUnits is what the header and the hash table of a journal file contain.
type fileUnits struct {
	Entries uint64 // of the file
	Used    uint64 // bytes that hold them; files are allocated ahead
	Units   map[string]uint64
	Omitted int // units with fewer entries, which are not in Units
	objects int // that were read
}

// ReadFile reads the counts of f, a file of size bytes. journald may write
// to it meanwhile: a count may then be that of a moment ago.
func ReadFile(f io.ReaderAt, size int64) (fileUnits, error) {
	return readFile(f, size, maxObjects)
}

// readFile reads at most most objects. The result has their number, even where
// there is an error.
func readFile(f io.ReaderAt, size int64, most int) (got fileUnits, err error) {
	j := reader{f: f, size: uint64(size), most: most}
	defer func() { got.objects = j.seen }()
	var h [headerSize]byte
	if _, err := f.ReadAt(h[:], 0); err != nil || string(h[:8]) != signature {
		return got, errFormat
	}
	payload := uint64(dataPayload)
	if le.Uint32(h[12:])&compactFlag != 0 {
		payload = dataPayloadSmall
	}
	got = fileUnits{Entries: le.Uint64(h[152:]), Used: min(le.Uint64(h[136:]), uint64(size)), Units: map[string]uint64{}}
	table, length := le.Uint64(h[120:]), le.Uint64(h[128:])
	if table > uint64(size) || length > uint64(size)-table || length > maxFieldTable {
		return got, errFormat
	}
	buckets := make([]byte, length)
	if _, err := f.ReadAt(buckets, int64(table)); err != nil {
		return got, errFormat
	}
	for ; len(buckets) >= 16; buckets = buckets[16:] {
		for at := le.Uint64(buckets); at != 0; {
			field, err := j.object(at, objectField, fieldPayload, len(unitField)+1)
			if err != nil {
				return got, err
			}
			if string(field[fieldPayload:]) == unitField {
				got.Omitted, err = j.values(le.Uint64(field[32:]), payload, got.Units)
				return got, err
			}
			at = le.Uint64(field[24:])
		}
	}
	return got, nil // no entry is of a unit
}

type reader struct {
	f    io.ReaderAt
	size uint64
	seen int
	most int
	buf  [dataPayloadSmall + len(unitField) + 1 + maxUnitName]byte
}

// object returns the object at an offset: its fixed part and at most max bytes
// of its payload. It is valid until the next call.
func (j *reader) object(at uint64, kind byte, fixed uint64, most int) ([]byte, error) {
	if j.seen++; j.seen > j.most || at%8 != 0 || at > math.MaxInt64 || at >= j.size || j.size-at < fixed {
		return nil, errFormat
	}
	b := j.buf[:min(fixed+uint64(most), j.size-at)]
	if _, err := j.f.ReadAt(b, int64(at)); err != nil || b[0] != kind {
		return nil, errFormat
	}
	n := le.Uint64(b[8:])
	if n < fixed {
		return nil, errFormat
	}
	return b[:min(n, uint64(len(b)))], nil
}

// values adds up the values of a field, beginning with the one at an offset,
// and returns how many units were left out: those with fewest entries.
func (j *reader) values(at, payload uint64, units map[string]uint64) (omitted int, err error) {
	for at != 0 {
		data, err := j.object(at, objectData, payload, len(unitField)+1+maxUnitName)
		if err != nil {
			return omitted, err
		}
		// A compressed value is longer than any name: it does not begin so.
		if unit, ok := bytes.CutPrefix(data[payload:], []byte(unitField+"=")); ok {
			n := units[string(unit)]
			units[string(unit)] = n + min(le.Uint64(data[56:]), math.MaxUint64-n)
			if len(units) >= 2*maxFileUnits {
				omitted += keepLargest(units, maxFileUnits)
			}
		}
		at = le.Uint64(data[32:])
	}
	return omitted + keepLargest(units, maxFileUnits), nil
}

// keepLargest removes the smallest of all but n, and returns how many.
func keepLargest[N cmp.Ordered](all map[string]N, n int) (removed int) {
	if len(all) <= n {
		return 0
	}
	names := slices.Collect(maps.Keys(all))
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(all[b], all[a]), cmp.Compare(a, b)) })
	for _, name := range names[n:] {
		delete(all, name)
	}
	return len(names) - n
}

var activeSuffix = []byte(".journal")

var crashedSuffix = []byte(".journal~")

// IsFile reports whether a file has the name of a journal file.
func IsFile(name []byte) bool {
	return bytes.HasSuffix(name, activeSuffix) || bytes.HasSuffix(name, crashedSuffix)
}
