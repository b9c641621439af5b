package disk

import (
	"context"
	"errors"
	"os"
	"path"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/workload"
)

// Bursts rotates the logs of containers that outgrow their limit faster than
// the kubelet looks, which is every ten seconds and one after another: two
// writers of 32 MB/s have had a log of 430 MiB with a limit of 10.
//
// Pass is for one goroutine and Settle for another: compressing waits for disks,
// and a log that is being written does not.
type Bursts struct {
	// Collected says that somebody collects the logs of containers on this node,
	// so that a new log is not rotated before they have found it, for a minute.
	Collected bool

	host     *Host     // of Pass
	finisher *finisher // of Settle
	runtime  func(context.Context, workload.Log, string) (Runtime, error)
	pods     string
	zone     *time.Location // the kubelet's, of the names of archives
	limit    uint64

	fates   *fates
	logs    map[string]*containerLog
	listed  time.Time
	changed unix.StatxTimestamp // when a pod last came or went
	fresh   time.Time           // and when that was seen

	mu        sync.Mutex
	unsettled map[string]workload.Log // by path below pods
}

// containerLog is the live log of a container.
type containerLog struct {
	log  workload.Log
	name []byte    // below pods, with its NUL
	wait time.Time // not looked at before: its reader is behind, or it failed
	lags bool      // its reader is behind
	read time.Time // when somebody was last seen to read it, or expected to begin
	file inode     // the last that was seen under its name, unless that was ours to change
	size uint64    // of it, then
	seen bool
}

// followed reports whether somebody reads the log, whatever file it has now.
func (l *containerLog) followed(now time.Time) bool { return now.Sub(l.read) < followedFor }

