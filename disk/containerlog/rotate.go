package containerlog

import (
	"context"
	"errors"
	"fmt"
	"path"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/disk/rotate"
	"github.com/nodetune/nodetune/internal/field"
	"github.com/nodetune/nodetune/internal/hostfs"
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

// rotateOptions is how one rotation of a container's log differs from others.
type rotateOptions struct {
	File  hostfs.Inode      // the log that was looked at; zero: any
	State archive.ReadState // of what the archive will have
}

// rotateLog rotates a container's log as the kubelet does, with a name for
// the archive that it takes for one of its own, and returns the archive's path; "" for
// an empty log, which is left alone. Where the runtime opens what has the name, the
// path is never missing. The log is never truncated, punched or collapsed: kubectl logs
// reads a hole into memory, 12 GB of it for 300 MB.
//
// What the kubelet did meanwhile shows as ENOENT or rotate.ErrReplaced, and is as good.
func rotateLog(ctx context.Context, host *logdir.Host, file string, rt Runtime, how rotateOptions, now time.Time) (string, error) {
	if _, ok := workload.ParseLogPath(file); !ok {
		return "", logdir.Skipf("%s is no container's log", file)
	}
	d, err := host.Open(path.Dir(file))
	if err != nil {
		return "", err
	}
	defer d.Close()
	if err := checkRoom(d); err != nil {
		return "", err
	}
	base := path.Base(file)
	live, st, err := d.OpenFile(base, unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer func() { _ = live.Close() }()
	if how.File != (hostfs.Inode{}) && how.File != (hostfs.Inode{Dev: d.Dev, Ino: st.Ino}) {
		return "", fmt.Errorf("%s: %w", file, rotate.ErrReplaced)
	}
	if st.Size == 0 {
		return "", nil
	}
	archiveName, err := newArchive(d, base, now)
	if err != nil {
		return "", err
	}
	if rt.Replaces {
		err = d.Rename(base, archiveName)
	} else {
		err = rotate.ReplaceLog(d, live, base, archiveName)
	}
	if err != nil {
		return "", err
	}
	archive.SetUnread(live, how.State == archive.StateUnread)
	if err := rt.Reopen(ctx); err != nil {
		return "", errors.Join(err, undoRotation(d, base, archiveName, rt))
	}
	return path.Join(d.Path, archiveName), nil
}

// newArchive returns a name for an archive that sorts after those that are there.
// It is the kubelet's with microseconds, always: the kubelet, which looked at the
// size of the log before it compressed the last archive, may rotate in this very
// second, and renames over whatever has its own name. Nor is a name used twice:
// the kubelet removes X as soon as there is X.gz.
func newArchive(d *logdir.Dir, base string, now time.Time) (string, error) {
	names, err := d.Names()
	if err != nil {
		return "", err
	}
	at, _ := archive.ParseTimestamp(now.Format(archive.KubeletLayout)) // what its clock shows, in no zone
	at = at.Add(time.Duration(now.Nanosecond()))
	if all := archive.List(base, names); len(all) > 0 && !at.After(all[len(all)-1].At) {
		at = all[len(all)-1].At.Add(time.Microsecond)
	}
	return base + "." + archive.TimestampSuffix(at), nil
}

// undoRotation gives a log its name back after the runtime could not open the new one,
// as the kubelet does, unless the new one has lines already.
func undoRotation(d *logdir.Dir, base, archiveName string, rt Runtime) error {
	if rt.Replaces {
		return d.Rename(archiveName, base)
	}
	f, st, err := d.OpenFile(base, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if idle, err := logdir.Probe(int(f.Fd())); err != nil || idle == logdir.UsedByWriter || st.Size > 0 {
		return err
	}
	if err := d.Exchange(archiveName, base); err != nil {
		return err
	}
	_ = f.Close()
	return d.RemoveStaleEmpty(archiveName)
}

// checkRoom refuses where a new file might not fit.
func checkRoom(d *logdir.Dir) error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(d.FD, &st); err != nil {
		return d.PathError("statfs", "", err)
	}
	if avail := st.Bavail * uint64(max(st.Bsize, 1)); avail < roomBytes || st.Files > 0 && st.Ffree < roomInodes {
		return logdir.Skipf("%s has %s and %d inodes left: a runtime that cannot make its new log loses lines", d.Path, field.Size(avail), st.Ffree)
	}
	return nil
}

// finisher finishes the rotations of containers' logs: it compresses and removes
// their archives. It is for one goroutine.
type finisher struct {
	host    *logdir.Host
	rotator *rotate.Rotator
	how     rotate.Options
	states  *readStates // nil: every archive is read
	// reopening is when the runtime was last asked to open a log again whose
	// newest archive is still written, by the path of the log.
	reopening map[string]reopening
	learned   time.Time // when it was last looked who reads archives
}

type reopening struct {
	archiveName hostfs.Inode
	asked       time.Time
}

func newFinisher(host *logdir.Host, how rotate.Options, fates *readStates) *finisher {
	return &finisher{host: host, rotator: rotate.NewOn(host), how: how, states: fates, reopening: map[string]reopening{}}
}

// finish compresses and removes the archives of a container's log, as
// the kubelet would at its next rotation, but only those that no process has open.
// An archive that the container still writes, since a run was killed before it
// asked, is what runtime is for.
func (r *finisher) finish(ctx context.Context, file string, runtime func(context.Context) (Runtime, error), pressed bool, now time.Time) (rotate.Finished, error) {
	var s rotate.Finished
	d, err := r.host.Open(path.Dir(file))
	if err != nil {
		delete(r.reopening, file)
		return s, err
	}
	defer d.Close()
	names, err := d.Names()
	if err != nil {
		return s, err
	}
	base := path.Base(file)
	all := archive.List(base, names)
	var errs []error
	how := r.how
	how.LoseUnread = pressed
	if r.states != nil {
		if err := r.refreshReadStates(ctx, d, base, all, now); err != nil {
			errs = append(errs, err)
		}
	}
	for i := range all {
		a := &all[i]
		if ctx.Err() != nil {
			break
		}
		if i == len(all)-1 && a.Plain {
			if err := r.reopenAgain(ctx, d, base, a.Name, runtime, now); err != nil {
				errs = append(errs, err)
			}
		}
		if err := r.rotator.FinishArchive(ctx, d, base, a, how, now, &s); err != nil && !errors.Is(err, logdir.ErrInUse) && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, err)
		}
	}
	if how.KeepSize > 0 {
		how.KeepSize = archiveBudget(d, base, all, how.KeepSize)
	}
	return s, errors.Join(append(errs, rotate.RemoveExcess(d, all, how, now, &s), ctx.Err())...)
}

