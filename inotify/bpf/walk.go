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
	// room for descriptors of instances and for tables in one part of a walk,
	// ROOM in walk.c.
	room = 4096
	// work that a part may make, WORK in walk.c: the kernel does not let go of
	// the CPU meanwhile, for some 8 ms.
	work = 1 << 18
	// minFDs is from where a table is told of that holds no instance, many_fds
	// in walk.c.
	minFDs = 48
	// mostParts is into how many parts a walk is divided at most.
	mostParts = 1024
)

// Walk looks through the descriptor tables of the node. It is safe for
// concurrent use.
type Walk struct {
	mu    sync.Mutex
	maps  walkMaps
	vars  walkVariables
	part  func() error // makes a part of the walk
	named *ebpf.Program
	close []io.Closer
	parts uint32 // of the next walk
	open  int    // descriptors that this process has for a walk only

	found    found // reused
	names    cgroups
	comms    map[[16]uint8]string
	numbers  map[uint64]uint64 // of instances
	numbered uint64            // the last one
}

// found is what the parts of a walk found.
type found struct {
	holdings []walkHolding
	tables   []walkTable
	owners   []walkOwner
	stats    procwalk.Stats
	self     uint32 // the pid of this process in the pid namespace of the node
}

// OpenWalk loads the program and tries it: instances that are made here are
// found in this process, with their watches, with the events that wait, and
// each once. The error says what was not, or what the kernel or nodetune lack.
//
// It takes some 30 ms, and 15 for the types if they are not decoded yet. procfs
// is where to find nodetune's namespaces.
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

// openWalk walks by itself or, where the kernel does not let it, with the
// kernel's iterator of tasks.
func openWalk(spec *ebpf.CollectionSpec, self inotify.Owner, procfs string, types *Types) (*Walk, error) {
	w, err := loadTasks(spec.Copy(), types)
	if err != nil && !errors.Is(err, unix.EPERM) {
		var other error
		if w, other = loadIterator(spec, procfs, types); other != nil {
			return nil, lacking(errors.Join(err, other))
		}
	} else if err != nil {
		return nil, lacking(err)
	}
	if err := w.try(self, procfs); err != nil {
		_ = w.Close()
		return nil, fmt.Errorf("the kernel's descriptor tables are not what they were taken for: %w", err)
	}
	return w, nil
}

// loadTasks loads the program that goes through the tasks itself. It needs Linux
// 6.7 (bpf_iter_task_new), and sees those of every pid namespace.
func loadTasks(spec *ebpf.CollectionSpec, types *Types) (*Walk, error) {
	var objs struct {
		walkMaps
		walkVariables
		Walk *ebpf.Program `ebpf:"walk"`
		Path *ebpf.Program `ebpf:"path"`
	}
	if err := spec.LoadAndAssign(&objs, types.options()); err != nil {
		return nil, err
	}
	w := newWalk(objs.walkMaps, objs.walkVariables, objs.Path, objs.Walk)
	w.part = func() error {
		_, err := objs.Walk.Run(&ebpf.RunOptions{})
		return err
	}
	return w, nil
}

// loadIterator loads the program that the kernel calls for every task of the pid
// namespace of whoever reads the iterator.
func loadIterator(spec *ebpf.CollectionSpec, procfs string, types *Types) (*Walk, error) {
	if !inotify.InitialPIDNS(procfs) {
		return nil, errors.New("before Linux 6.7 it sees the processes of its own pid namespace only: run with hostPID")
	}
	var objs struct {
		walkMaps
		walkVariables
		Each *ebpf.Program `ebpf:"each"`
		Path *ebpf.Program `ebpf:"path"`
	}
	if err := spec.LoadAndAssign(&objs, types.options()); err != nil {
		return nil, err
	}
	w := newWalk(objs.walkMaps, objs.walkVariables, objs.Path, objs.Each)
	tasks, err := link.AttachIter(link.IterOptions{Program: objs.Each})
	if err != nil {
		_ = w.Close()
		return nil, err
	}
	w.close, w.open = append(w.close, tasks), 1
	w.part = func() error {
		r, err := tasks.Open()
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, r) // it writes nothing: the end is when it has met all
		return errors.Join(err, r.Close())
	}
	return w, nil
}

func newWalk(maps walkMaps, vars walkVariables, named, walk *ebpf.Program) *Walk {
	return &Walk{
		maps: maps, vars: vars, named: named, parts: 1,
		close: []io.Closer{&maps, named, walk},
		names: cgroups{known: map[uint64]*cgroupName{}}, numbers: map[uint64]uint64{}, comms: map[[16]uint8]string{},
	}
}

// Close gives the programs and their memory back.
func (w *Walk) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var errs []error
	for _, c := range w.close {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// Holders returns who holds what: 2.3 ms for 2,000 processes with 70,000
// descriptors and 200,000 watches.
func (w *Walk) Holders() (inotify.Held, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.walk(); err != nil {
		return inotify.Held{}, fmt.Errorf("walk through the descriptor tables: %w", err)
	}
	return w.held(), nil
}

// walk makes a walk, in as many parts as it takes for each to have room.
func (w *Walk) walk() error {
	for ; w.parts <= mostParts; w.parts *= 2 {
		fullest, full, err := w.inParts()
		switch {
		case err != nil:
			return err
		case full:
			continue
		case fullest < 0.25 && w.parts > 1:
			w.parts /= 2
		}
		return nil
	}
	w.parts = 1
	return fmt.Errorf("there are too many descriptors of instances: some %d of them were looked at", mostParts*room)
}

// inParts makes all parts of a walk. A process may meanwhile close an instance
// whose place in memory another one's then takes, and the two are taken for one:
// only where there is more than one part, and until the next walk.
func (w *Walk) inParts() (fullest float64, full bool, err error) {
	w.found = found{holdings: w.found.holdings[:0], tables: w.found.tables[:0], owners: w.found.owners[:0]}
	if err := w.vars.Parts.Set(w.parts); err != nil {
		return 0, false, err
	}
	for part := range w.parts {
		if err := w.vars.Part.Set(part); err != nil {
			return 0, false, err
		}
		if err := w.part(); err != nil {
			return 0, false, err
		}
		var run walkRun
		if err := w.vars.Run.Get(&run); err != nil {
			return 0, false, err
		}
		if run.Full != 0 {
			return 1, true, nil
		}
		fullest = max(fullest, float64(max(run.Holdings, run.Tables))/room, float64(run.Work)/work)
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
	return fullest, false, nil
}

// read appends the first n values of a map, which is in the memory of this
// process as well.
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