const (
	// BurstEvery is how often the sizes are looked at: 1.5 µs a log. At 32 MB/s
	// 8 MB come between two looks, less than the kubelet's default limit.
	BurstEvery = 250 * time.Millisecond
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

// NewBursts returns a Bursts for the logs of the kubelet k. runtime returns how
// the log of a container is opened again. Where the kubelet's rotation is off its
// default limits apply. An archive is compressed when its readers have had twice
// rotateWait, and nobody has it open.
func NewBursts(procfs, rootfs string, k Kubelet, rotateWait time.Duration, runtime func(context.Context, workload.Log, string) (Runtime, error)) (*Bursts, error) {
	b := &Bursts{runtime: runtime, pods: k.PodLogs, zone: k.location(), logs: map[string]*containerLog{}, unsettled: map[string]workload.Log{}, fates: newFates()}
	var err error
	if b.host, err = OpenHost(procfs, rootfs, []string{k.PodLogs}); err != nil {
		return nil, err
	}
	other, err := OpenHost(procfs, rootfs, []string{k.PodLogs}) // Settle is another goroutine
	if err != nil {
		_ = b.host.Close()
		return nil, err
	}
	d := defaultKubelet()
	if k.LogMaxSizeBytes <= 0 {
		k.LogMaxSizeBytes = d.LogMaxSizeBytes
	}
	if k.LogMaxFiles <= 1 {
		k.LogMaxFiles = d.LogMaxFiles
	}
	b.limit = uint64(k.LogMaxSizeBytes)
	b.finisher = newFinisher(other, How{
		Compress: Gzip, Archives: k.LogMaxFiles - 1, KeepSize: b.limit * uint64(k.LogMaxFiles), Grace: 2 * rotateWait,
	}, b.fates)
	return b, nil
}

// Close gives the descriptors back.
func (b *Bursts) Close() error { return errors.Join(b.host.Close(), b.finisher.host.Close()) }

// Space returns the figures of the filesystem that the logs lie on, as they are
// now.
func (b *Bursts) Space() (Filesystem, error) { return space(b.host.rootfs, b.pods) }

// Pass looks at every log once. With pressed a reader that is behind is not
// waited for; what it has not read stays. And a log that would outgrow its limit
// before the next look is rotated now: where the kubelet finds one larger, it
// removes the oldest archives, whoever has still to read them.
func (b *Bursts) Pass(ctx context.Context, pressed bool, now time.Time) []Act {
	top, err := b.host.rootfs.openDir(b.pods, unix.O_PATH)
	if err != nil {
		return nil // no pods yet
	}
	defer func() { _ = unix.Close(top) }()
	var acts []Act
	var st unix.Statx_t
	if err := statx(top, itself, &st); err == nil && st.Mtime != b.changed {
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
		if err := statx(top, l.name, &st); err != nil {
			continue
		}
		if at := (inode{dev: unix.Mkdev(st.Dev_major, st.Dev_minor), ino: st.Ino}); l.file != at {
			if l.file != (inode{}) && l.followed(now) { // the kubelet was faster
				b.fates.lost(l.file)
				b.unsettle(rel, l.log)
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

func (b *Bursts) rotate(ctx context.Context, rel string, l *containerLog, size uint64, pressed bool, now time.Time) []Act {
	file := path.Join(b.pods, rel)
	rt, err := b.runtime(ctx, l.log, file)
	if errors.Is(err, os.ErrNotExist) { // the container has ended: the log is complete
		l.wait = now.Add(relistEvery)
		return nil
	}
	if err != nil {
		l.wait = now.Add(relistEvery)
		return []Act{Act{Verb: ActRotate, Path: file}.failed(err)}
	}
	done, err := rotateContainer(ctx, b.host, file, rt, rotateOptions{Force: pressed, Followed: l.followed(now)}, now.In(b.zone))
	if done.Followed {
		l.read = now
	}
	var lag *Behind
	switch {
	case errors.As(err, &lag):
		l.lags = true
		l.wait = now.Add(min(max(time.Duration(lag.LagBytes/readSpeed)*time.Second, BurstEvery), relistEvery))
		return nil
	case errors.Is(err, unix.ENOENT), errors.Is(err, errReplaced):
		return nil // the kubelet was faster
	case err != nil:
		l.wait = now.Add(relistEvery)
	}
	l.lags, l.file = false, inode{}
	b.unsettle(rel, l.log)
	if done.Archive != "" && !done.Unread {
		b.fates.set(done.Archive, fateRead)
	} else if done.Archive != "" {
		b.fates.set(done.Archive, fateUnread)
	}
	return []Act{Act{
		Verb: ActRotate, Path: file, Archive: done.Archive, Bytes: size,
		Reason: "it outgrows " + Size(b.limit) + " faster than the kubelet looks",
	}.failed(err)}
}

func (b *Bursts) unsettle(rel string, l workload.Log) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.unsettled[rel] = l
}

// Settle looks once at the archives of every log that was rotated, or that a run
// before may have left in the middle of it.
func (b *Bursts) Settle(ctx context.Context, now time.Time) []Act {
	b.mu.Lock()
	all := b.unsettled
	b.unsettled = map[string]workload.Log{}
	b.mu.Unlock()
	var acts []Act
	for rel, l := range all {
		file := path.Join(b.pods, rel)
		runtime := func(ctx context.Context) (Runtime, error) { return b.runtime(ctx, l, file) }
		s, err := b.finisher.finish(ctx, file, runtime, now)
		acts = append(acts, s.acts(file)...)
		if err != nil && !errors.Is(err, unix.ENOENT) {
			acts = append(acts, Act{Verb: ActRepair, Path: file}.failed(err))
		}
		if err == nil && s.Waiting > 0 || ctx.Err() != nil {
			b.unsettle(rel, l)
		}
	}
	return acts
}

// list finds the live log of every container: the one with the highest number.
func (b *Bursts) list(now time.Time) {
	newest := map[string]workload.Log{}
	err := b.host.rootfs.walk(b.pods, func(dir, name string, _ *unix.Statx_t) {
		rel, _ := within(path.Join(dir, name), b.pods)
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
			b.unsettle(rel, l)
		}
	}
	b.logs = logs
	b.fates.keep(func(dir string) bool {
		rel, _ := within(dir, b.pods)
		_, ok := newest[rel]
		return ok
	})
}

func restartName(n int) string { return strconv.Itoa(n) + ".log" }
