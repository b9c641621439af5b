package reclaim

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/disk/rotate"
	"github.com/nodetune/nodetune/internal/hostfs"
)

// Reclaimer frees space on the filesystems that hold logs. It is for one
// goroutine.
type Reclaimer struct {
	*rotate.Rotator // rotates logs on the same host
	// Sandboxes, where it is set, returns the UIDs of the pods of which the
	// container runtime at the kubelet's socket ("": the usual ones) has a sandbox: their logs are no orphans, whatever the
	// kubelet has.
	Sandboxes func(ctx context.Context, socket string) (map[string]bool, error)

	host     *logdir.Host
	policy   Config
	socket   string // of the container runtime, as the kubelet is configured
	journald string // its varlink socket, below the root of the host
}

// New returns a Reclaimer of the host whose root directory and procfs
// are mounted at rootfs and procfs.
func New(procfs, rootfs string, policy Config) (*Reclaimer, error) {
	host, err := logdir.OpenHost(procfs, rootfs, policy.LogPaths)
	if err != nil {
		return nil, err
	}
	return &Reclaimer{Rotator: rotate.NewOn(host), host: host, policy: policy, journald: "run/systemd/journal/io.systemd.journal"}, nil
}

// Result is what has come of it.
type Result struct {
	Filesystem filesystem.Filesystem `json:"filesystem"` // after the last step
	Goal       filesystem.Goal       `json:"goal"`
	Met        bool                  `json:"met"`
	Freed      uint64                `json:"freed_bytes"` // by statfs(2), with what others did meanwhile
	Steps      []Step                `json:"steps,omitempty"`
	Acts       []logdir.Action       `json:"acts,omitempty"`
	Skipped    int                   `json:"skipped"` // a process has it open, or it has changed
	Bounded    bool                  `json:"bounded"` // maxFiles or maxBytes of the policy ended it
}

