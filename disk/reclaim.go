package disk

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Reclaimer frees space on the filesystems that hold logs. It is for one
// goroutine.
type Reclaimer struct {
	*Rotator // rotates logs on the same host
	// Sandboxes, where it is set, returns the UIDs of the pods of which the
	// container runtime has a sandbox: their logs are no orphans, whatever the
	// kubelet has.
	Sandboxes func(context.Context) (map[string]bool, error)

	host     *Host
	policy   ReclaimConfig
	journald string // its varlink socket, below the root of the host
}

// NewReclaimer returns a Reclaimer of the host whose root directory and procfs
// are mounted at rootfs and procfs.
func NewReclaimer(procfs, rootfs string, policy ReclaimConfig) (*Reclaimer, error) {
	host, err := OpenHost(procfs, rootfs, policy.LogPaths)
	if err != nil {
		return nil, err
	}
	return &Reclaimer{Rotator: NewRotatorOn(host), host: host, policy: policy, journald: "run/systemd/journal/io.systemd.journal"}, nil
}

// Reclaimed is what has come of it.
type Reclaimed struct {
	Filesystem Filesystem `json:"filesystem"` // after the last step
	Goal       Goal       `json:"goal"`
	Met        bool       `json:"met"`
	Freed      uint64     `json:"freed_bytes"` // by statfs(2), with what others did meanwhile
	Steps      []Step     `json:"steps,omitempty"`
	Acts       []Act      `json:"acts,omitempty"`
	Skipped    int        `json:"skipped"` // somebody has it open, or it has changed
	Bounded    bool       `json:"bounded"` // maxFiles or maxBytes of the policy ended it
}

// Reclaim frees space on the filesystem that top lies on until goal is met,
// one step after another, and looks at the disk again after each. u is the last
// look at the host. tell is called after each act.
//
// With dryRun nothing is touched: Steps is what would be done, and what would be
// done if its class were switched on.
func (r *Reclaimer) Reclaim(ctx context.Context, top string, goal Goal, u ReclaimInput, dryRun bool, now time.Time, tell func(Act)) (Reclaimed, error) {
	out := Reclaimed{Goal: goal}
	dev, err := r.host.rootfs.deviceNumber(top)
	if err != nil {
		return out, err
	}
	before, err := space(r.host.rootfs, top)
	if err != nil {
		return out, err
	}
	out.Filesystem, out.Met = before, goal.Met(before)
	if out.Met {
		return out, nil
	}
	all, err := r.inventory(u, dev)
	if err != nil {
		return out, err
	}
	steps := Ladder(all, r.policy.Reclaim, goal.Critical, now)
	if dryRun {
		out.Steps = planned(steps, goal.AvailBytes-min(goal.AvailBytes, before.AvailBytes))
		return out, nil
	}
	files, bytes, rotated := 0, uint64(0), false
	for _, s := range steps {
		if ctx.Err() != nil || out.Met {
			break
		}
		if !s.Allowed {
			continue
		}
		if files >= r.policy.Reclaim.MaxFiles || bytes >= uint64(r.policy.Reclaim.MaxBytes) {
			out.Bounded = true
			break
		}
		if s.Class == ClassJournal && !rotated {
			rotated = true
			_ = r.rotateJournal(ctx) // without it there is less to remove
		}
		act := r.take(ctx, s, now)
		if errors.Is(act.Err, errBusy) || errors.Is(act.Err, unix.ENOENT) {
			out.Skipped++
			continue
		}
		files++
		bytes += act.Bytes
		out.Acts = append(out.Acts, act)
		if tell != nil {
			tell(act)
		}
		if out.Filesystem, err = space(r.host.rootfs, top); err != nil {
			return out, err
		}
		out.Met = goal.Met(out.Filesystem)
	}
	out.Freed = out.Filesystem.AvailBytes - min(out.Filesystem.AvailBytes, before.AvailBytes)
	return out, ctx.Err()
}

// planned cuts off what is not needed: of what may be done what frees so much,
// and of the rest what stands before that.
func planned(steps []Step, need uint64) []Step {
	sum, last := uint64(0), 0
	for i, s := range steps {
		if sum >= need {
			break
		}
		if s.Allowed {
			sum += s.Frees
		}
		last = i + 1
	}
	return steps[:last]
}

// take does one step. Whether it still holds what the plan saw is looked at
// here, on the open file.
func (r *Reclaimer) take(ctx context.Context, s Step, now time.Time) Act {
	a := Act{Verb: ActRemove, Path: s.Path, Bytes: s.Frees, Reason: s.Reason}
	switch s.Class {
	case ClassDeleted:
		n, err := r.punchDeleted(s.Candidate)
		a.Verb, a.Bytes = ActPunch, n
		return a.failed(err)
	case ClassLive:
		return r.takeLive(ctx, s, a, now)
	case ClassOrphans:
		return a.failed(r.removeOrphan(ctx, s.Path))
	case ClassCores:
		below := slices.Concat(r.host.logPaths, dumps)
		if c, ok := readCoreDir(r.host.procfs); ok {
			below = append(below, c.dir)
		}
		return a.failed(r.removeFile(s, below))
	case ClassRotated:
		a.Verb = ActCompress
		return a.failed(r.in(s.Path, func(d *folder, name string) error { return compressArchive(ctx, d, name, Gzip) }))
	case ClassUnread:
		return r.removeUnread(ctx, s, a)
	}
	return a.failed(r.removeFile(s, r.host.logPaths))
}

