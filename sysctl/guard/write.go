package guard

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/workload"
	"github.com/nodetune/nodetune/sysctl"
)

// Write is one write of a managed key by another process, as the kernel met it
// before it took effect.
type Write struct {
	Key  sysctl.Key
	Time time.Time
	// Old is what the key held, New what was written; Unknown where the kernel
	// reads no number there.
	Old, New sysctl.Value
	// Effective is what took effect: New, or the floor or Old where Held.
	Effective sysctl.Value
	Held      bool

	PID, TID int // of the initial pid namespace
	UID      uint32
	// Comm is the name of the writing process, which the writer chose, or of its thread
	// where the program reads no more. It is "" where it is not known.
	Comm string
	// Cgroup is the path of the writer's cgroup below the root of its hierarchy:
	// that of version 2, or that of the memory controller where version 1 is
	// used. It has at most eight names, the outermost ones, where the program
	// reads it. It is "" where it is not known.
	Cgroup   string
	CgroupID uint64 // of version 2

	// Suppressed is how many writes of the key were not recorded since the
	// last recorded one, which are those past 100 a second.
	Suppressed uint64
}

// Workload is the pod and container, or the unit, of the writer's cgroup.
func (w Write) Workload() workload.Workload { return workload.FromCgroupPath(w.Cgroup) }

// Process names the writer for a message, quoted where the name is not plain:
// tuned[812], "a b"[812], or pid 812.
func (w Write) Process() string {
	if w.Comm == "" {
		return fmt.Sprintf("pid %d", w.PID)
	}
	return fmt.Sprintf("%s[%d]", quoted(w.Comm), w.PID)
}

func quoted(comm string) string {
	for _, c := range []byte(comm) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-_.:/+@", c) >= 0:
		default:
			return strconv.QuoteToASCII(comm)
		}
	}
	return comm
}

// Read waits for the next write of a managed key. It returns the error of ctx
// when that ends, and [os.ErrClosed] after [Guard.Close].
func (g *Guard) Read(ctx context.Context) (Write, error) {
	stop := context.AfterFunc(ctx, func() { _ = g.reader.Flush() })
	defer stop()
	for {
		if err := ctx.Err(); err != nil {
			return Write{}, err
		}
		err := g.reader.ReadInto(&g.record)
		if errors.Is(err, ringbuf.ErrFlushed) {
			continue // of this ctx, or late of an earlier one
		}
		if err != nil {
			return Write{}, err
		}
		var r guardWrite
		if _, err := binary.Decode(g.record.RawSample, binary.NativeEndian, &r); err != nil {
			return Write{}, fmt.Errorf("decode a record of a sysctl write: %w", err)
		}
		return g.write(&r), nil
	}
}

func (g *Guard) write(r *guardWrite) Write {
	w := Write{
		Time: time.Now().Add(-time.Duration(monotonic() - r.At)),
		Old:  sysctl.Value(r.Old), New: sysctl.Value(r.New), Effective: sysctl.Value(r.Effective), Held: r.Held != 0,
		PID: int(r.Tgid), TID: int(r.Tid), UID: r.Uid, Comm: text(r.Comm[:]),
		CgroupID: r.CgroupId, Suppressed: r.Suppressed,
	}
	g.mu.Lock()
	w.Key = g.keys[r.Key]
	g.mu.Unlock()
	switch {
	case r.Depth <= maxDepth:
		w.Cgroup = path(r)
	case r.CgroupId != rootInode: // which is that of all processes where version 1 is used
		w.Cgroup = g.names.path(g.root, r.CgroupId)
	}
	return w
}

// maxDepth is DEPTH of guard.c.
const maxDepth = 32

// path is that of the outermost eight names.
func path(r *guardWrite) string {
	if r.Depth == 0 {
		return "/"
	}
	slots := len(r.Cgroup)
	var b strings.Builder
	for i := int(r.Depth) - 1; i >= max(0, int(r.Depth)-slots); i-- {
		b.WriteByte('/')
		b.WriteString(text(r.Cgroup[i%slots][:]))
	}
	return b.String()
}

// text is a string of the kernel's, which ends with a NUL.
func text(c []int8) string {
	b := make([]byte, 0, len(c))
	for _, x := range c {
		b = append(b, byte(x))
	}
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b)
}

func monotonic() uint64 {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // it cannot fail
	return uint64(now.Nano())
}

// Counts are the writes of one key by other processes since [Open], recorded or
// not.
type Counts struct {
	Lowered, Raised, Same uint64
	Unread                uint64 // the new or the old value is no number
	Held                  uint64 // of all of these
	Suppressed            uint64 // of all of these, not recorded
}

// Counts returns the counts of each key that has been managed.
func (g *Guard) Counts() (map[sysctl.Key]Counts, error) {
	g.mu.Lock()
	keys := g.keys
	g.mu.Unlock()
	all := make(map[sysctl.Key]Counts, len(keys))
	for i, key := range keys {
		var c guardCounts
		if err := g.coll.Maps[guardMapCounts].LookupWithFlags(uint32(i), &c, ebpf.LookupLock); err != nil {
			return nil, fmt.Errorf("count the writes of %s: %w", key, err)
		}
		all[key] = Counts{Lowered: c.Lowered, Raised: c.Raised, Same: c.Same, Unread: c.Unread, Held: c.Held, Suppressed: c.Suppressed}
	}
	return all, nil
}
