package rotate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/hostfs"
	"github.com/nodetune/nodetune/internal/workload"
)

// Options says how a log is rotated and what becomes of its archives.
type Options struct {
	Reopen   Reopen
	InPlace  bool // the writer cannot reopen: its log is copied and shortened
	Compress archive.Compression
	Archives int           // how many are kept; 0: all
	KeepFor  time.Duration // archives older than this go; 0: none does
	KeepSize uint64        // what a log and its archives may take, oldest first; 0: anything
	// LoseUnread says that the disk is short: archives go beyond KeepSize although a
	// reader has still to read them, the oldest first.
	LoseUnread bool
	Grace      time.Duration // an archive is left alone for so long after it was last written
	Force      bool          // also where a reader is behind, whose lines may be lost to it

	// Asked is called with the process that was asked to reopen the log, and how
	// it was asked. It may be nil.
	Asked func(process string)
}

// Rotator rotates the logs of one host. It is for one goroutine.
type Rotator struct {
	Host  *logdir.Host
	asked map[hostfs.Inode]time.Time // when the writer of an archive was last asked to reopen
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
	return &Rotator{Host: host, asked: map[hostfs.Inode]time.Time{}}
}

// Close gives the descriptors back.
func (r *Rotator) Close() error { return r.Host.Close() }

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

// Rotate gives the log at the path file of the host a new, empty file and
// returns the path of the archive that has its lines. An empty log is left
// alone, and the archive is "".
//
// The path is never missing: the new file is made under the archive's name,
// with owner, mode, ACL and label of the old one, and the two exchange their
// names. A crash before that leaves an empty archive; after it, the next
// Settle asks the writer to reopen.
func (r *Rotator) Rotate(ctx context.Context, file string, how Options, now time.Time) (string, error) {
	d, err := r.Host.Open(path.Dir(file))
	if err != nil {
		return "", err
	}
	defer d.Close()
	if _, ok := workload.ParseLogPath(file); ok {
		return "", logdir.Skipf("%s is a container's log: the kubelet and its runtime rotate it", file)
	}
	base := path.Base(file)
	live, st, err := d.OpenFile(base, unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer func() { _ = live.Close() }()
	if st.Size == 0 {
		return "", nil
	}
	at := hostfs.Inode{Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Ino: st.Ino}
	openers, err := r.Host.Openers(ctx, base, at)
	if err != nil {
		return "", err
	}
	o, behind := logdir.Behind(openers[at], &st, logdir.ReadMargin)
	if behind && !how.Force {
		return "", &ReaderLagError{Path: file, Reader: o, LagBytes: st.Size - o.OffsetBytes}
	}
	idle, err := logdir.Probe(int(live.Fd()))
	if err != nil {
		return "", fmt.Errorf("probe %s: %w", file, err)
	}
	if idle != logdir.Unused && len(openers[at]) == 0 && (idle == logdir.UsedByWriter || !how.Force) {
		return "", logdir.Skipf("%s is %s by %s: nodetune does not know whether it may rotate it", file, idle, openerNames(nil))
	}
	if how.InPlace {
		archiveName, err := rotateInPlace(ctx, d, base, openers[at], now)
		if err != nil {
			return "", err
		}
		return path.Join(d.Path, archiveName), nil
	}
	if idle == logdir.UsedByWriter {
		switch {
		case how.Reopen.IsZero():
			return "", logdir.Skipf("%s is written by %s: name the unit or the process that is to reopen it, or rotate it in place", file, openerNames(openers[at]))
		case !r.Host.Walker.InHostPIDNamespace():
			return "", logdir.Skipf("%s is written by %s, which cannot be asked to reopen it: the pids here are those of another pid namespace; run with hostPID", file, openerNames(openers[at]))
		}
		if err := how.Reopen.check(r.Host.Walker, r.Host.Procfs, openers[at]); err != nil {
			return "", fmt.Errorf("%s stays as it is: %w", file, err)
		}
	}
	archiveName, release, err := lockAndName(d, live, base, now)
	if err != nil {
		return "", err
	}
	defer release()
	waitIdle(live)
	if err := ReplaceLog(d, live, base, archiveName); err != nil {
		return "", err
	}
	if behind { // until it is read, only the class unread may take it
		archive.SetUnread(live, true)
	}
	if idle == logdir.UsedByWriter {
		if err := r.requestReopen(how, at, openers[at], now); err != nil {
			return path.Join(d.Path, archiveName), err
		}
	}
	return path.Join(d.Path, archiveName), nil
}

// waitIdle waits for a moment in which nothing is written, and not long for it.
// tail -F and kubectl logs -f leave a file as soon as its name leads to another,
// and miss what its writer adds until it has reopened.
func waitIdle(live *os.File) {
	const look, most = 5 * time.Millisecond, 100 * time.Millisecond
	last := int64(-1)
	for range most / look {
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

// ReopenInterval is how long a writer may take to reopen before it is asked again.
const ReopenInterval = 10 * time.Second

func (r *Rotator) requestReopen(how Options, at hostfs.Inode, openers []logdir.Opener, now time.Time) error {
	if last, ok := r.asked[at]; ok && now.Sub(last) < ReopenInterval && !now.Before(last) {
		return nil
	}
	if !slices.ContainsFunc(openers, func(o logdir.Opener) bool { return o.Writes }) {
		return nil // it has reopened since the lease was asked, or cannot be seen: the next call looks again
	}
	asked, err := how.Reopen.request(r.Host.Walker, r.Host.Procfs, openers)
	if err == nil {
		r.asked[at] = now
		if how.Asked != nil {
			how.Asked(asked)
		}
	}
	return err
}
