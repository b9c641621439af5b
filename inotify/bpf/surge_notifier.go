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

// ThresholdNotifier wakes its reader when an account has so many instances or
// watches that a limit is near.
//
// A kernel timer checks every account of the initial user namespace a hundred times
// a second, in 6 µs. A process that takes instances as fast as the kernel creates
// them is done before the timer expires, and it keeps a CPU busy. So a second
// program checks the account of the task that a tick interrupts, in 0.2 µs. It is
// attached to the tracepoint hrtimer_expire_entry, which every tick of a busy CPU
// passes (CONFIG_HZ, 100 to 1000 a second), and checks once a jiffy on each CPU,
// however many other hrtimers expire. No system call becomes slower. A CPU without a
// tick (nohz_full) has the timer only.
type ThresholdNotifier struct {
	objs          notifierObjects
	table         *Table
	link          link.Link
	notifications *ringbuf.Reader
	rec           ringbuf.Record
	delivered     uint64 // the last generation that Wait has returned
}

type notifierObjects struct {
	CheckCurrent  *ebpf.Program `ebpf:"check_current"`
	StartTimer    *ebpf.Program `ebpf:"start_timer"`
	LastChecks    *ebpf.Map     `ebpf:"last_checks"`
	Notifications *ebpf.Map     `ebpf:"notifications"`
	Timers        *ebpf.Map     `ebpf:"timers"` // closing it cancels the timer
}

// Notification is the account that has reached its threshold.
type Notification struct {
	// Account is its use at that time. Its limits are not set.
	Account inotify.AccountUsage
	at      uint64 // CLOCK_MONOTONIC
	by      uint32
}

// The origin of a notification, as in ucounts.bpf.c.
const (
	tick uint32 = iota
	timer
)

// Since returns how long ago the kernel sent the notification.
func (n Notification) Since() time.Duration { return time.Duration(monotonic() - n.at) }

func monotonic() uint64 {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // it cannot fail
	return uint64(now.Nano())
}

// NewThresholdNotifier starts the timer, attaches to the tick, and waits for a
// notification of each. This takes 10 ms, and as long as a busy CPU needs for a
// tick. It has the requirements of [Open].
func (t *Table) NewThresholdNotifier() (*ThresholdNotifier, error) {
	return t.newThresholdNotifier(hrtimerExpire)
}

const hrtimerExpire = "hrtimer_expire_entry"

func (t *Table) newThresholdNotifier(tracepoint string) (*ThresholdNotifier, error) {
	spec, err := load(loadUcounts)
	if err != nil {
		return nil, err
	}
	return t.startNotifier(spec, tracepoint)
}

func (t *Table) startNotifier(spec *ebpf.CollectionSpec, tracepoint string) (*ThresholdNotifier, error) {
	n := &ThresholdNotifier{table: t}
	err := spec.LoadAndAssign(&n.objs, &ebpf.CollectionOptions{MapReplacements: map[string]*ebpf.Map{".bss": t.objs.Memory}})
	debug.FreeOSMemory() // of the decoded BTF
	if err != nil {
		return nil, missingRequirement(err)
	}
	if err := n.start(tracepoint); err != nil {
		_ = n.Close()
		return nil, err
	}
	return n, nil
}

// start starts and tests one program after the other. A tick can come at any time
// and would notify before the timer does.
func (n *ThresholdNotifier) start(tracepoint string) (err error) {
	if n.notifications, err = ringbuf.NewReader(n.objs.Notifications); err != nil {
		return err
	}
	code, err := n.objs.StartTimer.Run(&ebpf.RunOptions{})
	if err == nil && code != 0 {
		err = errors.New("the kernel refused it")
	}
	if err != nil {
		return fmt.Errorf("start a BPF timer: %w", err)
	}
	if err := n.selfTest(timer, timerTimeout); err != nil {
		return fmt.Errorf("wait for a BPF timer to expire: %w", err)
	}
	n.link, err = link.AttachRawTracepoint(link.RawTracepointOptions{Name: tracepoint, Program: n.objs.CheckCurrent})
	if err != nil {
		return fmt.Errorf("attach to tracepoint %s: %w", tracepoint, err)
	}
	if err := n.selfTest(tick, tickTimeout); err != nil {
		return fmt.Errorf("wait for a tick of a busy CPU at tracepoint %s: %w", tracepoint, err)
	}
	return nil
}

