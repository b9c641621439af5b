package procwalk

import (
	"sort"

	"golang.org/x/sys/unix"
)

// threads returns the number of threads, from the link count of PID/task,
// which is theirs and two (proc_task_getattr in the kernel's fs/proc/base.c).
func (r *round) threads() int {
	var st unix.Stat_t
	if err := fstatat(r.p.dir, []byte("task\x00"), &st); err != nil {
		return 0
	}
	return int(st.Nlink) - 2
}

// threadTables visits the threads that do not share the descriptors of the
// process. PID/fd is the table of the main thread alone: of a process whose
// main thread is gone it is empty.
func (r *round) threadTables() error {
	task, err := openat(r.p.dir, []byte("task\x00"), unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer closefd(task)
	r.w.tables = append(r.w.tables[:0], r.p.PID)
	var failed error
	err = numbered(task, r.w.tids, func(tid int, name []byte) bool {
		if tid == r.p.PID {
			return true
		}
		if failed = r.cut(); failed != nil {
			return false
		}
		dir, err := openat(task, name, unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil {
			return true // ended meanwhile
		}
		defer closefd(dir)
		if !r.private(tid, dir) {
			return true
		}
		r.p.TID, r.p.table = tid, dir
		if err := r.table(); err != nil && !Gone(err) {
			failed = err
			return false
		}
		return true
	})
	r.p.TID, r.p.table = r.p.PID, r.p.dir
	if err == nil {
		err = failed
	}
	return err
}

// private reports whether the table of a thread has not been visited yet.
//
// KCMP_FILES says so exactly. Without it a thread is taken to share the table
// of the process where both hold the same number of descriptors, and where
// not even that is known.
func (r *round) private(tid, dir int) bool {
	if r.w.ours {
		switch shared, err := r.visited(tid); {
		case err == nil:
			return !shared
		case Gone(err):
			return false
		}
		r.stats.ThreadsCompared = false
	}
	p, t := r.p, r.p
	p.table, t.table = r.p.dir, dir
	ofProcess, ok1 := p.FDCount()
	ofThread, ok2 := t.FDCount()
	return ok1 && ok2 && ofThread != ofProcess
}

// visited looks tid's table up among those visited, and adds it if it is new.
func (r *round) visited(tid int) (shared bool, err error) {
	tables := r.w.tables
	at := sort.Search(len(tables), func(i int) bool {
		if shared || err != nil {
			return true
		}
		order, e := kcmp(tid, tables[i], kcmpFiles, 0, 0)
		if e != nil {
			err = e
		}
		shared = shared || order == Same
		return order != After
	})
	if err != nil || shared {
		return shared, err
	}
	r.w.tables = append(tables, 0)
	copy(r.w.tables[at+1:], r.w.tables[at:])
	r.w.tables[at] = tid
	return false, nil
}
