package bpf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/procwalk"
)

const (
	// maxRecords is the number of holdings, and of tables, that one part of a walk
	// can return: MAX_RECORDS in walk.bpf.c.
	maxRecords = 4096
	// maxWork bounds the reads of one part: WORK in walk.bpf.c. The program is not
	// preempted for up to 8 ms.
	maxWork = 1 << 18
	// minFDs is the number of descriptors from which a table without instances is
	// reported: many_fds in walk.bpf.c.
	minFDs = 48
	// maxTotal bounds the holdings, and the tables, of all parts: 4 and 7 MB.
	maxTotal = 1 << 16
	// maxOwners bounds the user namespaces of all parts.
	maxOwners = 1 << 12
)

// plan is how a walk divides its work. limit bounds the instances of a chunk of
// 1,024 descriptors, and the chunks of a table; 0 is no limit.
type plan struct{ parts, limit uint32 }

// plans are tried in this order until each part has room. A process without
// privileges can fill every part, with descriptors that it duplicates or that its
// children inherit. The limits then keep room for the tables of other processes. The
// last plan leaves out what has no room, so a walk takes at most 0.3 s of CPU time.
var plans = []plan{{1, 0}, {2, 0}, {4, 0}, {8, 0}, {16, 0}, {32, 0}, {32, 64}, {32, 16}, {32, 4}, {32, 1}}

// relaxAfter is how many walks use a plan with a limit before a walk tries the plan
// before it again.
const relaxAfter = 10

// Walk reads the descriptor tables of the node. It is safe for concurrent use.
type Walk struct {
	mu        sync.Mutex
	maps      walkMaps
	vars      walkVariables
	runPart   func() error
	readPath  *ebpf.Program
	readMarks *ebpf.Program
	closers   []io.Closer
	closed    bool
	plan      int // of the next walk
	filePlan  int // of the next one for open files
	relax     int // walks until an easier plan is tried
	extraFDs  int // descriptors that this process has during a walk only

	found      found // reused
	cgroups    cgroupPaths
	comms      map[[16]uint8]string
	numbers    map[uint64]uint64 // of instances, by address
	lastNumber uint64
	watches    map[uint64]*instanceWatches // by address of the instance
	marks      []walkWatched               // reused
	watchDevs  []uint64                    // whose watches the lists have
}

// found has the records of all parts of a walk.
type found struct {
	holdings []walkHolding
	tables   []walkTable
	owners   []walkOwner
	files    []walkOpenFile
	stats    procwalk.Stats
	self     uint32 // the pid of this process in the pid namespace of the node

	// What was left out.
	leftOut, cutTables, leftOutTables, leftOutOwners, leftOutFiles, stopped int
}

// OpenWalk loads the program and tests it: a walk must find instances that OpenWalk
// creates in this process, once each, with their watches and queued events. The
// error states what the walk did not find, or what the kernel or nodetune lacks.
//
// After an [ErrTemporary] the caller may try again some minutes later.
//
// It takes about 30 ms, and 15 ms to decode the types. procfs is a mount of
// proc(5), which has nodetune's namespaces.
func OpenWalk(procfs string, types *Types) (*Walk, error) {
	self, err := ownAccount(procfs)
	if err != nil {
		return nil, err
	}
	spec, err := load(loadWalk)
	if err != nil {
		return nil, err
	}
	return openWalk(spec, self, procfs, types)
}

// openWalk uses bpf_iter_task_new or, where the kernel does not have it, the
// kernel's task iterator.
func openWalk(spec *ebpf.CollectionSpec, self inotify.Owner, procfs string, types *Types) (*Walk, error) {
	w, err := loadTasks(spec.Copy(), types)
	if err != nil && !errors.Is(err, unix.EPERM) {
		var other error
		if w, other = loadIterator(spec, procfs, types); other != nil {
			return nil, missingRequirement(errors.Join(err, other))
		}
	} else if err != nil {
		return nil, missingRequirement(err)
	}
	if err := w.selfTest(self, procfs); err != nil {
		_ = w.Close()
		return nil, fmt.Errorf("BPF self-test failed: unexpected descriptor table layout: %w", err)
	}
	return w, nil
}

