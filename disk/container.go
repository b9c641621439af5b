package disk

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/workload"
)

// Runtime makes a container's log be opened again.
type Runtime struct {
	// Reopen is the CRI's ReopenContainerLog of the container that writes the
	// log. It is never called before the log has another name.
	Reopen func(ctx context.Context) error
	// Replaces says that the runtime renames a new file over the log itself
	// (CRI-O's conmon); containerd opens what has the name.
	Replaces bool
}

// Room that a rotation needs: at ENOSPC a runtime that cannot make its new file
// drops lines (containerd) or ends (conmon).
const (
	roomBytes  = 4 << 20
	roomInodes = 16
)

// Rotated is what has come of the rotation of a container's log.
type Rotated struct {
	Archive string // its path; "" for an empty log, which is left alone
	// Followed says that somebody read the log, and Unread that it was forced:
	// a reader had still to read what the archive has.
	Followed, Unread bool
}

// rotateOptions is how one rotation of a container's log differs from others.
type rotateOptions struct {
	Force bool // also where a reader is behind, whose lines may be lost to it
	// Followed says that somebody read what had the log's name before: until
	// they have opened what has it now, they are behind.
	Followed bool
}

// rotateContainer rotates a container's log as the kubelet does, with a name for
// the archive that it takes for one of its own. Where the runtime opens what has
// the name, the path is never missing. The log is never truncated, punched or
// collapsed: kubectl logs reads a hole into memory, 12 GB of it for 300 MB.
//
// What the kubelet did meanwhile shows as ENOENT or errReplaced, and is as good.
func rotateContainer(ctx context.Context, host *Host, file string, rt Runtime, how rotateOptions, now time.Time) (Rotated, error) {
	var done Rotated
	if _, ok := workload.ParseLogPath(file); !ok {
		return done, refusef("%s is no container's log", file)
	}
	d, err := host.open(path.Dir(file))
	if err != nil {
		return done, err
	}
	defer d.close()
	if err := checkRoom(d); err != nil {
		return done, err
	}
	base := path.Base(file)
	live, st, err := d.file(base, unix.O_RDONLY)
	if err != nil {
		return done, err
	}
	defer func() { _ = live.Close() }()
	if st.Size == 0 {
		return done, nil
	}
	at := inode{dev: d.dev, ino: st.Ino}
	who, err := host.openers(ctx, base, at)
	if err != nil {
		return done, err
	}
	done.Followed = slices.ContainsFunc(who[at], Holder.reads)
	var lag *Behind
	if o, ok := behind(who[at], st.Size, readMargin); ok {
		lag = &Behind{Path: file, Reader: o, LagBytes: st.Size - o.OffsetBytes}
	} else if how.Followed && !done.Followed {
		lag = &Behind{Path: file, LagBytes: st.Size}
	}
	if lag != nil && !how.Force {
		return done, lag
	}
	done.Unread = lag != nil
	archiveName, err := newArchive(d, base, now)
	if err != nil {
		return done, err
	}
	// The walk over /proc takes some milliseconds, or many.
	if same, err := d.is(base, live); err != nil {
		return done, err
	} else if !same {
		return done, fmt.Errorf("%s: %w", file, errReplaced)
	}
	if rt.Replaces {
		err = d.rename(base, archiveName)
	} else {
		err = replaceLog(d, live, base, archiveName)
	}
	if err != nil {
		return done, err
	}
	mark(live, done.Unread)
	if err := rt.Reopen(ctx); err != nil {
		return done, errors.Join(err, undoRotation(d, base, archiveName, rt))
	}
	done.Archive = path.Join(d.path, archiveName)
	return done, nil
}

// newArchive returns a name for an archive that sorts after those that are there.
// It is the kubelet's with microseconds, always: the kubelet, which looked at the
// size of the log before it compressed the last archive, may rotate in this very
// second, and renames over whatever has its own name. Nor is a name used twice:
// the kubelet removes X as soon as there is X.gz.
func newArchive(d *folder, base string, now time.Time) (string, error) {
	names, err := d.names()
	if err != nil {
		return "", err
	}
	at, _ := stampTime(now.Format(containerStamp)) // what its clock shows, in no zone
	at = at.Add(time.Duration(now.Nanosecond()))
	if all := archivesOf(base, names); len(all) > 0 && !at.After(all[len(all)-1].at) {
		at = all[len(all)-1].at.Add(time.Microsecond)
	}
	return base + "." + stamp(at), nil
}

