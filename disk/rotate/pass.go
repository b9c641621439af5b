package rotate

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/disk/hostconfig"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/hostfs"
)

// Pass rotates what is due by rotations, and then settles the archives of every
// log they name: compressing lasts, and no log that grows waits for it. With
// pressed a reader that is behind is not waited for.
func (r *Rotator) Pass(ctx context.Context, rotations []Rule, pressed bool, now time.Time) []logdir.Action {
	if len(rotations) == 0 {
		return nil
	}
	var acts []logdir.Action
	managed, err := r.Logrotate()
	if err != nil {
		return []logdir.Action{logdir.Action{Verb: logdir.ActionRotate, Path: "/etc"}.WithError(err)}
	}
	type log struct {
		path string
		how  Options
	}
	var logs []log
	dirs := listings{}
	defer dirs.close()
	for _, rule := range rotations {
		for _, pattern := range rule.Paths {
			files, err := r.match(dirs, pattern)
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
				how := rule.Options()
				how.Force = pressed
				logs = append(logs, log{f.path, how})
				if why := rule.due(f.size, f.last, now, pressed); why != "" {
					acts = append(acts, r.rotateDue(ctx, f, how, why, now)...)
					dirs.forget(path.Dir(f.path)) // it has another archive
				}
			}
		}
	}
	for _, l := range logs {
		if ctx.Err() != nil {
			break
		}
		var s Finished
		in, err := dirs.list(r.Host, path.Dir(l.path))
		if err == nil {
			s, err = r.finishRotation(ctx, in, path.Base(l.path), l.how, now)
		}
		acts = append(acts, s.Actions(l.path)...)
		if err != nil {
			acts = append(acts, logdir.Action{Verb: logdir.ActionRepair, Path: l.path}.WithError(err))
		}
	}
	return acts
}

func (r *Rotator) rotateDue(ctx context.Context, f hostLog, how Options, why string, now time.Time) []logdir.Action {
	a := logdir.Action{Verb: logdir.ActionRotate, Path: f.path, Bytes: f.size, Reason: why}
	how.Asked = func(process string) { a.Asked = process }
	var err error
	if a.Archive, err = r.Rotate(ctx, f.path, how, now); a.Archive == "" && err == nil {
		return nil // it has become empty meanwhile
	}
	return []logdir.Action{a.WithError(err)}
}

// hostLog is a log that a pattern matches.
type hostLog struct {
	path string
	size uint64
	last time.Time // its last rotation, or its beginning
}

// match returns the logs that a pattern names, without archives. A log that is
// not there, but has archives, is one of them: they still expire.
func (r *Rotator) match(dirs listings, pattern string) ([]hostLog, error) {
	in, err := dirs.list(r.Host, path.Dir(pattern))
	if err != nil {
		return nil, err
	}
	d := in.dir
	var all []hostLog
	for _, n := range append(slices.Clone(in.names), missing(in.names)...) {
		if ok, err := path.Match(path.Base(pattern), n); !ok || err != nil || n[0] == '.' && path.Base(pattern)[0] != '.' {
			continue
		}
		if _, old := archive.ParseName([]byte(n)); old {
			continue
		}
		var st unix.Statx_t
		if err := hostfs.Statx(d.FD, []byte(n+"\x00"), &st); errors.Is(err, unix.ENOENT) {
			all = append(all, hostLog{path: path.Join(d.Path, n)})
			continue
		} else if err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
			continue
		}
		c := hostLog{path: path.Join(d.Path, n), size: st.Size, last: hostfs.Time(hostfs.Born(&st))}
		if old := in.archives[n]; len(old) > 0 {
			c.last = old[len(old)-1].At
		}
		all = append(all, c)
	}
	return all, nil
}

// listing is an open directory, listed once for all of its logs.
type listing struct {
	dir      *logdir.Dir
	names    []string
	locked   map[string]bool // the logs with a lock file
	archives map[string][]archive.Archived
}

func listDir(host *logdir.Host, dir string) (*listing, error) {
	d, err := host.Open(dir)
	if err != nil {
		return nil, err
	}
	names, err := d.Names()
	if err != nil {
		d.Close()
		return nil, err
	}
	in := &listing{dir: d, names: names, locked: map[string]bool{}, archives: archive.Group(names)}
	for _, n := range names {
		if base, ok := strings.CutSuffix(n, logdir.LockSuffix); ok && n[0] == '.' {
			in.locked[base[1:]] = true
		}
	}
	return in, nil
}

// listings are the directories of one pass, by path.
type listings map[string]*listing

func (l listings) list(host *logdir.Host, dir string) (*listing, error) {
	if in := l[dir]; in != nil {
		return in, nil
	}
	in, err := listDir(host, dir)
	if err == nil {
		l[dir] = in
	}
	return in, err
}

func (l listings) forget(dir string) {
	if in := l[dir]; in != nil {
		in.dir.Close()
		delete(l, dir)
	}
}

func (l listings) close() {
	for _, in := range l {
		in.dir.Close()
	}
}

// missing returns the logs of which names has archives of ours only.
func missing(names []string) []string {
	there := make(map[string]bool, len(names))
	for _, n := range names {
		there[n] = true
	}
	var gone []string
	for _, n := range names {
		base, old := archive.ParseName([]byte(n))
		if b := string(base); old && b != "" && !there[b] && len(archive.List(b, []string{n})) > 0 {
			there[b] = true
			gone = append(gone, b)
		}
	}
	return gone
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