// loadTasks loads the program that iterates over the tasks itself. It needs Linux
// 6.7 (bpf_iter_task_new) and sees the processes of all pid namespaces.
func loadTasks(spec *ebpf.CollectionSpec, types *Types) (*Walk, error) {
	var objs struct {
		walkMaps
		walkVariables
		WalkTasks      *ebpf.Program `ebpf:"walk_tasks"`
		ReadCgroupPath *ebpf.Program `ebpf:"read_cgroup_path"`
		ReadWatches    *ebpf.Program `ebpf:"read_watches"`
	}
	if err := spec.LoadAndAssign(&objs, types.options()); err != nil {
		return nil, err
	}
	w := newWalk(objs.walkMaps, objs.walkVariables, objs.ReadCgroupPath, objs.ReadWatches, objs.WalkTasks)
	w.runPart = func() error {
		_, err := objs.WalkTasks.Run(&ebpf.RunOptions{})
		return err
	}
	return w, nil
}

// loadIterator loads the program that the kernel calls for every task of the
// reader's pid namespace.
func loadIterator(spec *ebpf.CollectionSpec, procfs string, types *Types) (*Walk, error) {
	if !procwalk.InInitialPIDNamespace(procfs) {
		return nil, errors.New("before Linux 6.7 a walk sees only the processes of its own pid namespace: run with hostPID")
	}
	var objs struct {
		walkMaps
		walkVariables
		IterateTask    *ebpf.Program `ebpf:"iterate_task"`
		ReadCgroupPath *ebpf.Program `ebpf:"read_cgroup_path"`
		ReadWatches    *ebpf.Program `ebpf:"read_watches"`
	}
	if err := spec.LoadAndAssign(&objs, types.options()); err != nil {
		return nil, err
	}
	w := newWalk(objs.walkMaps, objs.walkVariables, objs.ReadCgroupPath, objs.ReadWatches, objs.IterateTask)
	tasks, err := link.AttachIter(link.IterOptions{Program: objs.IterateTask})
	if err != nil {
		_ = w.Close()
		return nil, err
	}
	w.closers, w.extraFDs = append(w.closers, tasks), 1
	w.runPart = func() error {
		r, err := tasks.Open()
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, r) // the program writes nothing: the end means that it saw all tasks
		return errors.Join(err, r.Close())
	}
	return w, nil
}

func newWalk(maps walkMaps, vars walkVariables, readPath, readMarks, walk *ebpf.Program) *Walk {
	return &Walk{
		maps: maps, vars: vars, readPath: readPath, readMarks: readMarks, watches: map[uint64]*instanceWatches{},
		closers: []io.Closer{&maps, readPath, readMarks, walk},
		cgroups: cgroupPaths{known: map[cgroupKey]*cgroupPath{}}, numbers: map[uint64]uint64{}, comms: map[[16]uint8]string{},
	}
}

