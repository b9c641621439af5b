package rotate

import (
	"context"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/hostfs"
	"github.com/nodetune/nodetune/internal/workload"
)

// Log is a log to be rotated.
type Log struct {
	Path    string
	Options Options
}

// Rotated is the result of one rotation.
type Rotated struct {
	Archive string // the path of the archive with the lines of the log; "" for an empty log
	Err     error
}

const (
	// maxTogether bounds how many logs are open at the same time.
	maxTogether = 256
	// maxWalkAge is how long a walk of /proc is acted upon: readers move.
	maxWalkAge = time.Second
)

// Rotate gives the log at the path file of the host a new, empty file and
// returns the path of the archive that has its lines. An empty log is left
// alone, and the archive is "".
//
// The path is never missing: the new file is made under the archive's name,
// with owner, mode, ACL and label of the old one, and the two exchange their
// names. A crash before that leaves an empty archive; after it, the next
// FinishRotation asks the writer to reopen.
func (r *Rotator) Rotate(ctx context.Context, file string, how Options, now time.Time) (string, error) {
	got := r.RotateAll(ctx, []Log{{file, how}}, now)[0]
	return got.Archive, got.Err
}

// RotateAll rotates logs as Rotate does. One walk of /proc finds the processes that have
// them open, and a daemon that writes several of them gets one signal.
func (r *Rotator) RotateAll(ctx context.Context, logs []Log, now time.Time) []Rotated {
	out := make([]Rotated, 0, len(logs))
	for chunk := range slices.Chunk(logs, maxTogether) {
		out = append(out, r.rotateTogether(ctx, chunk, now)...)
	}
	return out
}

// openLog is a log that is being rotated.
type openLog struct {
	Log
	dir     *logdir.Dir
	base    string
	file    *os.File // nil: it is done, or was given up
	at      hostfs.Inode
	used    logdir.Usage
	openers []logdir.Opener
	behind  bool   // a reader of it is
	release func() // its lock
	*Rotated
}

// fail gives the log up.
func (l *openLog) fail(err error) {
	l.Err = err
	l.close()
}

func (l *openLog) close() {
	if l.release != nil {
		l.release()
		l.release = nil
	}
	if l.file != nil {
		_ = l.file.Close()
		l.file = nil
	}
}

func (r *Rotator) rotateTogether(ctx context.Context, logs []Log, now time.Time) []Rotated {
	out, all := make([]Rotated, len(logs)), make([]*openLog, len(logs))
	dirs := map[string]*logdir.Dir{}
	defer func() {
		for _, l := range all {
			l.close()
		}
		for _, d := range dirs {
			d.Close()
		}
	}()
	for i := range logs {
		all[i] = &openLog{Log: logs[i], Rotated: &out[i]}
		if err := r.openLog(all[i], dirs, now); err != nil {
			all[i].fail(err)
		}
	}
	for left := all; len(left) > 0; {
		left = slices.DeleteFunc(slices.Clone(left), func(l *openLog) bool { return l.file == nil })
		walked := time.Now()
		for _, l := range left {
			if err := l.probe(); err != nil {
				l.fail(err)
			}
		}
		if err := r.findOpeners(ctx, left); err != nil {
			for _, l := range left {
				l.fail(err)
			}
		}
		for _, l := range left {
			if l.file != nil {
				if err := r.check(l); err != nil {
					l.fail(err)
				}
			}
		}
		for i, group := range r.byWriter(left) {
			if ctx.Err() != nil {
				for _, l := range group {
					l.fail(ctx.Err())
				}
				continue
			}
			if i > 0 && time.Since(walked) > maxWalkAge { // a walk may itself last longer
				break // those that are left are looked at again
			}
			if group[0].Options.InPlace {
				group[0].Archive, group[0].Err = r.rotateInPlace(ctx, group[0], now)
				if group[0].Archive != "" {
					group[0].Archive = path.Join(group[0].dir.Path, group[0].Archive)
				}
			} else {
				r.replaceTogether(group, now)
			}
			for _, l := range group {
				l.close()
			}
		}
	}
	return out
}

// openLog opens a log.
func (r *Rotator) openLog(l *openLog, dirs map[string]*logdir.Dir, now time.Time) error {
	if _, ok := workload.ParseLogPath(l.Path); ok {
		return logdir.Skipf("%s is a container's log: the kubelet and its runtime rotate it", l.Path)
	}
	if err := r.checkGaveBack(l.Path, now); err != nil {
		return err
	}
	dir := path.Dir(l.Path)
	l.base = path.Base(l.Path)
	if l.dir = dirs[dir]; l.dir == nil {
		d, err := r.Host.Open(dir)
		if err != nil {
			return err
		}
		dirs[dir], l.dir = d, d
	}
	file, st, err := l.dir.OpenFile(l.base, unix.O_RDONLY)
	if err != nil {
		return err
	}
	l.file, l.at = file, inodeOf(&st)
	if st.Size == 0 {
		l.close()
	}
	return nil
}

// probe asks the kernel whether another process has the log open. That may change
// while other logs are copied.
func (l *openLog) probe() (err error) {
	if l.file == nil {
		return nil
	}
	if l.used, err = logdir.Probe(int(l.file.Fd())); err != nil {
		return fmt.Errorf("probe %s: %w", l.Path, err)
	}
	return nil
}

