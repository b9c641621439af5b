package rotate

import (
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/internal/field"
	"github.com/nodetune/nodetune/internal/hostfs"
)

// Rule is how some logs of the host are rotated. In the modes assist and
// own the agent does it; `nodetune disk rotate` takes from it how.
type Rule struct {
	// Paths are absolute, with the patterns of path.Match in the last element.
	Paths []string `json:"paths"`
	// MaxSize, MaxAge and At say when: whichever comes first.
	MaxSize field.Bytes    `json:"maxSize,omitempty"`
	MaxAge  field.Duration `json:"maxAge,omitempty"`
	At      string         `json:"at,omitempty"` // every day, "03:00", local time

	Archives int                 `json:"archives"` // how many are kept; 0: all
	KeepFor  field.Duration      `json:"keepFor,omitempty"`
	Compress archive.Compression `json:"compress,omitempty"`
	// Grace is how long an archive is left alone after it was last written: a
	// collector that restarts looks for the file it was reading.
	Grace field.Duration `json:"grace,omitempty"`

	Reopen  Reopen `json:"reopen,omitempty"`
	InPlace bool   `json:"inPlace,omitempty"` // the writer cannot reopen
}

// defaultGrace is how long a collector may take to come back to a rotated file.
const defaultGrace = time.Minute

// Options returns how r wants a log to be rotated.
func (r Rule) Options() Options {
	h := Options{
		Reopen: r.Reopen, InPlace: r.InPlace, Compress: r.Compress,
		Archives: r.Archives, KeepFor: r.KeepFor.D(), Grace: r.Grace.D(),
	}
	if h.Compress == "" {
		h.Compress = archive.Gzip
	}
	if h.Grace == 0 {
		h.Grace = defaultGrace
	}
	return h
}

// RuleFor returns the first rotation that matches the path file.
func RuleFor(rotations []Rule, file string) (Rule, bool) {
	for _, r := range rotations {
		for _, pattern := range r.Paths {
			if ok, err := path.Match(pattern, file); ok && err == nil {
				return r, true
			}
		}
	}
	return Rule{}, false
}

// minGap keeps two rotations of a log apart, unless the disk is short of space: a collector that looks for new
// files now and then does not see one that came and went between two looks.
const minGap = 15 * time.Second

// due says why a log of size bytes, whose last rotation (or, without one, whose
// beginning) was at last, is to be rotated now, or "".
func (r Rule) due(size uint64, last, now time.Time, pressed bool) string {
	switch {
	case size == 0 || now.Sub(last) < minGap && !now.Before(last) && !pressed:
		return ""
	case r.MaxSize > 0 && size >= uint64(r.MaxSize):
		return fmt.Sprintf("%d bytes, of %d", size, r.MaxSize)
	case r.MaxAge > 0 && now.Sub(last) >= r.MaxAge.D():
		return fmt.Sprintf("it has lasted %v", now.Sub(last).Round(time.Second))
	case r.At != "" && last.Before(lastAt(r.At, now)):
		return "it is past " + r.At
	}
	return ""
}

// lastAt returns when the clock last showed at, "15:04".
func lastAt(at string, now time.Time) time.Time {
	t, err := time.Parse("15:04", at)
	if err != nil {
		return time.Time{}
	}
	y, m, d := now.Date()
	today := time.Date(y, m, d, t.Hour(), t.Minute(), 0, 0, now.Location())
	if today.After(now) {
		return time.Date(y, m, d-1, t.Hour(), t.Minute(), 0, 0, now.Location())
	}
	return today
}

// Validate calls wrong for each field of the rule, with whether it is right. at is
// where the rule is in the configuration; logPaths are the directories in which a
// rule may name files.
func (r Rule) Validate(at string, logPaths []string, wrong func(ok bool, at, format string, args ...any)) {
	wrong(len(r.Paths) > 0, at+".paths", "is empty: name at least one file, for example /var/log/app/*.log")
	for i, p := range r.Paths {
		_, err := path.Match(p, "/")
		below := false
		for _, top := range logPaths {
			_, ok := hostfs.Below(p, top)
			below = below || ok
		}
		wrong(path.IsAbs(p) && path.Clean(p) == p && err == nil && !strings.ContainsAny(path.Dir(p), `*?[\`),
			field.Index(at+".paths", i), "%q is not an absolute path with a pattern in its last element only", p)
		wrong(below, field.Index(at+".paths", i), "%q is in none of disk.logPaths", p)
	}
	wrong(r.MaxSize > 0 || r.MaxAge > 0 || r.At != "", at, "does not say when to rotate: set maxSize, maxAge or at")
	wrong(r.MaxSize >= 0, at+".maxSize", "%v is negative", r.MaxSize)
	wrong(r.MaxAge >= 0, at+".maxAge", "%v is negative", r.MaxAge)
	wrong(r.KeepFor >= 0, at+".keepFor", "%v is negative", r.KeepFor)
	wrong(r.Grace >= 0, at+".grace", "%v is negative", r.Grace)
	wrong(r.Archives >= 0, at+".archives", "%d is negative", r.Archives)
	if r.At != "" {
		_, err := time.Parse("15:04", r.At)
		wrong(err == nil, at+".at", "%q is not a time of day: write, for example, \"03:00\"", r.At)
	}
	wrong(r.Compress == "" || r.Compress == archive.None || r.Compress == archive.Gzip || r.Compress == archive.Zstd,
		at+".compress", "%q is not a compression: write none, gzip or zstd", r.Compress)
	_, err := r.Reopen.signal()
	wrong(err == nil, at+".reopen.signal", "%v", err)
	wrong(!r.InPlace || r.Reopen.IsZero(), at+".inPlace", "and reopen exclude each other: a writer that can reopen is asked to")
}