// in opens the directory of p for acting in it.
func (r *Reclaimer) in(p string, do func(d *folder, name string) error) error {
	d, err := r.host.open(path.Dir(p))
	if err != nil {
		return err
	}
	defer d.close()
	return do(d, path.Base(p))
}

// removeFile removes the file that the plan saw, if nobody has it open.
func (r *Reclaimer) removeFile(s Step, below []string) error {
	d, err := openFolder(r.host.rootfs, below, path.Dir(s.Path))
	if err != nil {
		return err
	}
	defer d.close()
	f, st, err := d.file(path.Base(s.Path), unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if (inode{dev: d.dev, ino: st.Ino}) != s.inode {
		return fmt.Errorf("%s is another file than a moment ago: %w", s.Path, errBusy)
	}
	if err := unheld(f); err != nil {
		return err
	}
	return d.remove(path.Base(s.Path))
}

// removeUnread removes an archive that somebody reads. Its space comes back at
// once, and what the reader has not read is counted.
func (r *Reclaimer) removeUnread(ctx context.Context, s Step, a Act) Act {
	err := r.in(s.Path, func(d *folder, name string) error {
		f, st, err := d.file(name, unix.O_RDONLY)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		at := inode{dev: d.dev, ino: st.Ino}
		if at != s.inode {
			return errBusy
		}
		idle, err := Probe(int(f.Fd()))
		if err != nil {
			return fmt.Errorf("probe %s: %w", s.Path, err)
		}
		if idle == Written {
			return errBusy
		}
		_, plain := stampTime(path.Ext(name)[1:])
		if idle == Unheld && !plain {
			return d.remove(name)
		}
		who, err := r.host.openers(ctx, path.Base(name), at)
		if err != nil {
			return err
		}
		read := st.Size // what the slowest reader has
		for _, o := range who[at] {
			read = min(read, o.OffsetBytes)
		}
		if len(who[at]) == 0 {
			read = 0 // nobody has begun to
		}
		a.Unread = st.Size - read
		w, _, err := d.file(name, unix.O_RDWR)
		if err != nil {
			return err
		}
		defer func() { _ = w.Close() }()
		if err := d.remove(name); err != nil {
			return err
		}
		// Its readers keep it: without its name it would keep its space too.
		return d.wrap("punch", name, unix.Fallocate(int(w.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, int64(st.Size)))
	})
	return a.failed(err)
}

// removeOrphan removes the log directory of a pod that is gone: NAMESPACE_POD_UID,
// the containers' directories in it and their files, if nobody has one open.
// Anything else in it, and it stays as it is.
func (r *Reclaimer) removeOrphan(ctx context.Context, p string) error {
	return r.in(p, func(pods *folder, name string) error {
		var dirs []*folder
		defer func() {
			for _, d := range dirs {
				d.close()
			}
		}()
		if err := r.gone(ctx, name); err != nil {
			return err
		}
		pod, err := pods.folder(name)
		if err != nil {
			return err
		}
		dirs = append(dirs, pod)
		names, err := pod.names()
		if err != nil {
			return err
		}
		for _, n := range names {
			c, err := pod.folder(n)
			if err != nil {
				return fmt.Errorf("%s/%s is no container's directory: %w", p, n, err)
			}
			dirs = append(dirs, c)
		}
		files := map[*folder][]string{}
		for _, d := range dirs[1:] {
			if files[d], err = d.names(); err != nil {
				return err
			}
			for _, n := range files[d] {
				if err := d.idle(n); err != nil {
					return err
				}
			}
		}
		for i, d := range dirs[1:] {
			for _, n := range files[d] {
				if err := errors.Join(ctx.Err(), d.remove(n)); err != nil {
					return err
				}
			}
			if err := pod.removeDir(names[i]); err != nil {
				return err
			}
		}
		return pods.removeDir(name)
	})
}

// Until returns the goal that used percent of the filesystem under top are in
// use at most, of what anyone but root may use.
func (r *Reclaimer) Until(top string, used float64) (Goal, error) {
	if !(used > 0 && used < 100) { // nor NaN, which ParseFloat takes
		return Goal{}, fmt.Errorf("%v%% in use is no goal: write a percentage between 0 and 100", used)
	}
	f, err := space(r.host.rootfs, top)
	if err != nil {
		return Goal{}, err
	}
	return Goal{AvailBytes: points(f.SizeBytes, 100-used), Reason: fmt.Sprintf("at most %v%% of %s in use", used, top)}, nil
}
