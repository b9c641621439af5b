package ledger

import (
	"errors"
	"maps"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/internal/hostfs"
	"github.com/nodetune/nodetune/internal/procwalk"
	"github.com/nodetune/nodetune/internal/workload"
)

// Cause says why unread bytes are gone.
type Cause string

// The causes. CauseReclaim is of what nodetune itself removes, which a Ledger does not
// see the reason of.
const (
	CauseRotation   Cause = "rotation"   // the kubelet compressed or removed a rotated log
	CauseReclaim    Cause = "reclaim"    // nodetune removed it, when nothing else was left
	CauseEviction   Cause = "eviction"   // the pod's logs were removed while the kubelet evicted
	CauseTruncation Cause = "truncation" // another program made the log shorter
	CauseDeleted    Cause = "deleted"    // the log went with its container or pod, or was removed alone
	CauseUnknown    Cause = "unknown"    // no reader's position was seen
)

// Causes are all causes.
var Causes = []Cause{CauseRotation, CauseReclaim, CauseEviction, CauseTruncation, CauseDeleted, CauseUnknown}

// Loss is what is gone of one file.
type Loss struct {
	workload.Workload
	Path  string // the last one
	Cause Cause
	Bytes uint64
}

// Entries are what was seen since the last Take.
type Entries struct {
	Losses []Loss
	Read   map[workload.Workload]uint64 // bytes, by the furthest collector of each file
}

// Ledger follows the log files of collected containers. It is for one goroutine.
type Ledger struct {
	rootfs hostfs.Root
	walker *procwalk.Walker
	procfs int

	began      time.Time
	collectors map[collector]bool
	dirs       map[string]*dir
	files      map[fileID]*file
	evicting   bool
	behind     bool // a collector has something to lose
	entries    Entries
	buf        []byte
}

type collector struct {
	pid   int
	start uint64
}

// fileID names a file for as long as the machine runs: a number is used again soon.
type fileID struct {
	hostfs.Inode
	born unix.StatxTimestamp
}

func idOf(st *unix.Statx_t) fileID {
	id := fileID{Inode: hostfs.Inode{Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Ino: st.Ino}}
	if st.Mask&unix.STATX_BTIME != 0 {
		id.born = st.Btime
	}
	return id
}

type dir struct {
	path  string
	owner workload.Workload
	mtime unix.StatxTimestamp
	names []string // of its logs
	fresh bool     // the names may be older than the directory
	gone  bool
}

type file struct {
	dir   *dir
	name  string
	size  uint64
	read  uint64 // by the collector that is furthest
	known bool   // the position of a collector was seen
	early bool   // it was there before the Ledger

	named   bool // it has a name, at this sample
	missing int  // samples without name and reader
	held    bool // a collector has it open, at this sample
	wasHeld bool // and at the one before
	last    time.Time
	speed   float64 // bytes per second of the furthest collector, between the last two samples
}

// Bounds of what a Ledger follows. A node has 250 pods, and one or two collectors.
const (
	maxCollectors = 32
	maxDirs       = 1000
	maxFiles      = 10_000
	maxFDs        = 8192 // of one collector
	maxLosses     = 10_000
)

// New returns a Ledger of the host whose procfs and root directory are mounted there.
func New(procfs, rootfs string, now time.Time) (*Ledger, error) {
	walker, err := procwalk.New(procfs)
	if err != nil {
		return nil, err
	}
	root, err := hostfs.Open(rootfs)
	if err != nil {
		return nil, errors.Join(err, walker.Close())
	}
	proc, err := hostfs.Open(procfs)
	if err != nil {
		return nil, errors.Join(err, walker.Close(), root.Close())
	}
	return &Ledger{
		rootfs: root, walker: walker, procfs: int(proc), began: now,
		collectors: map[collector]bool{}, dirs: map[string]*dir{}, files: map[fileID]*file{},
		entries: Entries{Read: map[workload.Workload]uint64{}}, buf: make([]byte, 32<<10),
	}, nil
}

// Close gives the descriptors back.
func (l *Ledger) Close() error {
	return errors.Join(l.walker.Close(), l.rootfs.Close(), unix.Close(l.procfs))
}

// Learn takes the readers that a pass over all processes saw, and whether the kubelet
// evicts pods. Only collectors of containers' logs count.
func (l *Ledger) Learn(readers []logs.Reader, evicting bool) {
	l.evicting = evicting
	for i := range readers {
		r := &readers[i]
		if r.Log.Pod == "" || !r.Open || !r.Collects() {
			continue
		}
		if len(l.collectors) < maxCollectors {
			l.collectors[collector{r.PID, r.Start}] = true
		}
		if at := path.Dir(r.Path); l.dirs[at] == nil && len(l.dirs) < maxDirs {
			l.dirs[at] = &dir{path: at, owner: r.Log, fresh: true}
		}
	}
}

// Take returns what was seen since the last call.
func (l *Ledger) Take() Entries {
	e := l.entries
	l.entries = Entries{Read: map[workload.Workload]uint64{}}
	return e
}

// Behind reports whether a collector was behind at the last sample, or a rotated log was
// not read to its end: then the next sample should come soon.
func (l *Ledger) Behind() bool { return l.behind }

// behindBytes is how far behind a collector is that may lose something.
const behindBytes = 1 << 20

// Sample looks once at the collectors and the directories.
func (l *Ledger) Sample(now time.Time) {
	for _, f := range l.files {
		f.named, f.held = false, false
	}
	for _, d := range l.dirs {
		l.look(d)
	}
	for c := range l.collectors {
		if !l.positions(c, now) {
			delete(l.collectors, c)
		}
	}
	l.behind = false
	for id, f := range l.files {
		if f.wasHeld && !f.held && f.speed > 0 { // on average it was left in the middle of two samples
			l.advanceTo(f, min(f.size, f.read+uint64(f.speed*now.Sub(f.last).Seconds()/2)))
		}
		f.wasHeld = f.held
		switch {
		case f.named || f.held:
			f.missing = 0
			rotated := path.Ext(f.name) != ".log"
			unread := f.size - min(f.size, f.read)
			l.behind = l.behind || f.held && (unread > behindBytes || rotated && unread > 0)
		case f.missing == 0: // it may be in the middle of a rename
			f.missing++
			l.behind = true
		default:
			l.lose(f, f.size-min(f.size, f.read), l.cause(f))
			delete(l.files, id)
		}
	}
	maps.DeleteFunc(l.dirs, func(_ string, d *dir) bool { return d.gone })
}

// cause says why a file is gone.
func (l *Ledger) cause(f *file) Cause {
	switch {
	case !f.dir.gone && (path.Ext(f.name) != ".log" || slices.Contains(f.dir.names, f.name)): // another file has its name
		return CauseRotation
	case f.dir.gone && l.evicting:
		return CauseEviction
	}
	return CauseDeleted
}

func (l *Ledger) lose(f *file, bytes uint64, cause Cause) {
	if bytes == 0 || !f.known && f.early || len(l.entries.Losses) >= maxLosses {
		return
	}
	if !f.known {
		cause = CauseUnknown
	}
	l.entries.Losses = append(l.entries.Losses, Loss{f.dir.owner, path.Join(f.dir.path, f.name), cause, bytes})
}
