package bpf

import (
	"bytes"
	"cmp"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/nodetune/nodetune/inotify"
)

// clockTick is the unit of start times in proc_pid_stat(5). USER_HZ is 100 on every
// platform that nodetune is built for.
const clockTick = uint64(time.Second / 100)

// convert turns the records of a walk into the types of package inotify. Kernel
// addresses, which identify instances and tables, stay in this package.
func (w *Walk) convert() inotify.DescriptorTableScan {
	f := &w.found
	slices.SortFunc(f.tables, func(a, b walkTable) int {
		return cmp.Or(cmp.Compare(a.Pid, b.Pid), cmp.Compare(a.Start, b.Start), cmp.Compare(a.Id, b.Id), cmp.Compare(a.Word, b.Word))
	})
	slices.SortFunc(f.holdings, func(a, b walkHolding) int {
		return cmp.Or(cmp.Compare(a.Pid, b.Pid), cmp.Compare(a.File, b.File))
	})
	h := inotify.DescriptorTableScan{
		Instances: make([]inotify.TableInstance, 0, len(f.holdings)),
		Holders:   make([]inotify.FDHolder, 0, len(f.tables)),
		Above:     f.nsOwners(), Walk: f.stats, Gaps: f.gaps(),
	}
	h.Walk.ThreadsCompared = true
	w.cgroups.beginWalk()
	index := make(map[uint64]int, len(f.holdings))
	all := make([]int, 0, len(f.holdings)) // the instances of all holders
	rest := f.holdings
	for tables := f.tables; len(tables) > 0; {
		t := &tables[0]
		n := 1
		for n < len(tables) && tables[n].Pid == t.Pid && tables[n].Start == t.Start {
			n++
		}
		for len(rest) > 0 && rest[0].Pid < t.Pid {
			rest = rest[1:] // the process has no table record
		}
		from := len(all)
		for last := uint64(0); len(rest) > 0 && rest[0].Pid == t.Pid; rest = rest[1:] {
			if rest[0].File == last {
				continue
			}
			last = rest[0].File
			i, seen := index[last]
			if !seen {
				i = len(h.Instances)
				index[last] = i
				h.Instances = append(h.Instances, instanceOf(&rest[0]))
				h.Instances[i].Number = w.instanceNumber(last)
			}
			all = append(all, i)
		}
		h.Holders = append(h.Holders, inotify.FDHolder{
			PID: int(t.Pid), Start: t.Start / clockTick, UID: t.Uid, UserNS: uint64(t.Userns),
			Comm: w.comm(t.Comm), Cgroup: w.cgroup(t),
			FDs: maxFDs(tables[:n]), NOFILESoft: limit(t.NofileSoft), NOFILEHard: limit(t.NofileHard),
			Instances: all[from:len(all):len(all)],
		})
		tables = tables[n:]
	}
	w.cgroups.removeUnused()
	maps.DeleteFunc(w.numbers, func(file, _ uint64) bool {
		_, seen := index[file]
		return !seen
	})
	return h
}

// instanceNumber returns the number of an instance, which stays the same in each
// walk that finds it.
func (w *Walk) instanceNumber(file uint64) uint64 {
	n, known := w.numbers[file]
	if !known {
		w.lastNumber++
		n = w.lastNumber
		w.numbers[file] = n
	}
	return n
}

func instanceOf(h *walkHolding) inotify.TableInstance {
	return inotify.TableInstance{
		Creator: inotify.Owner{UserNS: uint64(h.Userns), UID: h.Uid},
		Watches: int64(h.Watches), Uncounted: h.Uncounted != 0,
		QueuedEvents: int64(h.Queued), QueuedEventsLimit: int64(h.QueueLimit),
	}
}

// nsOwners returns, for each user namespace, the accounts in the namespaces above it
// that are charged as well, the outermost last.
func (f *found) nsOwners() map[uint64][]inotify.Owner {
	if len(f.owners) == 0 {
		return nil
	}
	next := make(map[uint64]inotify.Owner, len(f.owners))
	for _, o := range f.owners {
		next[uint64(o.Below)] = inotify.Owner{UserNS: uint64(o.Userns), UID: o.Uid}
	}
	above := make(map[uint64][]inotify.Owner, len(next))
	for ns := range next {
		// User namespaces are nested 32 deep at most, see user_namespaces(7).
		for at, ok := next[ns]; ok && len(above[ns]) < 32; at, ok = next[at.UserNS] {
			above[ns] = append(above[ns], at)
		}
	}
	return above
}

// maxFDs returns the number of descriptors in the fullest table of a process. The
// chunks of a table follow each other. A chunk that was found twice counts once.
func maxFDs(tables []walkTable) int64 {
	var most, sum int64
	for i := range tables {
		t := &tables[i]
		switch {
		case i == 0 || t.Id != tables[i-1].Id:
			sum = int64(t.Fds)
		case t.Word != tables[i-1].Word:
			sum += int64(t.Fds)
		}
		most = max(most, sum)
	}
	return most
}

// mostComms bounds the cache of program names, which processes choose freely.
const mostComms = 1024

// comm returns the name of a program. It allocates each name once.
func (w *Walk) comm(b [16]uint8) string {
	s, known := w.comms[b]
	if !known {
		if len(w.comms) >= mostComms {
			clear(w.comms)
		}
		name, _, _ := bytes.Cut(b[:], []byte{0})
		s = string(name)
		w.comms[b] = s
	}
	return s
}

// limit converts a resource limit. RLIM_INFINITY becomes NoLimit.
func limit(v uint64) inotify.Limit {
	if v > math.MaxInt64 {
		return inotify.NoLimit
	}
	return inotify.Limit(v)
}
