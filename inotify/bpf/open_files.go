package bpf

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/openfiles"
)

const (
	// maxFiles bounds the files of all parts of a walk: 2.6 MB.
	maxFiles = 40_000
	// mostWatches is from how many watches on an instance is not read. It is no
	// collector with a watch for each log. MAX_WATCHES in walk.bpf.c is larger, since
	// the kernel may add watches meanwhile.
	mostWatches = 10_000
	// maxKeptWatches bounds what is kept of all instances: 4 MB.
	maxKeptWatches = 1 << 18
	// maxReadWatches bounds the watches that one walk reads: 20 ms.
	maxReadWatches = 1 << 18
	// readAgainAfter is after how many walks the watches of an instance are read again
	// although they seem to be the same: its memory may belong to another instance with
	// as many watches.
	readAgainAfter = 30
)

// errNoDirectories is a filter that asks for nothing.
var errNoDirectories = errors.New("no directories to compare open files with")

// OpenFiles returns who has the files of the filter open, and what the inotify instances
// of the node watch. It reads the watches of an instance again only after one was added
// or removed: the number of the next watch and the number of watches show that.
func (w *Walk) OpenFiles(filter openfiles.Filter) (openfiles.Scan, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return openfiles.Scan{}, os.ErrClosed
	}
	if err := w.setFilter(filter); err != nil {
		return openfiles.Scan{}, fmt.Errorf("walk the descriptor tables: %w", err)
	}
	// A walk for files needs other parts than one without.
	w.plan, w.filePlan = w.filePlan, w.plan
	err := w.walk()
	w.plan, w.filePlan = w.filePlan, w.plan
	if err := errors.Join(err, w.vars.DirCount.Set(uint32(0))); err != nil {
		return openfiles.Scan{}, fmt.Errorf("walk the descriptor tables: %w", err)
	}
	if f := &w.found; f.leftOutFiles+f.leftOutTables+f.cutTables+f.stopped > 0 {
		return openfiles.Scan{}, errNoRoom
	}
	return w.convertFiles(filter), nil
}

// errNoRoom is a walk that left files out, as of a process that opens one again and
// again: a log would seem to have no reader. /proc shows logs before other files.
var errNoRoom = errors.New("processes have so many files open that a walk left some out")

func (w *Walk) setFilter(filter openfiles.Filter) error {
	var dirs [openfiles.MaxDirectories]walkDirectory
	if len(filter.Below) == 0 {
		return errNoDirectories
	}
	if len(filter.Below) > len(dirs) {
		return fmt.Errorf("%d directories are more than a walk compares with, %d", len(filter.Below), len(dirs))
	}
	for i, d := range filter.Below {
		dirs[i] = walkDirectory{Ino: d.Ino, Dev: kernelDev(d.Dev)}
	}
	var programs [8]walkProgramName
	if len(filter.Programs) > len(programs) {
		return fmt.Errorf("%d names of programs are more than a walk compares with, %d", len(filter.Programs), len(programs))
	}
	for i, name := range filter.Programs {
		var comm [16]byte
		copy(comm[:15], name)
		for j := range programs[i].Word {
			programs[i].Word[j] = binary.NativeEndian.Uint64(comm[8*j:])
		}
	}
	devs := make([]uint64, 0, len(filter.Below))
	for _, d := range filter.Below {
		devs = append(devs, d.Dev)
	}
	slices.Sort(devs) // the directories come in any order
	if devs = slices.Compact(devs); !slices.Equal(devs, w.watchDevs) {
		clear(w.watches)
		w.watchDevs = devs
	}
	return errors.Join(w.vars.Dirs.Set(dirs), w.vars.Wanted.Set(programs), w.vars.DirCount.Set(uint32(len(filter.Below))))
}

// kernelDev encodes a device as the kernel does, with 20 bits of minor.
func kernelDev(dev uint64) uint32 { return unix.Major(dev)<<20 | unix.Minor(dev) }

func userDev(dev uint32) uint64 { return unix.Mkdev(dev>>20, dev&(1<<20-1)) }

