package rotate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"sync"
	"time"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/hostfs"
)

// Options says how a log is rotated and what becomes of its archives.
type Options struct {
	Reopen   Reopen
	InPlace  bool // the writer cannot reopen: its log is copied and shortened
	Compress archive.Compression
	Archives int           // how many are kept; 0: all
	KeepFor  time.Duration // archives older than this go; 0: none does
	KeepSize uint64        // what a log and its archives may take, oldest first; 0: anything
	// LoseUnread says that the disk is short: archives go beyond KeepSize, or beyond
	// Archives and KeepFor without a KeepSize, although a reader has still to read
	// them, the oldest first.
	LoseUnread bool
	Grace      time.Duration // an archive is left alone for so long after it was last written
	Force      bool          // also where a reader is behind, whose lines may be lost to it

	// Asked is called with the process that was asked to reopen the log, and how
	// it was asked. It may be nil.
	Asked func(process string)
}

// Rotator rotates the logs of one host. It is for one goroutine.
type Rotator struct {
	Host *logdir.Host

	asked      map[hostfs.Inode]reopening // archives whose writer was asked to reopen
	gaveBack   map[string]time.Time       // logs whose writer did not
	remembered map[string]*content        // of the directories of the last Pass
	beside     *compressor                // nil: archives are compressed in the pass
}

// New returns a Rotator of the host whose root directory and procfs are
// mounted at rootfs and procfs. It acts below logPaths only.
func New(procfs, rootfs string, logPaths []string) (*Rotator, error) {
	host, err := logdir.OpenHost(procfs, rootfs, logPaths)
	if err != nil {
		return nil, err
	}
	return NewOn(host), nil
}

// NewOn returns a Rotator of a host that is open. Closing either closes
// both.
func NewOn(host *logdir.Host) *Rotator {
	return &Rotator{Host: host, asked: map[hostfs.Inode]reopening{}, gaveBack: map[string]time.Time{}, remembered: map[string]*content{}}
}

// CompressBeside makes passes compress archives beside them, one at a time: a large
// one delays no rotation. The next Pass returns what was compressed. What is being
// compressed ends with ctx, or with Close, and leaves nothing behind; running waits for it.
func (r *Rotator) CompressBeside(ctx context.Context, running *sync.WaitGroup) {
	r.beside = newCompressor(ctx, running)
}

// Close ends what is compressed beside the passes, and gives the descriptors back.
func (r *Rotator) Close() error {
	r.beside.close()
	return r.Host.Close()
}

// ReaderLagError is returned by Rotate for a log that a reader is far behind in: many
// collectors leave a rotated file some seconds later, whatever is unread.
type ReaderLagError struct {
	Path     string
	Reader   logdir.Opener
	LagBytes uint64
}

func (b *ReaderLagError) Error() string {
	if b.Reader.PID == 0 {
		return b.Path + ": the reader has not opened the new file yet; wait for it, or rotate all the same with force"
	}
	return fmt.Sprintf("%s: its reader %s[%d] has %d bytes to go; wait for it, or rotate all the same with force",
		b.Path, b.Reader.Comm, b.Reader.PID, b.LagBytes)
}

// maxIdleWait is how long logs wait for a moment in which nothing is written.
const maxIdleWait = 100 * time.Millisecond

// waitIdle waits for a moment in which nothing is written, and not long for it.
// tail -F and kubectl logs -f leave a file as soon as its name leads to another,
// and miss what its writer adds until it has reopened.
func waitIdle(live *os.File) {
	const look = 5 * time.Millisecond
	last := int64(-1)
	for range maxIdleWait / look {
		st, err := live.Stat()
		if err != nil || st.Size() == last {
			return
		}
		last = st.Size()
		time.Sleep(look)
	}
}

func openerNames(all []logdir.Opener) string {
	if s := listWriters(all); s != "" {
		return s
	}
	return "a process that cannot be seen from here, which takes CAP_SYS_PTRACE and the pids of the host"
}

// ErrReplaced means that another process rotated the log first.
var ErrReplaced = errors.New("another process replaced it in the meantime")

// ReplaceLog makes an empty file like live and exchanges the two.
func ReplaceLog(d *logdir.Dir, live *os.File, base, archiveName string) error {
	fresh, err := d.Create(archiveName)
	if err != nil {
		return err
	}
	defer func() { _ = fresh.Close() }()
	undo := func(err error) error {
		_ = fresh.Close()
		return errors.Join(err, d.RemoveStaleEmpty(archiveName))
	}
	if err := logdir.CopyAttributes(fresh, live); err != nil {
		return undo(err)
	}
	archive.SetOwn(fresh, false)
	archive.SetUnread(fresh, false) // the kubelet gives an archive its log's name back where the runtime does not reopen it
	if err := d.Exchange(archiveName, base); err != nil {
		return undo(err)
	}
	// Whatever had the name when it was looked at may have lost it since.
	same, err := d.IsFile(archiveName, live)
	if err == nil && !same {
		if err := d.Exchange(archiveName, base); err != nil {
			return err
		}
		return undo(fmt.Errorf("%s: %w", path.Join(d.Path, base), ErrReplaced))
	}
	if err == nil {
		archive.SetOwn(live, true)
	}
	// Nothing is synced: a crash brings back the old names or the new ones, and
	// both are whole. An fsync here would wait for what the writers have written.
	return err
}
