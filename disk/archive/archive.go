package archive

import (
	"slices"
	"strings"
	"time"

	"github.com/nodetune/nodetune/disk/logdir"
)

// TimestampLayout is the kubelet's for rotated container logs, with microseconds:
// the kubelet's ends at the second, and two rotations within one overwrite the
// first archive. It sorts as text.
const TimestampLayout = "20060102-150405.000000"

// TimestampSuffix returns the ending of an archive that is made now.
func TimestampSuffix(now time.Time) string {
	return strings.Replace(now.UTC().Format(TimestampLayout), ".", "", 1)
}

// ParseTimestamp returns when an archive was made, of one that carries our ending or
// the kubelet's.
func ParseTimestamp(s string) (time.Time, bool) {
	const plain = len("20060102-150405")
	layout := TimestampLayout
	switch {
	case len(s) == plain:
		layout = layout[:plain]
	case len(s) == len(TimestampLayout)-1:
		s = s[:plain] + "." + s[plain:]
	default:
		return time.Time{}, false
	}
	t, err := time.Parse(layout, s)
	return t, err == nil
}

// Archived is one archive of a log, in whatever forms it is there.
type Archived struct {
	Name        string // uncompressed
	At          time.Time
	Plain       bool        // name is there
	Compression Compression // name with its ending is there
	Parts       []string    // unfinished files of it
	Copy        string      // an unfinished copy of it
	Bytes       uint64      // allocated, where it matters
	State       ReadState
}

// List returns the archives of the log base that nodetune has made, the
// oldest first, out of the names of a directory. It is where the state of every
// rotation is kept: nothing else has to survive a crash.
func List(base string, names []string) []Archived { return Group(names)[base] }

// Group returns the archives in a directory by the log that they are of, as List does
// for one.
func Group(names []string) map[string][]Archived {
	byName := map[string]*Archived{}
	bases := map[string]string{}
	add := func(n, name string, hidden bool) bool {
		rest, part, isCopy := name, false, false
		if hidden {
			if rest, isCopy = strings.CutSuffix(rest, logdir.CopySuffix); !isCopy {
				if rest, part = strings.CutSuffix(rest, logdir.PartSuffix); !part {
					return false
				}
			}
		}
		comp := None
		for _, c := range []Compression{Gzip, Zstd} {
			if r, ok := strings.CutSuffix(rest, c.Suffix()); ok {
				rest, comp = r, c
			}
		}
		dot := strings.LastIndexByte(rest, '.')
		if dot < 0 {
			return false
		}
		at, ok := ParseTimestamp(rest[dot+1:])
		if !ok {
			return false
		}
		r := byName[rest]
		if r == nil {
			r = &Archived{Name: rest, At: at, Compression: None}
			byName[rest], bases[rest] = r, rest[:dot]
		}
		switch {
		case isCopy:
			r.Copy = n
		case part:
			r.Parts = append(r.Parts, n)
		case comp == None:
			r.Plain = true
		default:
			r.Compression = comp
		}
		return true
	}
	for _, n := range names {
		// Hidden is what is not finished, and what a log has whose own name begins
		// with a dot.
		if name, hidden := strings.CutPrefix(n, "."); !hidden || !add(n, name, true) {
			add(n, n, false)
		}
	}
	all := map[string][]Archived{}
	for name, r := range byName {
		all[bases[name]] = append(all[bases[name]], *r)
	}
	for _, list := range all {
		slices.SortFunc(list, func(a, b Archived) int {
			if c := a.At.Compare(b.At); c != 0 {
				return c
			}
			return strings.Compare(a.Name, b.Name)
		})
	}
	return all
}

// KubeletLayout is the kubelet's, for its archives. Ours go on with microseconds,
// and the kubelet counts, sorts and compresses them with its own.
const KubeletLayout = "20060102-150405"