// archiveBudget fills in what the archives take, and returns what a log that may take so
// much in all leaves for them.
func archiveBudget(d *logdir.Dir, base string, all []archive.Archived, budget uint64) uint64 {
	allocated := func(name string) uint64 {
		var st unix.Statx_t
		if err := hostfs.Statx(d.FD, []byte(name+"\x00"), &st); err != nil {
			return 0 // it is gone, or never was
		}
		return st.Blocks * 512
	}
	for i := range all {
		a := &all[i]
		if a.Plain {
			a.Bytes += allocated(a.Name)
		}
		if a.Compression != archive.None {
			a.Bytes += allocated(a.Name + a.Compression.Suffix())
		}
	}
	return max(budget-min(budget, allocated(base)), 1)
}

// reopenAgain asks the runtime once more where an archive is still written long
// after it was rotated, and the log is missing or empty: only then is asking safe.
func (r *finisher) reopenAgain(ctx context.Context, d *logdir.Dir, base, archiveName string, runtime func(context.Context) (Runtime, error), now time.Time) error {
	f, st, err := d.OpenFile(archiveName, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	idle, err := logdir.Probe(int(f.Fd()))
	if err != nil {
		return fmt.Errorf("probe %s: %w", path.Join(d.Path, archiveName), err)
	}
	at := hostfs.Inode{Dev: d.Dev, Ino: st.Ino}
	file := path.Join(d.Path, base)
	if idle != logdir.UsedByWriter {
		delete(r.reopening, file)
		return nil
	}
	last, ok := r.reopening[file]
	if ok = ok && last.archiveName == at; !ok {
		// It may be in the middle of a rotation. containerd, asked twice within
		// moments, opens the log twice and writes its lines in the wrong order.
		r.reopening[file] = reopening{at, now}
	}
	if !ok || now.Sub(last.asked) < rotate.ReopenInterval {
		return nil
	}
	rt, err := runtime(ctx)
	if err != nil {
		return err
	}
	var live unix.Statx_t
	err = hostfs.Statx(d.FD, []byte(base+"\x00"), &live)
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