// Close unloads the programs and frees their memory.
func (w *Walk) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	var errs []error
	for _, c := range w.closers {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// Holders returns the processes and the instances that they hold. It takes 2.3 ms
// for 2,000 processes with 70,000 descriptors and 200,000 watches.
func (w *Walk) Holders() (inotify.DescriptorTableScan, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.walk(); err != nil {
		return inotify.DescriptorTableScan{}, fmt.Errorf("walk the descriptor tables: %w", err)
	}
	return w.convert(), nil
}

// walk makes a walk with the first plan that has room for all records, beginning
// with that of the walk before.
func (w *Walk) walk() error {
	if w.closed {
		return os.ErrClosed
	}
	for {
		load, full, err := w.runParts(plans[w.plan], w.plan == len(plans)-1)
		switch {
		case err != nil:
			return err
		case full:
			w.plan++
			w.relax = relaxAfter
			continue
		case load >= 0.25 || w.plan == 0:
		case w.relax > 0 && plans[w.plan].limit > 0:
			w.relax--
		default:
			w.plan--
		}
		return nil
	}
}

// runParts makes all parts of a walk and returns how full the fullest one is. With
// several parts, a process can close an instance and another one can get its
// memory. The two are then counted as one until the next walk.
func (w *Walk) runParts(p plan, last bool) (load float64, full bool, err error) {
	f := &w.found
	*f = found{holdings: f.holdings[:0], tables: f.tables[:0], owners: f.owners[:0], files: f.files[:0]}
	lastTry := uint32(0)
	if last {
		lastTry = 1
	}
	if err := errors.Join(w.vars.Parts.Set(p.parts), w.vars.Limit.Set(p.limit), w.vars.LastTry.Set(lastTry)); err != nil {
		return 0, false, err
	}
	for part := range p.parts {
		if err := w.vars.Part.Set(part); err != nil {
			return 0, false, err
		}
		if err := w.runPart(); err != nil {
			return 0, false, err
		}
		var run walkRun
		if err := w.vars.Run.Get(&run); err != nil {
			return 0, false, err
		}
		tooMany := len(f.holdings)+int(run.Holdings) > maxTotal || len(f.tables)+int(run.Tables) > maxTotal || len(f.owners)+int(run.Owners) > maxOwners || len(f.files)+int(run.Files) > maxFiles
		if run.Full != 0 || tooMany && !last {
			return 1, true, nil
		}
		load = max(load, float64(max(run.Holdings, run.Tables, run.Files))/maxRecords, float64(run.Work)/maxWork)
		f.add(&run)
		if err := errors.Join(
			read(&f.holdings, w.maps.Holdings, run.Holdings, maxTotal),
			read(&f.tables, w.maps.Tables, run.Tables, maxTotal),
			read(&f.owners, w.maps.Owners, run.Owners, maxOwners),
			read(&f.files, w.maps.OpenFiles, run.Files, maxFiles),
		); err != nil {
			return 0, false, err
		}
	}
	load = max(load, float64(max(len(f.holdings), len(f.tables)))/maxTotal, float64(len(f.files))/maxFiles)
	return load, false, nil
}

// add adds the counts of a part. Each part sees all processes and tables.
func (f *found) add(run *walkRun) {
	f.self = run.Self
	f.stats.Processes, f.stats.Tables = int(run.Processes), int(run.TablesSeen)
	f.stats.FDs += int(run.Fds)
	f.cutTables = max(f.cutTables, int(run.CutTables))
	f.leftOut += int(run.LeftOut) + max(0, len(f.holdings)+int(run.Holdings)-maxTotal)
	f.leftOutTables += int(run.LeftOutTables) + max(0, len(f.tables)+int(run.Tables)-maxTotal)
	f.leftOutOwners += int(run.LeftOutOwners) + max(0, len(f.owners)+int(run.Owners)-maxOwners)
	f.leftOutFiles += int(run.LeftOutFiles) + max(0, len(f.files)+int(run.Files)-maxFiles)
	if run.Stopped != 0 {
		f.stopped++
	}
}

// gaps states what the last plan left out.
func (f *found) gaps() []inotify.Gap {
	var all []inotify.Gap
	add := func(n int, what, why string, processes int) {
		if n > 0 {
			all = append(all, inotify.Gap{What: what, Why: fmt.Sprintf(why, n), Processes: processes})
		}
	}
	add(f.leftOut, "some holders of inotify instances", "processes hold so many descriptors of instances that a walk left out %d of them", 0)
	add(f.cutTables, "all descriptors of processes with very large descriptor tables", "a walk read only the first descriptors of %d tables", f.cutTables)
	add(f.leftOutTables, "some processes with many descriptors", "a walk left out %d descriptor tables", f.leftOutTables)
	add(f.leftOutOwners, "the owners of some user namespaces", "a walk left out %d user namespaces", 0)
	add(f.stopped, "some processes", "the node has so many descriptors that a walk stopped in %d of its parts", 0)
	return all
}

// read appends the first n values of a map, which is mapped into this process, up
// to a length of most.
func read[T walkHolding | walkTable | walkOwner | walkOpenFile | walkWatched](to *[]T, from *ebpf.Map, n uint32, most int) error {
	n = min(n, uint32(most-len(*to)))
	if n == 0 {
		return nil
	}
	memory, err := from.Memory()
	if err != nil {
		return err
	}
	was := len(*to)
	*to = append(*to, make([]T, n)...)
	first := &(*to)[was]
	_, err = memory.ReadAt(unsafe.Slice((*byte)(unsafe.Pointer(first)), int(n)*int(unsafe.Sizeof(*first))), 0)
	return err
}