// Close ends a Wait in progress, detaches the programs and frees their memory.
func (n *ThresholdNotifier) Close() error {
	var errs []error
	if n.notifications != nil {
		errs = append(errs, n.notifications.Close())
	}
	if n.link != nil {
		errs = append(errs, n.link.Close())
	}
	return errors.Join(append(errs, n.objs.CheckCurrent.Close(), n.objs.StartTimer.Close(), n.objs.LastChecks.Close(), n.objs.Notifications.Close(), n.objs.Timers.Close())...)
}

// Set replaces the thresholds. The notifier sends one notification when an account
// reaches its threshold, and then none until the next Set. Each Set makes a new
// generation of thresholds, and a generation is disarmed only by a notification of
// its own that is in the ring buffer.
func (n *ThresholdNotifier) Set(at inotify.Thresholds) error {
	var thresholds [len(at.Fullest) + 1]ucountsThreshold // FULLEST + 1
	threshold := func(l inotify.Threshold) ucountsThreshold {
		return ucountsThreshold{Instances: l.Instances, Watches: l.Watches, Uid: l.UID, Valid: 1}
	}
	lowest := threshold(at.Others)
	for i, l := range at.Fullest[:at.N] {
		thresholds[i] = threshold(l)
		lowest.Instances, lowest.Watches = min(lowest.Instances, l.Instances), min(lowest.Watches, l.Watches)
	}
	thresholds[len(thresholds)-1] = threshold(at.Others)
	n.table.setting.Lock()
	defer n.table.setting.Unlock()
	if err := n.table.objs.Lowest.Set(&lowest); err != nil {
		return err
	}
	if err := n.table.objs.Thresholds.Set(&thresholds); err != nil {
		return err
	}
	// The last store arms the thresholds. The table counts, since a second notifier
	// of one table uses the same memory.
	n.table.generation++
	return n.table.objs.Generation.Set(n.table.generation)
}

// Wait waits for a notification. It returns os.ErrClosed after Close.
func (n *ThresholdNotifier) Wait() (Notification, error) {
	var got ucountsNotification
	// Two CPUs may notify for the same generation, and one may be late.
	for duplicate := true; duplicate; duplicate = got.Generation <= n.delivered {
		if err := n.notifications.ReadInto(&n.rec); err != nil {
			return Notification{}, err
		}
		if err := binary.Read(bytes.NewReader(n.rec.RawSample), binary.NativeEndian, &got); err != nil {
			return Notification{}, err
		}
	}
	n.delivered = got.Generation
	return Notification{
		Account: inotify.AccountUsage{
			Owner:     inotify.Owner{UserNS: inotify.InitialUserNS, UID: got.Uid},
			Instances: got.Instances, Watches: got.Watches,
			InstancesLimit: inotify.NoLimit, WatchesLimit: inotify.NoLimit,
		},
		at: got.At, by: got.By,
	}, nil
}

// selfTest makes an instance that reaches the threshold, and waits for the
// notification. It keeps a CPU busy while it waits for a tick.
func (n *ThresholdNotifier) selfTest(by uint32, timeout time.Duration) error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if errors.Is(err, unix.EMFILE) {
		return nil // the account has enough instances to notify in use
	}
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if _, err := n.table.Accounts(); err != nil { // finds the entry that is charged
		return err
	}
	began := time.Now()
	n.notifications.SetDeadline(began.Add(timeout))
	defer n.notifications.SetDeadline(time.Time{})
	for {
		if err := n.Set(inotify.Thresholds{Others: inotify.Threshold{Instances: 1, Watches: math.MaxInt64}}); err != nil {
			return err
		}
		for by == tick && n.notifications.AvailableBytes() == 0 && time.Since(began) < timeout {
		}
		got, err := n.Wait()
		if err != nil || got.by == by {
			return err
		}
	}
}

const (
	// tickTimeout is ten ticks of a kernel with the lowest CONFIG_HZ, 100.
	tickTimeout = 100 * time.Millisecond
	// timerTimeout is a hundred intervals of the timer.
	timerTimeout = time.Second
)