// undoRotation gives a log its name back after the runtime could not open the new one,
// as the kubelet does, unless the new one has lines already.
func undoRotation(d *folder, base, archiveName string, rt Runtime) error {
	if rt.Replaces {
		return d.rename(archiveName, base)
	}
	f, st, err := d.file(base, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if idle, err := Probe(int(f.Fd())); err != nil || idle == Written || st.Size > 0 {
		return err
	}
	if err := d.exchange(archiveName, base); err != nil {
		return err
	}
	_ = f.Close()
	return d.abandonedEmpty(archiveName)
}

// checkRoom refuses where a new file might not fit.
func checkRoom(d *folder) error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(d.fd, &st); err != nil {
		return d.wrap("statfs", "", err)
	}
	if avail := st.Bavail * uint64(max(st.Bsize, 1)); avail < roomBytes || st.Files > 0 && st.Ffree < roomInodes {
		return refusef("%s has %s and %d inodes left: a runtime that cannot make its new log loses lines", d.path, Size(avail), st.Ffree)
	}
	return nil
}

// finisher finishes the rotations of containers' logs: it compresses and removes
// their archives. It is for one goroutine.
type finisher struct {
	host    *Host
	rotator *Rotator
	how     How
	fates   *fates // nil: every archive is read
	// reopening is when the runtime was last asked to open a log again whose
	// newest archive is still written, by the path of the log.
	reopening map[string]reopening
	learned   time.Time // when it was last looked who reads archives
}

type reopening struct {
	archiveName inode
	asked       time.Time
}

func newFinisher(host *Host, how How, fates *fates) *finisher {
	return &finisher{host: host, rotator: NewRotatorOn(host), how: how, fates: fates, reopening: map[string]reopening{}}
}

// finish compresses and removes the archives of a container's log, as
// the kubelet would at its next rotation, but only those that nobody has open.
// An archive that the container still writes, since a run was killed before it
// asked, is what runtime is for.
func (r *finisher) finish(ctx context.Context, file string, runtime func(context.Context) (Runtime, error), now time.Time) (Settled, error) {
	var s Settled
	d, err := r.host.open(path.Dir(file))
	if err != nil {
		delete(r.reopening, file)
		return s, err
	}
	defer d.close()
	names, err := d.names()
	if err != nil {
		return s, err
	}
	base := path.Base(file)
	all := archivesOf(base, names)
	var errs []error
	how := r.how
	if r.fates != nil {
		if err := r.learn(ctx, d, base, all, now); err != nil {
			errs = append(errs, err)
		}
	}
	for i := range all {
		a := &all[i]
		if ctx.Err() != nil {
			break
		}
		if i == len(all)-1 && a.plain {
			if err := r.reopenAgain(ctx, d, base, a.name, runtime, now); err != nil {
				errs = append(errs, err)
			}
		}
		if err := r.rotator.settle(ctx, d, base, a, how, now, &s); err != nil && !errors.Is(err, errBusy) && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, err)
		}
	}
	if how.KeepSize > 0 {
		how.KeepSize = archiveBudget(d, base, all, how.KeepSize)
	}
	return s, errors.Join(append(errs, removeExcess(d, all, how, now, &s), ctx.Err())...)
}

// archiveBudget fills in what the archives take, and returns what a log that may take so
// much in all leaves for them.
func archiveBudget(d *folder, base string, all []archived, budget uint64) uint64 {
	allocated := func(name string) uint64 {
		var st unix.Statx_t
		if err := statx(d.fd, []byte(name+"\x00"), &st); err != nil {
			return 0 // it is gone, or never was
		}
		return st.Blocks * 512
	}
	for i := range all {
		a := &all[i]
		if a.plain {
			a.bytes += allocated(a.name)
		}
		if a.comp != None {
			a.bytes += allocated(a.name + a.comp.ending())
		}
	}
	return max(budget-min(budget, allocated(base)), 1)
}

// reopenAgain asks the runtime once more where an archive is still written long
// after it was rotated, and the log is missing or empty: only then is asking safe.
func (r *finisher) reopenAgain(ctx context.Context, d *folder, base, archiveName string, runtime func(context.Context) (Runtime, error), now time.Time) error {
	f, st, err := d.file(archiveName, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	idle, err := Probe(int(f.Fd()))
	if err != nil {
		return fmt.Errorf("probe %s: %w", path.Join(d.path, archiveName), err)
	}
	at := inode{dev: d.dev, ino: st.Ino}
	file := path.Join(d.path, base)
	if idle != Written {
		delete(r.reopening, file)
		return nil
	}
	last, ok := r.reopening[file]
	if ok = ok && last.archiveName == at; !ok {
		// It may be in the middle of a rotation. containerd, asked twice within
		// moments, opens the log twice and writes its lines in the wrong order.
		r.reopening[file] = reopening{at, now}
	}
	if !ok || now.Sub(last.asked) < askAgain {
		return nil
	}
	rt, err := runtime(ctx)
	if err != nil {
		return err
	}
	var live unix.Statx_t
	err = statx(d.fd, []byte(base+"\x00"), &live)
	missing := errors.Is(err, unix.ENOENT)
	if !missing && (err != nil || live.Size > 0 || rt.Replaces) {
		return err
	}
	if err := checkRoom(d); err != nil {
		return err
	}
	r.reopening[file] = reopening{at, now}
	return rt.Reopen(ctx)
}
