package containerlog

import (
	"context"
	"errors"
	"os"
	"path"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/hostconfig"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/disk/rotate"
	"github.com/nodetune/nodetune/internal/field"
	"github.com/nodetune/nodetune/internal/hostfs"
	"github.com/nodetune/nodetune/internal/workload"
)

// Rotator rotates the logs of containers that outgrow their limit faster than
// the kubelet looks, which is every ten seconds and one after another: two
// writers of 32 MB/s have had a log of 430 MiB with a limit of 10.
//
// Pass is for one goroutine and Settle for another: compressing waits for disks,
// and a log that is being written does not.
type Rotator struct {
	// Collected says that the logs of containers are collected on this node,
	// so that a new log is not rotated before they have found it, for a minute.
	Collected bool
	// LeftBytes is how much can be written until the disk is short; 0: not known.
	LeftBytes uint64

	host     *logdir.Host // of Pass
	finisher *finisher    // of Settle
	runtime  func(context.Context, workload.Log, string) (Runtime, error)
	pods     string
	zone     *time.Location // the kubelet's, of the names of archives
	limit    uint64
	alone    bool // the kubelet does not rotate
	stuck    bool // nor has it since it should have looked at a log over its limit

	late time.Duration // a log that is over its limit for so long is the kubelet's no more

	states  *readStates
	dirtied *dirtied
	walking walkBudget
	logs    map[string]*containerLog
	listed  time.Time
	changed unix.StatxTimestamp // when a pod last came or went
	fresh   time.Time           // and when that was seen

	mu         sync.Mutex
	unfinished map[string]workload.Log // by path below pods
	pressed    bool                    // at the last Pass
	trimmed    time.Time               // when all logs with unread archives were last queued
}

const (
	// PollInterval is how often the sizes are looked at: 1.5 µs a log that can be over
	// its limit. At 32 MB/s 8 MB come between two looks, less than the kubelet's
	// default limit.
	PollInterval = 250 * time.Millisecond
	// relistEvery is how often the logs are listed, as often as the kubelet looks,
	// and relistSoon while a pod is new: it can write 200 MB in ten seconds.
	relistEvery = 10 * time.Second
	relistSoon  = time.Second
	// followedFor is how long the reader of a log is expected to go on with its
	// next file: Fluent Bit looks for new files every 60 s.
	followedFor = time.Minute
	// rememberedFor is how long a reader that was seen is taken to come back for
	// what it has not read. A collector whose backend is away can be stuck so long.
	rememberedFor = time.Hour
	// readSpeed is how fast a reader that is behind is taken to be, for when to
	// look again: each look walks /proc.
	readSpeed = 16 << 20
	// trimEvery is how often, while the disk is short, the archives of every log are
	// looked at that have unread ones.
	trimEvery = time.Second
	// actFor is how long a walk of /proc is acted upon.
	actFor = time.Second
)

// New returns a Bursts for the logs of the kubelet k. runtime returns how
// the log of a container is opened again. Where the kubelet's rotation is off its
// default limits apply. An archive is compressed when its readers have had twice
// rotateWait, and no process has it open.
func New(procfs, rootfs string, k hostconfig.Kubelet, rotateWait time.Duration, runtime func(context.Context, workload.Log, string) (Runtime, error)) (*Rotator, error) {
	b := &Rotator{runtime: runtime, pods: k.PodLogs, zone: k.Location(), logs: map[string]*containerLog{}, unfinished: map[string]workload.Log{}, states: newReadStates(), dirtied: openDirtied(procfs)}
	var err error
	if b.host, err = logdir.OpenHost(procfs, rootfs, []string{k.PodLogs}); err != nil {
		return nil, err
	}
	other, err := logdir.OpenHost(procfs, rootfs, []string{k.PodLogs}) // Settle is another goroutine
	if err != nil {
		_ = b.host.Close()
		return nil, err
	}
	d := hostconfig.DefaultKubelet()
	if k.LogMonitorInterval <= 0 {
		k.LogMonitorInterval = d.LogMonitorInterval
	}
	b.late = time.Duration(2 * k.LogMonitorInterval * float64(time.Second))
	if k.LogMaxSizeBytes <= 0 {
		b.late /= 2 // it does not look: nodetune rotates as often as it would
		b.alone = true
		k.LogMaxSizeBytes = d.LogMaxSizeBytes
	}
	if k.LogMaxFiles <= 1 {
		k.LogMaxFiles = d.LogMaxFiles
	}
	b.limit = uint64(k.LogMaxSizeBytes)
	b.finisher = newFinisher(other, rotate.Options{
		Compress: archive.Gzip, Archives: k.LogMaxFiles - 1, KeepSize: b.limit * uint64(k.LogMaxFiles), Grace: 2 * rotateWait,
	}, b.states)
	return b, nil
}

// Close gives the descriptors back.
func (b *Rotator) Close() error {
	return errors.Join(b.host.Close(), b.finisher.host.Close(), b.dirtied.close())
}

