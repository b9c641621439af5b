package rotate

import (
	"context"
	"errors"
	"path"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/disk/hostconfig"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/hostfs"
)

// Pass rotates what is due by rotations, and then settles the archives of every
// log they name: compressing lasts, and no log that grows waits for it. With
// pressed a reader that is behind is not waited for, and archives that it has not
// read go where they are too many.
func (r *Rotator) Pass(ctx context.Context, rotations []Rule, pressed bool, now time.Time) []logdir.Action {
	acts := r.beside.take()
	r.forget(now)
	if len(rotations) == 0 {
		return acts
	}
	managed, err := r.Logrotate()
	if err != nil {
		return append(acts, logdir.Action{Verb: logdir.ActionRotate, Path: "/etc"}.WithError(err))
	}
	var logs []Log
	var due []dueLog
	seen := map[string]bool{}
	dirs := listings{map[string]*listing{}, r.remembered}
	defer dirs.close()
	for _, rule := range rotations {
		for _, pattern := range rule.Paths {
			files, err := r.match(dirs, pattern, now)
			if err != nil && !errors.Is(err, unix.ENOENT) {
				acts = append(acts, logdir.Action{Verb: logdir.ActionRotate, Path: pattern}.WithError(err))
			}
			for _, f := range files {
				if ctx.Err() != nil {
					return acts
				}
				if managed(f.path) {
					acts = append(acts, logdir.Action{Verb: logdir.ActionRotate, Path: f.path}.WithError(
						logdir.Skipf("%s is rotated by logrotate: take it out of /etc/logrotate.d, or out of disk.rotations", f.path)))
					continue
				}
				if seen[f.path] { // the first rule that names it counts, as in RuleFor
					continue
				}
				seen[f.path] = true
				how := rule.Options()
				how.Force, how.LoseUnread = pressed, pressed
				l := Log{f.path, how}
				logs = append(logs, l)
				if why := rule.due(f.size, f.last, now, pressed); why != "" {
					due = append(due, dueLog{l, f.size, why})
				}
			}
		}
	}
	acts = append(acts, r.rotateDue(ctx, due, now)...)
	for _, x := range due {
		dirs.forget(path.Dir(x.Path)) // it may have another archive
	}
	for i, got := range r.finishAll(ctx, dirs, logs, now) {
		acts = append(acts, got.Actions(logs[i].Path)...)
		if got.Err != nil && ctx.Err() == nil {
			acts = append(acts, logdir.Action{Verb: logdir.ActionRepair, Path: logs[i].Path}.WithError(got.Err))
		}
	}
	return acts
}

// dueLog is a log that is to be rotated now.
type dueLog struct {
	Log
	size uint64
	why  string
}

func (r *Rotator) rotateDue(ctx context.Context, due []dueLog, now time.Time) []logdir.Action {
	all := make([]logdir.Action, len(due))
	logs := make([]Log, len(due))
	for i, x := range due {
		a := &all[i]
		*a = logdir.Action{Verb: logdir.ActionRotate, Path: x.Path, Bytes: x.size, Reason: x.why}
		logs[i] = x.Log
		logs[i].Options.Asked = func(process string) { a.Asked = process }
	}
	var acts []logdir.Action
	for i, rotated := range r.RotateAll(ctx, logs, now) {
		if rotated.Archive == "" && rotated.Err == nil {
			continue // it has become empty meanwhile
		}
		all[i].Archive = rotated.Archive
		acts = append(acts, all[i].WithError(rotated.Err))
	}
	return acts
}

// hostLog is a log that a pattern matches.
type hostLog struct {
	path string
	size uint64
	last time.Time // its last rotation, or its beginning
}

// rotatedAt returns when the archive was made: the time in its name. A clock that was
// ahead once gives names of the future, and every later name comes after those: what
// the filesystem says then counts, or nothing where that was ahead, too.
func rotatedAt(d *logdir.Dir, a archive.Archived, now time.Time) time.Time {
	if !a.At.After(now) {
		return a.At
	}
	name := a.Name
	if !a.Plain {
		name += a.Compression.Suffix()
	}
	var st unix.Statx_t
	if err := hostfs.Statx(d.FD, []byte(name+"\x00"), &st); err != nil {
		return a.At
	}
	if at := hostfs.Time(st.Ctime); !at.After(now) {
		return at
	}
	return time.Time{}
}

// match returns the logs that a pattern names, without archives. A log that is
// not there, but has archives, is one of them: they still expire.
func (r *Rotator) match(dirs listings, pattern string, now time.Time) ([]hostLog, error) {
	in, err := dirs.list(r.Host, path.Dir(pattern))
	if err != nil {
		return nil, err
	}
	names := in.logs(path.Base(pattern))
	all := make([]hostLog, 0, len(names))
	for _, n := range names {
		var st unix.Statx_t
		if err := hostfs.Statx(in.dir.FD, []byte(n+"\x00"), &st); errors.Is(err, unix.ENOENT) {
			all = append(all, hostLog{path: path.Join(in.dir.Path, n)})
			continue
		} else if err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
			continue
		}
		c := hostLog{path: path.Join(in.dir.Path, n), size: st.Size, last: hostfs.Time(hostfs.Born(&st))}
		if old := in.archives[n]; len(old) > 0 {
			c.last = rotatedAt(in.dir, old[len(old)-1], now)
		}
		all = append(all, c)
	}
	return all, nil
}

// Actions returns what was done to the archives of the log file, one action each.
func (s Finished) Actions(file string) []logdir.Action {
	var acts []logdir.Action
	for _, p := range s.Repaired {
		acts = append(acts, logdir.Action{Verb: logdir.ActionRepair, Path: p, Reason: "left by a run that was killed"})
	}
	for _, a := range s.Compressed {
		acts = append(acts, logdir.Action{Verb: logdir.ActionCompress, Path: a.Path, Bytes: a.Bytes, Reason: "an archive of " + file + " that no process has open"})
	}
	for _, a := range s.Removed {
		acts = append(acts, logdir.Action{Verb: logdir.ActionRemove, Path: a.Path, Bytes: a.Bytes, Unread: a.Unread, Reason: "beyond what is kept of " + file})
	}
	return acts
}

// Logrotate reports which paths logrotate's configuration on the host names:
// those are not ours to rotate. Where the host's /etc is not to be seen nothing is
// known.
func (r *Rotator) Logrotate() (func(file string) bool, error) {
	managed, err := hostconfig.LogrotatePaths(r.Host.Procfs, r.Host.Rootfs)
	if err != nil {
		return nil, logdir.Skipf("nodetune does not know whether logrotate rotates a log: %v; it takes CAP_SYS_PTRACE, or the host's /etc below --path.rootfs", err)
	}
	return managed, nil
}
