package bpf

import (
	"errors"
	"fmt"
	"io"
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
	// maxParts bounds the number of parts of a walk.
	maxParts = 1024
)

// Walk reads the descriptor tables of the node. It is safe for concurrent use.
type Walk struct {
	mu       sync.Mutex
	maps     walkMaps
	vars     walkVariables
	runPart  func() error
	readPath *ebpf.Program
	closers  []io.Closer
	parts    uint32 // of the next walk
	extraFDs int    // descriptors that this process has during a walk only

	found      found // reused
	cgroups    cgroupPaths
	comms      map[[16]uint8]string
	numbers    map[uint64]uint64 // of instances, by address
	lastNumber uint64
}

// found has the records of all parts of a walk.
type found struct {
	holdings []walkHolding
	tables   []walkTable
	owners   []walkOwner
	stats    procwalk.Stats
	self     uint32 // the pid of this process in the pid namespace of the node
}

// OpenWalk loads the program and tests it: a walk must find instances that OpenWalk
// creates in this process, once each, with their watches and queued events. The
// error states what the walk did not find, or what the kernel or nodetune lacks.
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
	}
	if err := spec.LoadAndAssign(&objs, types.options()); err != nil {
		return nil, err
	}
	w := newWalk(objs.walkMaps, objs.walkVariables, objs.ReadCgroupPath, objs.WalkTasks)
	w.runPart = func() error {
		_, err := objs.WalkTasks.Run(&ebpf.RunOptions{})
		return err
	}
	return w, nil
}

// loadIterator loads the program that the kernel calls for every task of the
// reader's pid namespace.
func loadIterator(spec *ebpf.CollectionSpec, procfs string, types *Types) (*Walk, error) {
	if !inotify.InitialPIDNS(procfs) {
		return nil, errors.New("before Linux 6.7 a walk sees only the processes of its own pid namespace: run with hostPID")
	}
	var objs struct {
		walkMaps
		walkVariables
		IterateTask    *ebpf.Program `ebpf:"iterate_task"`
		ReadCgroupPath *ebpf.Program `ebpf:"read_cgroup_path"`
	}
	if err := spec.LoadAndAssign(&objs, types.options()); err != nil {
		return nil, err
	}
	w := newWalk(objs.walkMaps, objs.walkVariables, objs.ReadCgroupPath, objs.IterateTask)
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

func newWalk(maps walkMaps, vars walkVariables, readPath, walk *ebpf.Program) *Walk {
	return &Walk{
		maps: maps, vars: vars, readPath: readPath, parts: 1,
		closers: []io.Closer{&maps, readPath, walk},
		cgroups: cgroupPaths{known: map[uint64]*cgroupPath{}}, numbers: map[uint64]uint64{}, comms: map[[16]uint8]string{},
	}
}

// Close unloads the programs and frees their memory.
func (w *Walk) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var errs []error
	for _, c := range w.closers {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// Holders returns the processes and the instances that they hold. It takes 2.3 ms
// for 2,000 processes with 70,000 descriptors and 200,000 watches.
func (w *Walk) Holders() (inotify.Held, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.walk(); err != nil {
		return inotify.Held{}, fmt.Errorf("walk the descriptor tables: %w", err)
	}
	return w.convert(), nil
}

// walk makes a walk, in so many parts that each has room for its records.
func (w *Walk) walk() error {
	for ; w.parts <= maxParts; w.parts *= 2 {
		load, full, err := w.runParts()
		switch {
		case err != nil:
			return err
		case full:
			continue
		case load < 0.25 && w.parts > 1:
			w.parts /= 2
		}
		return nil
	}
	w.parts = 1
	return fmt.Errorf("the node has too many descriptors of inotify instances: more than %d", maxParts*maxRecords)
}

// runParts makes all parts of a walk and returns how full the fullest one is. With
// several parts, a process can close an instance and another one can get its
// memory. The two are then counted as one until the next walk.
func (w *Walk) runParts() (load float64, full bool, err error) {
	w.found = found{holdings: w.found.holdings[:0], tables: w.found.tables[:0], owners: w.found.owners[:0]}
	if err := w.vars.Parts.Set(w.parts); err != nil {
		return 0, false, err
	}
	for part := range w.parts {
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
		if run.Full != 0 {
			return 1, true, nil
		}
		load = max(load, float64(max(run.Holdings, run.Tables))/maxRecords, float64(run.Work)/maxWork)
		if err := errors.Join(
			read(&w.found.holdings, w.maps.Holdings, run.Holdings),
			read(&w.found.tables, w.maps.Tables, run.Tables),
			read(&w.found.owners, w.maps.Owners, run.Owners),
		); err != nil {
			return 0, false, err
		}
		w.found.self = run.Self
		w.found.stats.Processes, w.found.stats.Tables = int(run.Processes), int(run.TablesSeen)
		w.found.stats.FDs += int(run.Fds)
	}
	return load, false, nil
}

// read appends the first n values of a map, which is mapped into this process.
func read[T walkHolding | walkTable | walkOwner](to *[]T, from *ebpf.Map, n uint32) error {
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