// Space returns the figures of the filesystem that the logs lie on, as they are
// now.
func (b *Rotator) Space() (filesystem.Filesystem, error) {
	return filesystem.Stat(b.host.Rootfs, b.pods)
}

// dueLog is a log that is over its limit, or will be.
type dueLog struct {
	rel string
	log *containerLog
	st  unix.Statx_t
}

// Pass looks at every log once. With pressed a reader that is behind is not
// waited for; what it has not read stays, within what a log and its archives may take.
// And a log that would outgrow its limit before the next look is rotated now: where the
// kubelet finds one larger, it removes the oldest archives, read or not.
func (b *Rotator) Pass(ctx context.Context, pressed bool, now time.Time) []logdir.Action {
	top, err := b.host.Rootfs.OpenDir(b.pods, unix.O_PATH)
	if err != nil {
		return nil // no pods yet
	}
	defer func() { _ = unix.Close(top) }()
	var st unix.Statx_t
	if err := hostfs.Statx(top, hostfs.Self, &st); err == nil && st.Mtime != b.changed {
		b.changed, b.fresh = st.Mtime, now
	}
	every := relistEvery
	if now.Sub(b.fresh) < relistEvery {
		every = relistSoon
	}
	if now.Sub(b.listed) >= every || now.Before(b.listed) {
		b.list(now)
	}
	b.queueUnread(pressed, now)
	return b.rotateAll(ctx, b.due(ctx, top, pressed, now), pressed, now)
}

// crowded reports whether the logs that the kubelet does not rotate, or should have
// rotated, take as much as is left until the disk is short. A reader that has stopped
// would hold a log that fills the disk, and what a process has open cannot be freed:
// such a log is rotated while there is room for what comes after it.
func (b *Rotator) crowded() bool {
	if b.LeftBytes == 0 {
		return false
	}
	sum := uint64(0)
	for _, l := range b.logs {
		if !l.over.IsZero() && (b.alone || b.stuck) {
			sum += l.size
		}
	}
	return sum >= b.LeftBytes
}

// due asks every log for its size that can be over its limit. A log that is far from
// it is asked when so much was written to all files that it may be, and every ten
// seconds.
func (b *Rotator) due(ctx context.Context, top int, pressed bool, now time.Time) []dueLog {
	var all []dueLog
	hurry := pressed || b.crowded()
	dirtied, known := b.dirtied.bytes(top)
	var st unix.Statx_t
	for rel, l := range b.logs {
		if ctx.Err() != nil {
			break
		}
		if known && !pressed && l.within(b.limit, dirtied, now) {
			continue
		}
		// A name that leads elsewhere meanwhile shows a wrong size at worst:
		// to act, every component is opened again and none may be a link.
		if err := hostfs.Statx(top, l.name, &st); err != nil {
			continue
		}
		if at := (hostfs.Inode{Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Ino: st.Ino}); l.file != at {
			if l.file != (hostfs.Inode{}) && l.followed(now) { // the kubelet was faster
				b.states.markUnread(l.file)
				b.queueFinish(rel, l.log)
			}
			b.stuck = b.stuck && l.file == (hostfs.Inode{}) // ours, or new
			l.file, l.size, l.over = at, 0, time.Time{}
		}
		soon := st.Size
		if pressed && l.seen {
			soon += st.Size - min(l.size, st.Size)
		}
		l.size, l.seen, l.asked, l.dirtied = st.Size, true, now, dirtied
		switch {
		case st.Size < b.limit:
			l.over = time.Time{}
		case l.over.IsZero():
			l.over = now
		case now.Sub(l.over) >= b.late/2: // it looks once in that time
			b.stuck = true
		}
		if soon >= b.limit && (!now.Before(l.wait) || hurry && l.lags) {
			all = append(all, dueLog{rel, l, st})
		}
	}
	return all
}

// rotateAll rotates those of the logs that are to be rotated now, upon one walk of
// /proc. Where walks have cost enough and the disk is short, what is known of the readers
// is from before.
func (b *Rotator) rotateAll(ctx context.Context, due []dueLog, pressed bool, now time.Time) []logdir.Action {
	if len(due) == 0 {
		return nil
	}
	var openers map[hostfs.Inode][]logdir.Opener
	if b.walking.allow(now) {
		files := make([]hostfs.Inode, len(due))
		for i := range due {
			files[i] = due[i].log.file
		}
		began := time.Now()
		var err error
		openers, err = b.host.Openers(ctx, ".log", files...)
		b.walking.spend(time.Since(began))
		if err != nil && (!pressed || !errors.Is(err, logdir.ErrOpenersUnknown)) {
			return []logdir.Action{logdir.Action{Verb: logdir.ActionRotate, Path: b.pods}.WithError(err)}
		}
	} else if !pressed {
		return nil // readers decide whether to wait; a short disk does not wait for them
	}
	walked := time.Now()
	var acts []logdir.Action
	crowded := b.crowded()
	for i := range due {
		if ctx.Err() != nil || time.Since(walked) > actFor {
			break
		}
		x := &due[i]
		is := assess(openers[x.log.file], &x.st, x.log, now)
		if is.reading {
			x.log.read = now
		}
		if wait := is.wait(x.log, b.late, now); wait > 0 && !pressed && (!crowded || is.lag == 0) {
			x.log.lags, x.log.wait = true, now.Add(wait)
			continue
		}
		acts = append(acts, b.rotate(ctx, x.rel, x.log, x.st.Size, is.state, now)...)
	}
	return acts
}