// Reclaim frees space on the filesystem that top lies on until goal is met,
// one step after another, and looks at the disk again after each. u is the last
// look at the host. onAct is called after each act.
//
// With dryRun nothing is touched: Steps is what would be done, and what would be
// done if its class were switched on.
func (r *Reclaimer) Reclaim(ctx context.Context, top string, goal filesystem.Goal, u Input, dryRun bool, now time.Time, onAct func(logdir.Action)) (Result, error) {
	out := Result{Goal: goal}
	mounts, err := filesystem.ReadHostMounts(r.host.Procfs, r.host.Rootfs)
	if err != nil {
		return out, fmt.Errorf("read the mounts: %w", err)
	}
	device := filesystem.Device(r.host.Rootfs, top, mounts)
	if device == "" {
		return out, fmt.Errorf("nodetune does not know the filesystem of %s: the path cannot be opened, or its mount is not in %s/self/mountinfo", top, r.host.Procfs)
	}
	// The kubelet's directory may be a link to another disk, or lie elsewhere.
	r.socket = u.Kubelet.RuntimeSocket()
	r.host.LogPaths = append(slices.Clone(r.policy.LogPaths), u.Kubelet.PodLogs)
	before, err := filesystem.Stat(r.host.Rootfs, top)
	if err != nil {
		return out, err
	}
	out.Filesystem, out.Met = before, goal.Met(before)
	if out.Met {
		return out, nil
	}
	all, err := r.candidates(u, device, mounts)
	if err != nil {
		return out, err
	}
	steps := Plan(all, r.policy.Policy, goal.Critical, now)
	if dryRun {
		out.Steps = planned(steps, goal.AvailBytes-min(goal.AvailBytes, before.AvailBytes))
		return out, nil
	}
	files, bytes, rotated, compressing := 0, uint64(0), false, false
	for _, s := range steps {
		if ctx.Err() != nil || out.Met {
			break
		}
		if compressing && s.Class != ClassRotated && !goal.Critical {
			break // what it frees shows in a later pass: until then nothing of more value goes
		}
		if !s.Allowed {
			continue
		}
		if files >= r.policy.Policy.MaxFiles || bytes >= uint64(r.policy.Policy.MaxBytes) {
			out.Bounded = true
			break
		}
		if s.Class == ClassJournal && !rotated {
			rotated = true
			_ = r.rotateJournal(ctx) // without it there is less to remove
		}
		if (s.Class == ClassRotated || s.Class == ClassUnread) && r.Compressing(s.Path) {
			compressing = true // it was counted when it was queued, and is about to shrink
			out.Skipped++
			continue
		}
		if s.Class == ClassRotated && r.FailedToCompress(s.Path) {
			out.Skipped++
			continue
		}
		if s.Class == ClassRotated && r.Compress(s.Path, archive.Gzip, s.Frees) {
			compressing = true
			files++
			bytes += s.Frees
			continue
		}
		act := r.execute(ctx, s, now)
		if errors.Is(act.Err, logdir.ErrInUse) || errors.Is(act.Err, unix.ENOENT) {
			out.Skipped++
			continue
		}
		files++
		bytes += act.Bytes
		out.Acts = append(out.Acts, act)
		if onAct != nil {
			onAct(act)
		}
		if out.Filesystem, err = filesystem.Stat(r.host.Rootfs, top); err != nil {
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

// execute does one step. Whether it still holds what the plan saw is looked at
// here, on the open file.
func (r *Reclaimer) execute(ctx context.Context, s Step, now time.Time) logdir.Action {
	a := logdir.Action{Verb: logdir.ActionRemove, Path: s.Path, Bytes: s.Frees, Reason: s.Reason}
	switch s.Class {
	case ClassDeleted:
		n, err := r.punchDeleted(s.Candidate)
		a.Verb, a.Bytes = logdir.ActionPunch, n
		return a.WithError(err)
	case ClassActiveLogs:
		return r.executeActiveLog(ctx, s, a, now)
	case ClassOrphans:
		return a.WithError(r.removeOrphan(ctx, s.Path))
	case ClassCores:
		below := slices.Concat(r.host.LogPaths, CoreDumpDirs)
		if c, ok := ReadCoreDir(r.host.Procfs); ok {
			below = append(below, c.Dir)
		}
		return a.WithError(r.removeFile(s, below))
	case ClassRotated:
		a.Verb = logdir.ActionCompress
		return a.WithError(r.withDir(s.Path, func(d *logdir.Dir, name string) error { return archive.Compress(ctx, d, name, archive.Gzip) }))
	case ClassUnread:
		return r.removeUnread(ctx, s, a)
	}
	return a.WithError(r.removeFile(s, r.host.LogPaths))
}

// withDir opens the directory of p for acting in it.
func (r *Reclaimer) withDir(p string, do func(d *logdir.Dir, name string) error) error {
	d, err := r.host.Open(path.Dir(p))
	if err != nil {
		return err
	}
	defer d.Close()
	return do(d, path.Base(p))
}

// removeFile removes the file that the plan saw, if no process has it open.
func (r *Reclaimer) removeFile(s Step, below []string) error {
	d, err := logdir.OpenDir(r.host.Rootfs, below, path.Dir(s.Path))
	if err != nil {
		return err
	}
	defer d.Close()
	f, st, err := d.OpenFile(path.Base(s.Path), unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if (hostfs.Inode{Dev: d.Dev, Ino: st.Ino}) != s.inode {
		return fmt.Errorf("%s was replaced a moment ago: %w", s.Path, logdir.ErrInUse)
	}
	if err := logdir.CheckUnused(f); err != nil {
		return err
	}
	return d.Remove(path.Base(s.Path))
}

// removeUnread removes an archive that a process reads. Its space comes back at
// once, and what the reader has not read is counted.
func (r *Reclaimer) removeUnread(ctx context.Context, s Step, a logdir.Action) logdir.Action {
	err := r.withDir(s.Path, func(d *logdir.Dir, name string) error {
		f, st, err := d.OpenFile(name, unix.O_RDONLY)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		at := hostfs.Inode{Dev: d.Dev, Ino: st.Ino}
		if at != s.inode {
			return logdir.ErrInUse
		}
		idle, err := logdir.Probe(int(f.Fd()))
		if err != nil {
			return fmt.Errorf("probe %s: %w", s.Path, err)
		}
		if idle == logdir.UsedByWriter {
			return logdir.ErrInUse
		}
		_, plain := archive.ParseTimestamp(path.Ext(name)[1:])
		if idle == logdir.Unused && !plain {
			return d.Remove(name)
		}
		who, err := r.host.Openers(ctx, path.Base(name), at)
		if err != nil && !errors.Is(err, logdir.ErrOpenersUnknown) {
			return err // else all of it counts as unread: who owns many descriptors keeps no space
		}
		ahead := uint64(0) // what the reader that is furthest has read
		for _, o := range who[at] {
			ahead = max(ahead, min(o.OffsetBytes, st.Size))
		}
		a.Unread = st.Size - ahead
		w, _, err := d.OpenFile(name, unix.O_RDWR)
		if err != nil {
			return err
		}
		defer func() { _ = w.Close() }()
		if err := d.Remove(name); err != nil {
			return err
		}
		// Its readers keep it: without its name it would keep its space too. It
		// ends where the furthest of them is. A hole would give them NULs for lines.
		return d.PathError("truncate", name, unix.Ftruncate(int(w.Fd()), int64(ahead)))
	})
	return a.WithError(err)
}

// removeOrphan removes the log directory of a pod that is gone: NAMESPACE_POD_UID,
// the containers' directories in it and their files, if no process has one open.
// Anything else in it, and it stays as it is.
func (r *Reclaimer) removeOrphan(ctx context.Context, p string) error {
	return r.withDir(p, func(pods *logdir.Dir, name string) error {
		var dirs []*logdir.Dir
		defer func() {
			for _, d := range dirs {
				d.Close()
			}
		}()
		if err := r.gone(ctx, name); err != nil {
			return err
		}
		pod, err := pods.OpenSubdir(name)
		if err != nil {
			return err
		}
		dirs = append(dirs, pod)
		names, err := pod.Names()
		if err != nil {
			return err
		}
		for _, n := range names {
			c, err := pod.OpenSubdir(n)
			if err != nil {
				return fmt.Errorf("%s/%s is no container's directory: %w", p, n, err)
			}
			dirs = append(dirs, c)
		}
		files := map[*logdir.Dir][]string{}
		for _, d := range dirs[1:] {
			if files[d], err = d.Names(); err != nil {
				return err
			}
			for _, n := range files[d] {
				if err := d.CheckNotOpen(n); err != nil {
					return err
				}
			}
		}
		for i, d := range dirs[1:] {
			for _, n := range files[d] {
				if err := errors.Join(ctx.Err(), d.Remove(n)); err != nil {
					return err
				}
			}
			if err := pod.RemoveDir(names[i]); err != nil {
				return err
			}
		}
		return pods.RemoveDir(name)
	})
}

// Until returns the goal that used percent of the filesystem under top are in
// use at most, of the space that processes without root may use.
func (r *Reclaimer) Until(top string, used float64) (filesystem.Goal, error) {
	if !(used > 0 && used < 100) { // nor NaN, which ParseFloat takes
		return filesystem.Goal{}, fmt.Errorf("%v%% in use is no goal: write a percentage between 0 and 100", used)
	}
	f, err := filesystem.Stat(r.host.Rootfs, top)
	if err != nil {
		return filesystem.Goal{}, err
	}
	return filesystem.Goal{AvailBytes: filesystem.PercentOf(f.SizeBytes, 100-used), Reason: fmt.Sprintf("at most %v%% of %s in use", used, top)}, nil
}
