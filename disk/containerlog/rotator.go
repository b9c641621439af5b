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
	// Collected says that somebody collects the logs of containers on this node,
	// so that a new log is not rotated before they have found it, for a minute.
	Collected bool

	host     *logdir.Host // of Pass
	finisher *finisher    // of Settle
	runtime  func(context.Context, workload.Log, string) (Runtime, error)
	pods     string
	zone     *time.Location // the kubelet's, of the names of archives
	limit    uint64

	states  *readStates
	logs    map[string]*containerLog
	listed  time.Time
	changed unix.StatxTimestamp // when a pod last came or went
	fresh   time.Time           // and when that was seen

	mu         sync.Mutex
	unfinished map[string]workload.Log // by path below pods
}

// containerLog is the live log of a container.
type containerLog struct {
	log  workload.Log
	name []byte       // below pods, with its NUL
	wait time.Time    // not looked at before: its reader is behind, or it failed
	lags bool         // its reader is behind
	read time.Time    // when somebody was last seen to read it, or expected to begin
	file hostfs.Inode // the last that was seen under its name, unless that was ours to change
	size uint64       // of it, then
	seen bool
}

// followed reports whether somebody reads the log, whatever file it has now.
func (l *containerLog) followed(now time.Time) bool { return now.Sub(l.read) < followedFor }

const (
	// PollInterval is how often the sizes are looked at: 1.5 µs a log. At 32 MB/s
	// 8 MB come between two looks, less than the kubelet's default limit.
	PollInterval = 250 * time.Millisecond
	// relistEvery is how often the logs are listed, as often as the kubelet looks,
	// and relistSoon while a pod is new: it can write 200 MB in ten seconds.
	relistEvery = 10 * time.Second
	relistSoon  = time.Second
	// followedFor is how long whoever read a log is expected to go on with its
	// next file: Fluent Bit looks for new files every 60 s.
	followedFor = time.Minute
	// readSpeed is how fast a reader that is behind is taken to be, for when to
	// look again: each look walks /proc.
	readSpeed = 16 << 20
)

// New returns a Bursts for the logs of the kubelet k. runtime returns how
// the log of a container is opened again. Where the kubelet's rotation is off its
// default limits apply. An archive is compressed when its readers have had twice
// rotateWait, and nobody has it open.
func New(procfs, rootfs string, k hostconfig.Kubelet, rotateWait time.Duration, runtime func(context.Context, workload.Log, string) (Runtime, error)) (*Rotator, error) {
	b := &Rotator{runtime: runtime, pods: k.PodLogs, zone: k.Location(), logs: map[string]*containerLog{}, unfinished: map[string]workload.Log{}, states: newReadStates()}
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
	if k.LogMaxSizeBytes <= 0 {
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
func (b *Rotator) Close() error { return errors.Join(b.host.Close(), b.finisher.host.Close()) }

// Space returns the figures of the filesystem that the logs lie on, as they are
// now.
func (b *Rotator) Space() (filesystem.Filesystem, error) {
	return filesystem.Stat(b.host.Rootfs, b.pods)
}

// Pass looks at every log once. With pressed a reader that is behind is not
// waited for; what it has not read stays. And a log that would outgrow its limit
// before the next look is rotated now: where the kubelet finds one larger, it
// removes the oldest archives, whoever has still to read them.
func (b *Rotator) Pass(ctx context.Context, pressed bool, now time.Time) []logdir.Action {
	top, err := b.host.Rootfs.OpenDir(b.pods, unix.O_PATH)
	if err != nil {
		return nil // no pods yet
	}
	defer func() { _ = unix.Close(top) }()
	var acts []logdir.Action
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
	for rel, l := range b.logs {
		if ctx.Err() != nil {
			break
		}
		// A name that leads elsewhere meanwhile shows a wrong size at worst:
		// to act, every component is opened anew and none may be a link.
		if err := hostfs.Statx(top, l.name, &st); err != nil {
			continue
		}
		if at := (hostfs.Inode{Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Ino: st.Ino}); l.file != at {
			if l.file != (hostfs.Inode{}) && l.followed(now) { // the kubelet was faster
				b.states.markUnread(l.file)
				b.queueFinish(rel, l.log)
			}
			l.file, l.size = at, 0
		}
		soon := st.Size
		if pressed && l.seen {
			soon += st.Size - min(l.size, st.Size)
		}
		l.size, l.seen = st.Size, true
		if soon >= b.limit && (!now.Before(l.wait) || pressed && l.lags) {
			acts = append(acts, b.rotate(ctx, rel, l, st.Size, pressed, now)...)
		}
	}
	return acts
}

func (b *Rotator) rotate(ctx context.Context, rel string, l *containerLog, size uint64, pressed bool, now time.Time) []logdir.Action {
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
	done, err := rotateLog(ctx, b.host, file, rt, rotateOptions{Force: pressed, Followed: l.followed(now)}, now.In(b.zone))
	if done.Followed {
		l.read = now
	}
	var lag *rotate.ReaderLagError
	switch {
	case errors.As(err, &lag):
		l.lags = true
		l.wait = now.Add(min(max(time.Duration(lag.LagBytes/readSpeed)*time.Second, PollInterval), relistEvery))
		return nil
	case errors.Is(err, unix.ENOENT), errors.Is(err, rotate.ErrReplaced):
		return nil // the kubelet was faster
	case err != nil:
		l.wait = now.Add(relistEvery)
	}
	l.lags, l.file = false, hostfs.Inode{}
	b.queueFinish(rel, l.log)
	if done.Archive != "" && !done.Unread {
		b.states.set(done.Archive, archive.StateRead)
	} else if done.Archive != "" {
		b.states.set(done.Archive, archive.StateUnread)
	}
	return []logdir.Action{logdir.Action{
		Verb: logdir.ActionRotate, Path: file, Archive: done.Archive, Bytes: size,
		Reason: "it outgrows " + field.Size(b.limit) + " faster than the kubelet looks",
	}.WithError(err)}
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
	all := b.unfinished
	b.unfinished = map[string]workload.Log{}
	b.mu.Unlock()
	var acts []logdir.Action
	for rel, l := range all {
		file := path.Join(b.pods, rel)
		runtime := func(ctx context.Context) (Runtime, error) { return b.runtime(ctx, l, file) }
		s, err := b.finisher.finish(ctx, file, runtime, now)
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
