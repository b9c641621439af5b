package rotate

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"path"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/hostfs"
)

// compression is an archive to be compressed.
type compression struct {
	dir, name string
	how       archive.Compression
	bytes     uint64
	base      string // its log
}

func (c compression) path() string { return path.Join(c.dir, c.name) }

// retryCompression is how long an archive is not tried again that could not be
// compressed.
const retryCompression = 10 * time.Minute

// maxQueued bounds the archives that wait. Those beyond it are found by a later pass.
const maxQueued = 10_000

// compressor compresses archives beside the passes, one at a time and the smallest
// first. A nil compressor has none. Nothing is lost when it ends early: an archive stays until
// its compressed form is complete.
type compressor struct {
	compress func(ctx context.Context, d *logdir.Dir, name string, c archive.Compression) error

	ctx     context.Context // ends with close
	cancel  context.CancelFunc
	running sync.WaitGroup
	beside  *sync.WaitGroup // of the caller

	mu     sync.Mutex
	queue  []compression
	queued map[string]bool // by path, with the one that is being compressed
	acts   []logdir.Action // since the last take
	failed map[string]time.Time
}

func newCompressor(ctx context.Context, beside *sync.WaitGroup) *compressor {
	ctx, cancel := context.WithCancel(ctx)
	return &compressor{compress: archive.Compress, ctx: ctx, cancel: cancel, beside: beside, queued: map[string]bool{}, failed: map[string]time.Time{}}
}

// close ends the compression that runs, and waits for it.
func (c *compressor) close() {
	if c != nil {
		c.cancel()
		c.running.Wait()
	}
}

// has reports whether the archive at a path waits, or is being compressed: it is in use.
func (c *compressor) has(file string) bool {
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queued[file]
}

// Compress compresses an archive of size bytes beside the passes. It returns false
// where it does not: the Rotator compresses in its passes.
func (r *Rotator) Compress(file string, how archive.Compression, size uint64) bool {
	if r.beside == nil {
		return false
	}
	base, _ := archive.ParseName([]byte(path.Base(file)))
	r.beside.add(r.Host, []compression{{path.Dir(file), path.Base(file), how, size, string(base)}})
	return true
}

// Compressing reports whether an archive waits to be compressed, or is being compressed.
func (r *Rotator) Compressing(file string) bool { return r.beside.has(file) }

// FailedToCompress reports whether Compress failed for the archive lately, as where there
// is no room.
func (r *Rotator) FailedToCompress(file string) bool {
	if r.beside == nil {
		return false
	}
	r.beside.mu.Lock()
	defer r.beside.mu.Unlock()
	at, ok := r.beside.failed[file]
	return ok && time.Since(at) < retryCompression
}

// take returns what was done since the last call.
func (c *compressor) take() []logdir.Action {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	acts := c.acts
	c.acts = nil
	return acts
}

// add queues archives on the host.
func (c *compressor) add(host *logdir.Host, all []compression) {
	if c == nil || len(all) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	idle := len(c.queued) == 0
	for _, x := range all {
		if len(c.queued) < maxQueued && !c.queued[x.path()] {
			c.queued[x.path()] = true
			c.queue = append(c.queue, x)
		}
	}
	slices.SortStableFunc(c.queue, func(a, b compression) int { return cmp.Compare(a.bytes, b.bytes) })
	if idle && len(c.queue) > 0 && c.ctx.Err() == nil {
		root, logPaths := host.Rootfs, slices.Clone(host.LogPaths) // the caller changes these
		c.running.Add(1)
		c.beside.Go(func() {
			defer c.running.Done()
			c.run(root, logPaths)
		})
	}
}

func (c *compressor) run(root hostfs.Root, logPaths []string) {
	for {
		c.mu.Lock()
		if len(c.queue) == 0 || c.ctx.Err() != nil {
			c.queue = nil
			clear(c.queued)
			c.mu.Unlock()
			return
		}
		x := c.queue[0]
		c.queue = c.queue[1:]
		c.mu.Unlock()
		err := c.compressOne(root, logPaths, x)
		c.mu.Lock()
		delete(c.queued, x.path())
		c.record(x, err)
		last := len(c.queued) == 0
		c.mu.Unlock()
		if last {
			return
		}
	}
}

// record keeps the result for the next take, unless a later pass tries again.
func (c *compressor) record(x compression, err error) {
	a := logdir.Action{
		Verb: logdir.ActionCompress, Path: x.path() + x.how.Suffix(), Bytes: x.bytes,
		Reason: "an archive of " + path.Join(x.dir, x.base) + " that no process has open",
	}
	switch {
	case errors.Is(err, unix.ENOENT), c.ctx.Err() != nil:
		return
	case errors.Is(err, logdir.ErrInUse): // maybe for ever: Reclaim goes on with the next class
		c.fail(x.path())
		return
	case err != nil:
		a.Path = x.path()
		c.fail(x.path())
	}
	if len(c.acts) < maxQueued {
		c.acts = append(c.acts, a.WithError(err))
	}
}

// fail remembers an archive that could not be compressed. c is locked.
func (c *compressor) fail(file string) {
	maps.DeleteFunc(c.failed, func(_ string, at time.Time) bool { return time.Since(at) > retryCompression })
	if len(c.failed) < maxQueued {
		c.failed[file] = time.Now()
	}
}

func (c *compressor) compressOne(root hostfs.Root, logPaths []string, x compression) error {
	d, err := logdir.OpenDir(root, logPaths, x.dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return c.compress(c.ctx, d, x.name, x.how)
}
