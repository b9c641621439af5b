package bpf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/inotify"
)

// Alarm rings when an account has so many instances or watches that a limit is
// near.
//
// A timer of the kernel's looks at every account of the initial user namespace
// a hundred times a second, in 6 µs. Who takes them as fast as the kernel gives
// them is done before it expires, and keeps a CPU busy: so a program at the
// tracepoint hrtimer_expire_entry, which every tick of a busy CPU passes
// (CONFIG_HZ, 100 to 1000 a second), looks at the account of the task that the
// tick has interrupted, in 0.2 µs. No system call costs anything. A CPU without a
// tick (nohz_full) has the timer only.
type Alarm struct {
	objs  alarmObjects
	table *Table
	link  link.Link
	rings *ringbuf.Reader
	rec   ringbuf.Record
	sets  atomic.Uint32
	heard uint32 // the set of levels that has rung last
}

type alarmObjects struct {
	Alarm  *ebpf.Program `ebpf:"alarm"`
	Begin  *ebpf.Program `ebpf:"begin"`
	Alarms *ebpf.Map     `ebpf:"alarms"`
	Clocks *ebpf.Map     `ebpf:"clocks"` // the timer ends with it
}

// Rung is what a tick or the timer has seen.
type Rung struct {
	// Account is as it was then, without its limits.
	Account inotify.Charged
	at      uint64 // CLOCK_MONOTONIC
	by      uint32
}

// Who rings, as in ucounts.c.
const (
	tick uint32 = iota
	timer
)

// Since returns how long ago it was.
func (r Rung) Since() time.Duration { return time.Duration(monotonic() - r.at) }

func monotonic() uint64 {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // it cannot fail
	return uint64(now.Nano())
}

// NewAlarm starts the timer and attaches to the tick, and waits for a ring of
// each: 10 ms, and as long as a busy CPU needs for a tick. It needs what [Open]
// needs.
func (t *Table) NewAlarm() (*Alarm, error) { return t.newAlarm("hrtimer_expire_entry") }

func (t *Table) newAlarm(tracepoint string) (*Alarm, error) {
	spec, err := load(loadUcounts)
	if err != nil {
		return nil, err
	}
	a := &Alarm{table: t}
	err = spec.LoadAndAssign(&a.objs, &ebpf.CollectionOptions{MapReplacements: map[string]*ebpf.Map{".bss": t.objs.Memory}})
	debug.FreeOSMemory() // what the kernel's BTF took
	if err != nil {
		return nil, lacking(err)
	}
	if err := a.begin(tracepoint); err != nil {
		_ = a.Close()
		return nil, err
	}
	return a, nil
}

// begin starts what rings, one after the other: a tick may come at any time and
// would ring before the timer.
func (a *Alarm) begin(tracepoint string) (err error) {
	if a.rings, err = ringbuf.NewReader(a.objs.Alarms); err != nil {
		return err
	}
	code, err := a.objs.Begin.Run(&ebpf.RunOptions{})
	if err == nil && code != 0 {
		err = errors.New("the kernel gives none")
	}
	if err != nil {
		return fmt.Errorf("start a timer: %w", err)
	}
	if err := a.try(timer, timers); err != nil {
		return fmt.Errorf("no timer of the kernel's has expired: %w", err)
	}
	a.link, err = link.AttachRawTracepoint(link.RawTracepointOptions{Name: tracepoint, Program: a.objs.Alarm})
	if err != nil {
		return fmt.Errorf("attach to the tick: %w", err)
	}
	if err := a.try(tick, ticks); err != nil {
		return fmt.Errorf("no tick of a busy CPU has passed %s: %w", tracepoint, err)
	}
	return nil
}

// Close ends a Wait in progress, and gives everything back.
func (a *Alarm) Close() error {
	var errs []error
	if a.rings != nil {
		errs = append(errs, a.rings.Close())
	}
	if a.link != nil {
		errs = append(errs, a.link.Close())
	}
	return errors.Join(append(errs, a.objs.Alarm.Close(), a.objs.Begin.Close(), a.objs.Alarms.Close(), a.objs.Clocks.Close())...)
}

// Set makes the alarm ring once, when an account reaches its level.
func (a *Alarm) Set(at inotify.Levels) error {
	var levels [len(at.Fullest) + 1]ucountsLevel // FULLEST + 1
	set := a.sets.Add(1)
	level := func(l inotify.Level) ucountsLevel {
		return ucountsLevel{Instances: l.Instances, Watches: l.Watches, Uid: l.UID, Set: set}
	}
	least := level(at.Others)
	for i, l := range at.Fullest[:at.N] {
		levels[i] = level(l)
		least.Instances, least.Watches = min(least.Instances, l.Instances), min(least.Watches, l.Watches)
	}
	levels[len(levels)-1] = level(at.Others)
	if err := a.table.objs.Least.Set(&least); err != nil {
		return err
	}
	return a.table.objs.Levels.Set(&levels)
}

// Wait waits until the alarm rings, or is closed (os.ErrClosed).
func (a *Alarm) Wait() (Rung, error) {
	var rung ucountsRung
	// Two CPUs may ring for the same levels.
	for again := true; again; again = int32(rung.Set-a.heard) <= 0 {
		if err := a.rings.ReadInto(&a.rec); err != nil {
			return Rung{}, err
		}
		if err := binary.Read(bytes.NewReader(a.rec.RawSample), binary.NativeEndian, &rung); err != nil {
			return Rung{}, err
		}
	}
	a.heard = rung.Set
	return Rung{
		Account: inotify.Charged{
			Owner:     inotify.Owner{UserNS: inotify.InitialUserNS, UID: rung.Uid},
			Instances: rung.Instances, Watches: rung.Watches,
			InstancesLimit: inotify.NoLimit, WatchesLimit: inotify.NoLimit,
		},
		at: rung.At, by: rung.By,
	}, nil
}

// try makes an instance, which is to ring, and waits: for a tick with a busy CPU.
func (a *Alarm) try(by uint32, within time.Duration) error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if errors.Is(err, unix.EMFILE) {
		return nil // there are enough others
	}
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if _, err := a.table.Accounts(); err != nil { // which entry is charged
		return err
	}
	began := time.Now()
	a.rings.SetDeadline(began.Add(within))
	defer a.rings.SetDeadline(time.Time{})
	for {
		if err := a.Set(inotify.Levels{Others: inotify.Level{Instances: 1, Watches: math.MaxInt64}}); err != nil {
			return err
		}
		for by == tick && a.rings.AvailableBytes() == 0 && time.Since(began) < within {
		}
		rung, err := a.Wait()
		if err != nil || rung.by == by {
			return err
		}
	}
}

const (
	// ticks is ten ticks of a kernel with the lowest CONFIG_HZ, 100.
	ticks = 100 * time.Millisecond
	// timers is a hundred times as long as the timer takes.
	timers = time.Second
)
