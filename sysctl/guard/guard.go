package guard

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/sysctl"
)

// Mode is what happens to a write below a floor.
type Mode uint8

// The modes of a guard.
const (
	Observe Mode = iota // it is recorded
	Hold                // and takes effect as the floor
)

// Options are what [Open] needs.
type Options struct {
	Procfs string // where procfs is mounted
	// Cgroupfs is where cgroups are mounted: version 2, or a directory of
	// version 1 with version 2 at "unified" in it. Without either, [Open]
	// mounts version 2 for itself.
	Cgroupfs string
	// Floors are the managed keys. A floor of 0 records writes and holds none.
	Floors map[sysctl.Key]sysctl.Value
	Mode   Mode
	// BTF is that of the kernel where other programs have decoded it already.
	// To decode it takes 25 ms and 5 MiB, which Open gives back.
	BTF *btf.Cache
}

// Guard is an attached program. One goroutine may call [Guard.Read]; the other
// methods are safe for concurrent use.
type Guard struct {
	procfs string
	root   *os.File
	limits []string
	// replaces is whether the kernel heeds what a program sets in place of a
	// written value.
	replaces bool

	coll   *ebpf.Collection
	link   link.Link
	id     ebpf.ProgramID
	reader *ringbuf.Reader
	record ringbuf.Record
	names  cgroupNames

	mu    sync.Mutex
	keys  []sysctl.Key // by their place in the map of counts
	index map[sysctl.Key]uint32
}

// Open loads the program, attaches it, and has it see a read of its own. The
// error is an [UnavailableError] where the kernel or nodetune lack something.
func Open(o Options) (*Guard, error) {
	if _, err := entries(o.Floors); err != nil {
		return nil, err
	}
	if missing := missingCapabilities(); missing != "" {
		return nil, &UnavailableError{Needs: missing, Err: unix.EPERM}
	}
	root, err := openRoot(o.Cgroupfs)
	if err != nil {
		return nil, err
	}
	g := &Guard{procfs: o.Procfs, root: root, index: map[sysctl.Key]uint32{}}
	if err := g.open(o); err != nil {
		_ = g.Close()
		return nil, err
	}
	return g, nil
}

func (g *Guard) open(o Options) error {
	program, err := g.load(o.BTF)
	if err != nil {
		return err
	}
	if g.reader, err = ringbuf.NewReader(g.coll.Maps[guardMapWrites]); err != nil {
		return fmt.Errorf("read the ring buffer of sysctl writes: %w", err)
	}
	// Never link.AttachCgroup: without links, it attaches what outlives the process.
	g.link, err = link.AttachRawLink(link.RawLinkOptions{Target: int(g.root.Fd()), Program: program, Attach: ebpf.AttachCGroupSysctl})
	if err != nil {
		return attachProblem(err)
	}
	if err := g.try(o); err != nil {
		return err
	}
	if err := g.SetFloors(o.Floors); err != nil {
		return err
	}
	return g.SetMode(o.Mode)
}

// load tries what names the writer best, then what needs less.
func (g *Guard) load(types *btf.Cache) (*ebpf.Program, error) {
	if types == nil {
		types = btf.NewCache()
		defer debug.FreeOSMemory()
	}
	spec, err := loadGuard()
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, way := range ways {
		one := spec.Copy()
		for name := range one.Programs {
			if name != way.program {
				delete(one.Programs, name)
			}
		}
		coll, err := ebpf.NewCollectionWithOptions(one, ebpf.CollectionOptions{Cache: types})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		g.coll = coll
		if len(errs) > 0 {
			g.limits = limits(way, errs[0])
		}
		program := coll.Programs[way.program]
		if info, err := program.Info(); err == nil {
			g.id, _ = info.ID()
		}
		return program, nil
	}
	return nil, loadProblem(errs[len(errs)-1])
}

// try has the program see which pid the kernel gives this process, which may be
// in a pid namespace, and whether the kernel heeds a value that a program sets.
// Both are done at an offset that no other process reads or writes at, and at
// which the kernel reads nothing and ignores what is written.
func (g *Guard) try(o Options) error {
	token := rand.Uint32() | 1<<31
	if err := g.coll.Variables[guardVarToken].Set(token); err != nil {
		return err
	}
	read := readAt(o.Procfs, int64(token), o.Floors)
	g.replaces = replacesAt(o.Procfs, int64(token))
	if err := g.coll.Variables[guardVarToken].Set(uint32(0)); err != nil {
		return err
	}
	if g.replaces {
		if err := g.coll.Variables[guardVarReplaces].Set(uint8(1)); err != nil {
			return err
		}
	}
	var self uint32
	if err := g.coll.Variables[guardVarSelf].Get(&self); err != nil {
		return err
	}
	switch {
	case self != 0:
		return nil
	case read != nil:
		return fmt.Errorf("try the guard with a read of a kernel setting: %w", read)
	}
	return &UnavailableError{Needs: "a cgroup root that this process is below", Err: errors.New("the attached program does not run for reads of this process")}
}

func readAt(procfs string, offset int64, floors map[sysctl.Key]sysctl.Value) error {
	keys := []sysctl.Key{"kernel.ostype"}
	for key := range floors {
		keys = append(keys, key)
	}
	var errs []error
	for _, key := range keys {
		f, err := os.Open(filepath.Join(procfs, "sys", key.Path()))
		if err == nil {
			_, err = unix.Pread(int(f.Fd()), make([]byte, 1), offset)
			_ = f.Close()
		}
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// replacesAt writes two bytes, for which the program sets one. Neither is a
// number. It returns false where this process may not write.
func replacesAt(procfs string, offset int64) bool {
	f, err := os.OpenFile(filepath.Join(procfs, "sys", sysctl.MaxQueuedEvents.Path()), os.O_WRONLY, 0)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	n, err := unix.Pwrite(int(f.Fd()), []byte("xx"), offset)
	return err == nil && n == 1
}

// Close detaches the program. A [Guard.Read] in progress returns [os.ErrClosed].
func (g *Guard) Close() error {
	var errs []error
	if g.link != nil {
		errs = append(errs, g.link.Close())
	}
	if g.reader != nil {
		errs = append(errs, g.reader.Close())
	}
	if g.coll != nil {
		g.coll.Close()
	}
	return errors.Join(append(errs, g.root.Close())...)
}

// Limits are what is not known of writes, each with what is missing for it.
// There are none with all capabilities on a kernel with BTF.
func (g *Guard) Limits() []string { return g.limits }

// ProgramID is that of the attached program, as [Programs] lists it.
func (g *Guard) ProgramID() uint32 { return uint32(g.id) }

// SetMode changes the mode, for writes from now on.
func (g *Guard) SetMode(m Mode) error {
	hold := uint8(0)
	if m == Hold {
		hold = 1
	}
	return g.coll.Variables[guardVarHold].Set(hold)
}

// Allow lets writes of a process pass in mode [Hold]; they are recorded. The
// pid is that of the initial pid namespace. Call revoke when the process ends,
// since the kernel gives its pid to another one.
func (g *Guard) Allow(pid int) (revoke func() error, err error) {
	allowed := g.coll.Maps[guardMapAllowed]
	if err := allowed.Put(uint32(pid), uint8(1)); err != nil {
		return nil, fmt.Errorf("allow process %d to write below the floors: %w", pid, err)
	}
	return func() error { return allowed.Delete(uint32(pid)) }, nil
}
