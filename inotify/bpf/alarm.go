package bpf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/inotify"
)

// Alarm rings when somebody who keeps a CPU busy has taken so many instances or
// watches that a limit is near.
//
// It is a program at the tracepoint hrtimer_expire_entry, which every tick of a
// busy CPU passes (CONFIG_HZ, 100 to 1000 a second) and an idle one does not. It
// looks at the account of the task that the tick has interrupted, in the initial
// user namespace: 0.2 µs, and nothing on any system call. So it does not see who
// sleeps in between, which is who can be looked at from time to time, nor a
// watch that is charged to another user than the one who adds it. A CPU without
// a tick (nohz_full) has no alarm.
type Alarm struct {
	objs  alarmObjects
	table *Table
	link  link.Link
	rings *ringbuf.Reader
	rec   ringbuf.Record
}

type alarmObjects struct {
	Alarm  *ebpf.Program `ebpf:"alarm"`
	Alarms *ebpf.Map     `ebpf:"alarms"`
}

// Rung is what a tick has seen.
type Rung struct {
	// Account is as it was then, without its limits.
	Account inotify.Charged
	at      uint64 // CLOCK_MONOTONIC
}

// Since returns how long ago it was.
func (r Rung) Since() time.Duration { return time.Duration(monotonic() - r.at) }

func monotonic() uint64 {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // it cannot fail
	return uint64(now.Nano())
}

// NewAlarm attaches the program and waits for an alarm of its own making, as
// long as a busy CPU needs for a tick. It needs what [Open] needs, and Linux
// 5.8 (ring buffer).
func (t *Table) NewAlarm() (*Alarm, error) { return t.newAlarm("hrtimer_expire_entry") }

func (t *Table) newAlarm(tracepoint string) (*Alarm, error) {
	spec, err := loadUcounts()
	if err != nil {
		return nil, err
	}
	a := &Alarm{table: t}
	err = spec.LoadAndAssign(&a.objs, &ebpf.CollectionOptions{MapReplacements: map[string]*ebpf.Map{".bss": t.objs.Memory}})
	debug.FreeOSMemory() // what the kernel's BTF took
	if err != nil {
		return nil, lacking(err)
	}
	if a.rings, err = ringbuf.NewReader(a.objs.Alarms); err == nil {
		a.link, err = link.AttachRawTracepoint(link.RawTracepointOptions{Name: tracepoint, Program: a.objs.Alarm})
	}
	if err == nil {
		err = a.try()
	}
	if err != nil {
		_ = a.Close()
		return nil, fmt.Errorf("attach to the tick: %w", err)
	}
	return a, nil
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
	return errors.Join(append(errs, a.objs.Alarm.Close(), a.objs.Alarms.Close())...)
}

// Set makes the alarm ring once, when an account reaches its level.
func (a *Alarm) Set(at inotify.Levels) error {
	var levels [len(at.Fullest) + 1]ucountsLevel // FULLEST + 1
	for i, l := range at.Fullest[:at.N] {
		levels[i] = level(l)
	}
	levels[len(levels)-1] = level(at.Others)
	return a.table.objs.Levels.Set(&levels)
}

func level(l inotify.Level) ucountsLevel {
	return ucountsLevel{Instances: l.Instances, Watches: l.Watches, Uid: l.UID, Set: 1}
}

// Wait waits until the alarm rings, or is closed (os.ErrClosed).
func (a *Alarm) Wait() (Rung, error) {
	if err := a.rings.ReadInto(&a.rec); err != nil {
		return Rung{}, err
	}
	var rung ucountsRung
	if err := binary.Read(bytes.NewReader(a.rec.RawSample), binary.NativeEndian, &rung); err != nil {
		return Rung{}, err
	}
	return Rung{
		Account: inotify.Charged{
			Owner:     inotify.Owner{UserNS: initialUserNS, UID: rung.Uid},
			Instances: rung.Instances, Watches: rung.Watches,
			InstancesLimit: inotify.NoLimit, WatchesLimit: inotify.NoLimit,
		},
		at: rung.At,
	}, nil
}

// initialUserNS is PROC_USER_INIT_INO in linux/proc_ns.h.
const initialUserNS = 0xEFFFFFFD

// try sets the alarm to an instance of nodetune's own, and keeps the CPU busy.
func (a *Alarm) try() error {
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
	if err := a.Set(inotify.Levels{Others: inotify.Level{Instances: 1, Watches: math.MaxInt64}}); err != nil {
		return err
	}
	for began := time.Now(); time.Since(began) < ticks; {
		if a.rings.AvailableBytes() > 0 {
			_, err := a.Wait()
			return err
		}
	}
	return fmt.Errorf("no tick has passed hrtimer_expire_entry for %s of a busy CPU", ticks)
}

// ticks is ten ticks of a kernel with the lowest CONFIG_HZ, 100.
const ticks = 100 * time.Millisecond