// convertFiles turns the records of a walk into the types of package openfiles.
func (w *Walk) convertFiles(filter openfiles.Filter) openfiles.Scan {
	f := &w.found
	s := openfiles.Scan{AllProcesses: f.stats.Processes, OmittedFiles: f.leftOutFiles, UnreadInstances: f.leftOut}
	byPID := func(a, b walkTable) int { return cmp.Or(cmp.Compare(a.Pid, b.Pid), cmp.Compare(a.Word, b.Word)) }
	if !slices.IsSortedFunc(f.tables, byPID) { // it is, where one part had room for all
		slices.SortFunc(f.tables, byPID)
	}
	w.cgroups.beginWalk()
	index := make(map[uint32]int, len(f.tables)) // into Processes, which has those that are wanted
	table := func(pid uint32) (int, bool) {
		return slices.BinarySearchFunc(f.tables, pid, func(t walkTable, pid uint32) int { return cmp.Compare(t.Pid, pid) })
	}
	process := func(pid uint32) (int, bool) {
		if i, ok := index[pid]; ok {
			return i, i >= 0
		}
		at, ok := table(pid)
		if !ok { // there was no room for its table
			index[pid] = -1
			return -1, false
		}
		t := &f.tables[at]
		p := openfiles.Process{PID: int(pid), Start: t.Start / clockTick, Comm: w.comm(t.Comm), Cgroup: w.cgroup(t)}
		for ; at < len(f.tables) && f.tables[at].Pid == pid; at++ {
			p.Terminal = p.Terminal || f.tables[at].Terminal != 0
		}
		index[pid] = len(s.Processes)
		s.Processes = append(s.Processes, p)
		return index[pid], true
	}
	s.Files = make([]openfiles.File, 0, len(f.files))
	for i := range f.files {
		o := &f.files[i]
		p, ok := process(o.Pid)
		if !ok {
			s.OmittedFiles++
			continue
		}
		s.Files = append(s.Files, openfiles.File{
			Process: p, FD: int(o.Fd), Dev: userDev(o.Dev), Ino: o.Ino, OffsetBytes: o.Pos, SizeBytes: o.Size,
			Links: o.Links, Flags: int(o.Flags), Atime: time.Unix(o.Atime, int64(o.AtimeNsec)),
		})
	}
	for i := range f.tables {
		if t := &f.tables[i]; slices.Contains(filter.Programs, w.comm(t.Comm)) {
			process(t.Pid)
		}
	}
	w.readWatches(filter, &s, process)
	w.cgroups.removeUnused()
	return s
}

// instanceWatches is what an instance watched when it was read.
type instanceWatches struct {
	watches, next uint32 // of it, at that time
	list          []openfiles.Watch
	pid           uint32 // a holder
	walks         int    // since then
	right         bool   // the list was read without a change
	complete      bool   // and has as many as the walk saw
	seen          bool
}

// isOf reports whether i is still right for an instance.
func (i *instanceWatches) isOf(h *walkHolding) bool {
	return i.complete && i.watches == h.Watches && i.next == h.Next && i.pid == h.Pid && i.walks < readAgainAfter
}

// readWatches adds the instances with their watches.
func (w *Walk) readWatches(filter openfiles.Filter, s *openfiles.Scan, process func(pid uint32) (int, bool)) {
	kept, read := 0, 0
	for i := range w.found.holdings {
		h := &w.found.holdings[i]
		if h.Watches == 0 && h.Uncounted == 0 {
			continue
		}
		known := w.watches[h.File]
		if known == nil || !known.seen {
			if known == nil || !known.isOf(h) {
				known = &instanceWatches{watches: h.Watches, next: h.Next, pid: h.Pid}
				if h.Watches <= mostWatches && h.Uncounted == 0 && kept < maxKeptWatches && read < maxReadWatches {
					read += int(h.Watches)
					known.list, known.right, known.complete = w.watchesOf(h, filter)
				}
				w.watches[h.File] = known
			}
			known.seen = true
			known.walks++
			kept += len(known.list)
			if !known.right {
				s.UnreadInstances++
			}
		}
		p, ok := process(h.Pid)
		if !ok {
			s.UnreadInstances++
			continue
		}
		if len(known.list) > 0 {
			s.Instances = append(s.Instances, openfiles.Instance{Process: p, Watches: known.list})
		}
	}
	for file, known := range w.watches {
		if !known.seen {
			delete(w.watches, file)
		}
		known.seen = false
	}
}

// watchesOf returns the watches of an instance that are on the file systems of the
// filter. right is false if the kernel changed the list while it was read, complete if
// it has another number of watches than the walk saw.
func (w *Walk) watchesOf(h *walkHolding, filter openfiles.Filter) (list []openfiles.Watch, right, complete bool) {
	if w.vars.WatchingFile.Set(h.File) != nil {
		return nil, false, false
	}
	if code, err := w.readMarks.Run(&ebpf.RunOptions{}); err != nil || code != 0 {
		return nil, false, false
	}
	var run walkWatchRun
	if w.vars.WatchRun.Get(&run) != nil {
		return nil, false, false
	}
	w.marks = w.marks[:0]
	if read(&w.marks, w.maps.Watches, run.Count, mostWatches+mostWatches/50) != nil {
		return nil, false, false
	}
	for i := range w.marks {
		dev := userDev(w.marks[i].Dev)
		if slices.ContainsFunc(filter.Below, func(d openfiles.Directory) bool { return d.Dev == dev }) {
			list = append(list, openfiles.Watch{SDev: uint64(w.marks[i].Dev), Ino: w.marks[i].Ino})
		}
	}
	right = run.Stopped == 0 && len(w.marks) == int(run.Count)
	return list, right, right && run.Count == h.Watches
}
