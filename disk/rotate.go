package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/workload"
)

// How says how a log is rotated and what becomes of its archives.
type How struct {
	Reopen   Reopen
	InPlace  bool // the writer cannot reopen: its log is copied and shortened
	Compress Compression
	Archives int           // how many are kept; 0: all
	KeepFor  time.Duration // archives older than this go; 0: none does
	KeepSize uint64        // what a log and its archives may take, oldest first; 0: anything
	Grace    time.Duration // an archive is left alone for so long after it was last written
	Force    bool          // also where a reader is behind, whose lines may be lost to it

	// Asked is told who was asked to reopen the log, and how; nil for nobody.
	Asked func(who string)
}

// Rotator rotates the logs of one host. It is for one goroutine.
type Rotator struct {
	host  *Host
	asked map[inode]time.Time // when the writer of an archive was last asked to reopen
}

// NewRotator returns a Rotator of the host whose root directory and procfs are
// mounted at rootfs and procfs. It acts below logPaths only.
func NewRotator(procfs, rootfs string, logPaths []string) (*Rotator, error) {
	host, err := OpenHost(procfs, rootfs, logPaths)
	if err != nil {
		return nil, err
	}
	return NewRotatorOn(host), nil
}

// NewRotatorOn returns a Rotator of a host that is open. Closing either closes
// both.
func NewRotatorOn(host *Host) *Rotator {
	return &Rotator{host: host, asked: map[inode]time.Time{}}
}

// Close gives the descriptors back.
func (r *Rotator) Close() error { return r.host.Close() }

// Behind is returned by Rotate for a log that a reader is far behind in: many
// collectors leave a rotated file some seconds later, whatever is unread.
type Behind struct {
	Path     string
	Reader   Holder
	LagBytes uint64
}

func (b *Behind) Error() string {
	if b.Reader.PID == 0 {
		return b.Path + ": whoever reads it has not opened the new file yet; wait for it, or rotate all the same with force"
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
func (r *Rotator) Rotate(ctx context.Context, file string, how How, now time.Time) (string, error) {
	d, err := r.host.open(path.Dir(file))
	if err != nil {
		return "", err
	}
	defer d.close()
	if _, ok := workload.ParseLogPath(file); ok {
		return "", refusef("%s is a container's log: the kubelet and its runtime rotate it", file)
	}
	base := path.Base(file)
	live, st, err := d.file(base, unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer func() { _ = live.Close() }()
	if st.Size == 0 {
		return "", nil
	}
	at := inode{dev: unix.Mkdev(st.Dev_major, st.Dev_minor), ino: st.Ino}
	who, err := r.host.openers(ctx, base, at)
	if err != nil {
		return "", err
	}
	if o, ok := behind(who[at], st.Size, readMargin); ok && !how.Force {
		return "", &Behind{Path: file, Reader: o, LagBytes: st.Size - o.OffsetBytes}
	}
	idle, err := Probe(int(live.Fd()))
	if err != nil {
		return "", fmt.Errorf("probe %s: %w", file, err)
	}
	if idle != Unheld && len(who[at]) == 0 && (idle == Written || !how.Force) {
		return "", refusef("%s is %s by %s: whether it may be rotated is not known", file, idle, named(nil))
	}
	if how.InPlace {
		archiveName, err := rotateInPlace(ctx, d, base, who[at], now)
		if err != nil {
			return "", err
		}
		return path.Join(d.path, archiveName), nil
	}
	if idle == Written {
		switch {
		case how.Reopen.isZero():
			return "", refusef("%s is written by %s: say who is to reopen it (a unit or a process), or rotate it in place", file, named(who[at]))
		case !r.host.walker.Ours():
			return "", refusef("%s is written by %s, which cannot be told to reopen it: the pids here are those of another pid namespace; run with hostPID", file, named(who[at]))
		}
		if err := how.Reopen.check(r.host.walker, r.host.procfs, who[at]); err != nil {
			return "", fmt.Errorf("%s stays as it is: %w", file, err)
		}
	}
	archiveName, release, err := lockAndName(d, live, base, now)
	if err != nil {
		return "", err
	}
	defer release()
	waitIdle(live)
	if err := replaceLog(d, live, base, archiveName); err != nil {
		return "", err
	}
	if idle == Written {
		if err := r.ask(how, at, who[at], now); err != nil {
			return path.Join(d.path, archiveName), err
		}
	}
	return path.Join(d.path, archiveName), nil
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

func named(all []Holder) string {
	if s := list(all); s != "" {
		return s
	}
	return "a process that cannot be seen from here, which takes CAP_SYS_PTRACE and the pids of the host"
}

// errReplaced says that somebody else has rotated the log.
var errReplaced = errors.New("it was replaced by somebody else meanwhile")

// replaceLog makes an empty file like live and exchanges the two.
func replaceLog(d *folder, live *os.File, base, archiveName string) error {
	fresh, err := d.create(archiveName)
	if err != nil {
		return err
	}
	defer func() { _ = fresh.Close() }()
	undo := func(err error) error {
		_ = fresh.Close()
		return errors.Join(err, d.abandonedEmpty(archiveName))
	}
	if err := copyAttributes(fresh, live); err != nil {
		return undo(err)
	}
	mark(fresh, false) // the kubelet gives an archive its log's name back where nobody reopens it
	if err := d.exchange(archiveName, base); err != nil {
		return undo(err)
	}
	// Whatever had the name when it was looked at may have lost it since.
	same, err := d.is(archiveName, live)
	if err == nil && !same {
		if err := d.exchange(archiveName, base); err != nil {
			return err
		}
		return undo(fmt.Errorf("%s: %w", path.Join(d.path, base), errReplaced))
	}
	// Nothing is synced: a crash brings back the old names or the new ones, and
	// both are whole. An fsync here would wait for what the writers have written.
	return err
}

// askAgain is how long a writer may take to reopen before it is asked again.
const askAgain = 10 * time.Second

func (r *Rotator) ask(how How, at inode, who []Holder, now time.Time) error {
	if last, ok := r.asked[at]; ok && now.Sub(last) < askAgain && !now.Before(last) {
		return nil
	}
	if !slices.ContainsFunc(who, func(o Holder) bool { return o.Writes }) {
		return nil // it has reopened since the lease was asked, or cannot be seen: the next call looks again
	}
	asked, err := how.Reopen.ask(r.host.walker, r.host.procfs, who)
	if err == nil {
		r.asked[at] = now
		if how.Asked != nil {
			how.Asked(asked)
		}
	}
	return err
}
