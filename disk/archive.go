package disk

import (
	"slices"
	"strings"
	"time"
)

// stampLayout is the kubelet's for rotated container logs, with microseconds:
// the kubelet's ends at the second, and two rotations within one overwrite the
// first archive. It sorts as text.
const stampLayout = "20060102-150405.000000"

// stamp returns the ending of an archive that is made now.
func stamp(now time.Time) string {
	return strings.Replace(now.UTC().Format(stampLayout), ".", "", 1)
}

// stampTime returns when an archive was made, of one that carries our ending or
// the kubelet's.
func stampTime(s string) (time.Time, bool) {
	const plain = len("20060102-150405")
	layout := stampLayout
	switch {
	case len(s) == plain:
		layout = layout[:plain]
	case len(s) == len(stampLayout)-1:
		s = s[:plain] + "." + s[plain:]
	default:
		return time.Time{}, false
	}
	t, err := time.Parse(layout, s)
	return t, err == nil
}

// archived is one archive of a log, in whatever forms it is there.
type archived struct {
	name  string // uncompressed
	at    time.Time
	plain bool        // name is there
	comp  Compression // name with its ending is there
	parts []string    // unfinished files of it
	copy  string      // an unfinished copy of it
	bytes uint64      // allocated, where it matters
	fate  fate
}

// archivesOf returns the archives of the log base that nodetune has made, the
// oldest first, out of the names of a directory. It is where the state of every
// rotation is kept: nothing else has to survive a crash.
func archivesOf(base string, names []string) []archived {
	byName := map[string]*archived{}
	for _, n := range names {
		name, hidden := strings.CutPrefix(n, ".")
		if !hidden {
			name = n
		}
		rest, ok := strings.CutPrefix(name, base+".")
		if !ok {
			// A log whose own name begins with a dot.
			if rest, ok = strings.CutPrefix(n, base+"."); !ok {
				continue
			}
			hidden = false
		}
		var part, isCopy bool
		if hidden {
			if rest, isCopy = strings.CutSuffix(rest, copyEnding); !isCopy {
				if rest, part = strings.CutSuffix(rest, partEnding); !part {
					continue
				}
			}
		}
		comp := None
		for _, c := range []Compression{Gzip, Zstd} {
			if r, ok := strings.CutSuffix(rest, c.ending()); ok {
				rest, comp = r, c
			}
		}
		at, ok := stampTime(rest)
		if !ok {
			continue
		}
		full := base + "." + rest
		r := byName[full]
		if r == nil {
			r = &archived{name: full, at: at, comp: None}
			byName[full] = r
		}
		switch {
		case isCopy:
			r.copy = n
		case part:
			r.parts = append(r.parts, n)
		case comp == None:
			r.plain = true
		default:
			r.comp = comp
		}
	}
	all := make([]archived, 0, len(byName))
	for _, r := range byName {
		all = append(all, *r)
	}
	slices.SortFunc(all, func(a, b archived) int {
		if c := a.at.Compare(b.at); c != 0 {
			return c
		}
		return strings.Compare(a.name, b.name)
	})
	return all
}

// containerStamp is the kubelet's, for its archives. Ours go on with microseconds,
// and the kubelet counts, sorts and compresses them with its own.
const containerStamp = "20060102-150405"