func (b *Rotator) rotate(ctx context.Context, rel string, l *containerLog, size uint64, state archive.ReadState, now time.Time) []logdir.Action {
	file := path.Join(b.pods, rel)
	rt, err := b.runtime(ctx, l.log, file)
	if errors.Is(err, os.ErrNotExist) { // the container has ended: the log is complete
		l.wait = now.Add(relistEvery)
		return nil
	}
	if err != nil {
		l.wait = now.Add(relistEvery)
		return []logdir.Action{logdir.Action{Verb: logdir.ActionRotate, Path: file}.WithError(err)}
	}
	l.wait = time.Time{} // it was for the reader of the file that gets another name
	archived, err := rotateLog(ctx, b.host, file, rt, rotateOptions{File: l.file, State: state}, now.In(b.zone))
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, rotate.ErrReplaced):
		return nil // the kubelet was faster
	case err != nil:
		l.wait = now.Add(relistEvery)
	}
	l.lags, l.file = false, hostfs.Inode{}
	b.queueFinish(rel, l.log)
	if archived != "" && state != archive.StateUnknown {
		b.states.set(archived, state)
	}
	return []logdir.Action{logdir.Action{
		Verb: logdir.ActionRotate, Path: file, Archive: archived, Bytes: size,
		Reason: "it outgrows " + field.Size(b.limit) + " faster than the kubelet looks",
	}.WithError(err)}
}

// queueUnread makes FinishRotations look, while the disk is short, at every log that has
// archives which were not read.
func (b *Rotator) queueUnread(pressed bool, now time.Time) {
	dirs := map[string]bool{}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pressed = pressed
	if !pressed || now.Sub(b.trimmed) < trimEvery && !now.Before(b.trimmed) {
		return
	}
	b.trimmed = now
	b.states.unreadDirs(dirs)
	for rel, l := range b.logs {
		if dirs[path.Join(b.pods, path.Dir(rel))] {
			b.unfinished[rel] = l.log
		}
	}
}

func (b *Rotator) queueFinish(rel string, l workload.Log) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.unfinished[rel] = l
}

// FinishRotations looks once at the archives of every log that was rotated, or that a run
// before may have left in the middle of it.
func (b *Rotator) FinishRotations(ctx context.Context, now time.Time) []logdir.Action {
	b.mu.Lock()
	all, pressed := b.unfinished, b.pressed
	b.unfinished = map[string]workload.Log{}
	b.mu.Unlock()
	var acts []logdir.Action
	for rel, l := range all {
		file := path.Join(b.pods, rel)
		runtime := func(ctx context.Context) (Runtime, error) { return b.runtime(ctx, l, file) }
		s, err := b.finisher.finish(ctx, file, runtime, pressed, now)
		acts = append(acts, s.Actions(file)...)
		if err != nil && !errors.Is(err, unix.ENOENT) {
			acts = append(acts, logdir.Action{Verb: logdir.ActionRepair, Path: file}.WithError(err))
		}
		if err == nil && s.Waiting > 0 || ctx.Err() != nil {
			b.queueFinish(rel, l)
		}
	}
	return acts
}

// list finds the live log of every container: the one with the highest number.
func (b *Rotator) list(now time.Time) {
	newest := map[string]workload.Log{}
	err := b.host.Rootfs.Walk(b.pods, func(dir, name string, _ *unix.Statx_t) {
		rel, _ := hostfs.Below(path.Join(dir, name), b.pods)
		l, ok := workload.ParsePodLog(rel)
		if !ok || l.Rotated != "" {
			return
		}
		at := path.Dir(rel)
		if was, ok := newest[at]; !ok || l.Restart > was.Restart {
			newest[at] = l
		}
	})
	if err != nil {
		return
	}
	b.listed = now
	logs := map[string]*containerLog{}
	for dir, l := range newest {
		rel := path.Join(dir, restartName(l.Restart))
		if logs[rel] = b.logs[rel]; logs[rel] == nil {
			// What a run before left behind is looked at once.
			fresh := &containerLog{log: l, name: []byte(rel + "\x00")}
			if b.Collected {
				fresh.read = now
			}
			logs[rel] = fresh
			b.queueFinish(rel, l)
		}
	}
	b.logs = logs
	b.states.keep(func(dir string) bool {
		rel, _ := hostfs.Below(dir, b.pods)
		_, ok := newest[rel]
		return ok
	})
}

func restartName(n int) string { return strconv.Itoa(n) + ".log" }