// findOpeners looks for the processes that have the logs open. A log that no process
// has open takes no walk of /proc.
func (r *Rotator) findOpeners(ctx context.Context, logs []*openLog) error {
	var files []hostfs.Inode
	var names []string
	for _, l := range logs {
		if l.file != nil && l.used != logdir.Unused {
			files, names = append(files, l.at), append(names, l.base)
		}
	}
	if len(files) == 0 {
		return nil
	}
	openers, err := r.Host.Openers(ctx, commonPart(names), files...)
	for _, l := range logs {
		l.openers = openers[l.at]
	}
	return err
}

// commonPart returns a text that each of the names begins or ends with, "" where there
// is none.
func commonPart(names []string) string {
	prefix, suffix := names[0], names[0]
	for _, n := range names[1:] {
		for !strings.HasPrefix(n, prefix) {
			prefix = prefix[:len(prefix)-1]
		}
		for !strings.HasSuffix(n, suffix) {
			suffix = suffix[1:]
		}
	}
	if len(prefix) > len(suffix) {
		return prefix
	}
	return suffix
}

// check returns why a log is not rotated, with what is known of its readers and
// writers.
func (r *Rotator) check(l *openLog) error {
	how := l.Options
	var st unix.Statx_t
	if err := hostfs.Statx(int(l.file.Fd()), hostfs.Self, &st); err != nil {
		return l.dir.PathError("stat", l.base, err)
	}
	o, behind := logdir.Behind(l.openers, &st, logdir.ReadMargin)
	if l.behind = behind; behind && !how.Force {
		return &ReaderLagError{Path: l.Path, Reader: o, LagBytes: st.Size - o.OffsetBytes}
	}
	if l.used != logdir.Unused && len(l.openers) == 0 && (l.used == logdir.UsedByWriter || !how.Force) {
		return logdir.Skipf("%s is %s by %s: nodetune does not know whether it may rotate it", l.Path, l.used, openerNames(nil))
	}
	if how.InPlace || l.used != logdir.UsedByWriter {
		return nil
	}
	switch {
	case how.Reopen.IsZero():
		return logdir.Skipf("%s is written by %s: name the unit or the process that is to reopen it, or rotate it in place", l.Path, openerNames(l.openers))
	case !r.Host.Walker.InHostPIDNamespace():
		return logdir.Skipf("%s is written by %s, which cannot be asked to reopen it: the pids here are those of another pid namespace; run with hostPID", l.Path, openerNames(l.openers))
	}
	if err := how.Reopen.check(r.Host.Walker, r.Host.Procfs, l.openers); err != nil {
		return fmt.Errorf("%s stays as it is: %w", l.Path, err)
	}
	return nil
}

// byWriter groups logs by the processes that are asked to reopen them. A log that is
// rotated in place is a group of its own, and comes last: it is copied.
func (r *Rotator) byWriter(logs []*openLog) [][]*openLog {
	var groups, inPlace [][]*openLog
	index := map[string]int{}
	for _, l := range logs {
		switch {
		case l.file == nil:
			continue
		case l.Options.InPlace:
			inPlace = append(inPlace, []*openLog{l})
			continue
		}
		key := ""
		if l.used == logdir.UsedByWriter {
			var pids []string
			for _, o := range l.Options.Reopen.targets(r.Host.Procfs, l.openers) {
				pids = append(pids, fmt.Sprint(o.PID))
			}
			slices.Sort(pids)
			key = strings.Join(pids, " ") + " " + l.Options.Reopen.Signal
		}
		i, ok := index[key]
		if !ok {
			i = len(groups)
			index[key] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], l)
	}
	return append(groups, inPlace...)
}

// replaceTogether gives logs of the same writers their new files, and then asks the
// writers to reopen them.
func (r *Rotator) replaceTogether(logs []*openLog, now time.Time) {
	idleBy := time.Now().Add(maxIdleWait) // for all of them
	for _, l := range logs {
		if release, err := l.dir.LockLog(l.base); err != nil {
			l.fail(err)
		} else if l.release = release; l.used == logdir.UsedByWriter && time.Now().Before(idleBy) {
			waitIdle(l.file)
		}
	}
	archives := map[*logdir.Dir]map[string][]archive.Archived{} // listed under the locks
	for _, l := range logs {
		if l.file == nil {
			continue
		}
		if archives[l.dir] == nil {
			names, err := l.dir.Names()
			if err != nil {
				l.fail(err)
				continue
			}
			archives[l.dir] = archive.Group(names)
		}
		if err := l.replace(archives[l.dir][l.base], now); err != nil {
			l.fail(err)
		}
	}
	sent := signalled{}
	for _, l := range logs {
		if l.file != nil && l.used == logdir.UsedByWriter {
			l.Err = r.requestReopen(l.Options, l.at, l.openers, sent, now)
		}
	}
}

// replace exchanges the log and a new file. all are its archives.
func (l *openLog) replace(all []archive.Archived, now time.Time) error {
	name, err := nextName(l.dir, l.file, l.base, all, now)
	if err != nil {
		return err
	}
	if err := ReplaceLog(l.dir, l.file, l.base, name); err != nil {
		return err
	}
	l.Archive = path.Join(l.dir.Path, name)
	if l.behind { // until it is read, only the class unread may take it
		archive.SetUnread(l.file, true)
	}
	return nil
}
