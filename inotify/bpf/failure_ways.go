package bpf

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/inotify"
)

// Way is how a [FailureCounter] sees the result of a system call.
type Way string

const (
	// Fexit runs a program at the end of the functions of these calls. No other
	// system call becomes slower. It needs Linux 5.5 on x86-64 or 6.4 on arm64, and
	// CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS.
	Fexit Way = "fexit"
	// KprobeMulti is a return probe through fprobe (Linux 5.18, CONFIG_FPROBE). No
	// other system call becomes slower.
	KprobeMulti Way = "kprobe_multi"
	// Kretprobe is a return probe for each function (CONFIG_KPROBE_EVENTS). No other
	// system call becomes slower. Where more calls sleep in one function at the same
	// time than the kernel has room for, it misses the result of the others: the room
	// is the larger of 10 and twice the number of CPUs.
	Kretprobe Way = "kretprobe"
	// Tracepoint is the tracepoint at the exit of each call (CONFIG_FTRACE_SYSCALLS).
	// It needs a readable tracefs at /sys/kernel/tracing, which only uid 0 has. While
	// such a tracepoint is enabled, every system call of the node takes a slower path
	// in the kernel, 36 ns longer on the machine of BenchmarkFailures.
	Tracepoint Way = "tracepoint"
)

// FreeWays returns the ways that make no other system call slower, the best first.
func FreeWays() []Way { return []Way{Fexit, KprobeMulti, Kretprobe} }

// AllWays returns all ways, the best first.
func AllWays() []Way { return append(FreeWays(), Tracepoint) }

// oldInit is inotify_init(2), which some platforms do not have.
const oldInit = "inotify_init"

var tracedCalls = []string{"inotify_init1", oldInit, "inotify_add_watch"}

// programsOf has the program of each system call, by way.
var programsOf = map[Way]map[string]string{
	Fexit:       {"inotify_init1": "init_fexit", oldInit: "old_init_fexit", "inotify_add_watch": "add_watch_fexit"},
	KprobeMulti: {"inotify_init1": "init_return", oldInit: "init_return", "inotify_add_watch": "add_watch_return"},
	Kretprobe:   {"inotify_init1": "init_return", oldInit: "init_return", "inotify_add_watch": "add_watch_return"},
	Tracepoint:  {"inotify_init1": "init_exit", oldInit: "init_exit", "inotify_add_watch": "add_watch_exit"},
}

// functionPrefix is that of the kernel's function of a system call
// (arch/*/include/asm/syscall_wrapper.h).
var functionPrefix = map[string]string{"amd64": "__x64_sys_", "arm64": "__arm64_sys_"}[runtime.GOARCH]

// openWay loads the programs of one way, attaches them, and tests them.
func openWay(w Way, spec *ebpf.CollectionSpec, types *Types) (*FailureCounter, error) {
	if functionPrefix == "" && w != Tracepoint {
		return nil, fmt.Errorf("the name of the kernel's functions on %s is not known", runtime.GOARCH)
	}
	if err := requireAttachable(w); err != nil {
		return nil, err
	}
	spec = spec.Copy()
	of, absent := programsOf[w], ""
	if w == Fexit {
		var err error
		if absent, err = functionsInBTF(types); err != nil {
			return nil, err
		}
	}
	for name, p := range spec.Programs {
		call := callOf(of, name)
		if call == "" || call == absent {
			delete(spec.Programs, name)
			continue
		}
		switch w {
		case Fexit:
			p.AttachTo = functionPrefix + call
		case KprobeMulti:
			p.AttachType = ebpf.AttachTraceKprobeMulti
		}
	}
	coll, err := ebpf.NewCollectionWithOptions(spec, *types.options())
	if errors.Is(err, unix.EPERM) && capable(unix.CAP_BPF, unix.CAP_PERFMON) {
		// The program of the accounts was loaded before, so bpf(2) is allowed.
		return nil, fmt.Errorf("the kernel refuses programs of this type: %w", unix.EPERM)
	}
	if err != nil {
		return nil, missingRequirement(err)
	}
	c := &FailureCounter{coll: coll, way: w}
	for _, call := range tracedCalls {
		if call == absent {
			continue
		}
		l, err := attach(w, call, coll.Programs[of[call]])
		if errors.Is(err, os.ErrNotExist) && call == oldInit {
			continue
		}
		if err != nil {
			_ = c.Close()
			return nil, fmt.Errorf("trace %s: %w", call, err)
		}
		c.links = append(c.links, l)
	}
	if err := c.selfTest(); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// callOf returns the first system call that a program is for, or "".
func callOf(of map[string]string, program string) string {
	for _, call := range tracedCalls {
		if of[call] == program {
			return call
		}
	}
	return ""
}

// functionsInBTF looks for the functions of the calls, since loading a program for a
// missing one decodes the types of all modules. absent is oldInit where the kernel
// does not have it.
func functionsInBTF(types *Types) (absent string, err error) {
	kernel, err := types.cache.Kernel()
	if err != nil {
		return "", missingRequirement(err)
	}
	for _, call := range tracedCalls {
		_, err := kernel.AnyTypesByName(functionPrefix + call)
		if err != nil && call == oldInit {
			absent = oldInit
		} else if err != nil {
			return "", fmt.Errorf("the types of this kernel have no function %s: %w", functionPrefix+call, err)
		}
	}
	return absent, nil
}

// distinguishFunctions renames the second type of a function of the calls. Kernels
// such as Debian's 6.1 have one: that of the weak function in kernel/sys_ni.c, with
// another name of its argument. Both types are of one function, and the loader
// accepts a name only once.
func distinguishFunctions(kernel *btf.Spec) {
	for _, call := range tracedCalls {
		all, _ := kernel.AnyTypesByName(functionPrefix + call)
		for _, more := range all[min(1, len(all)):] {
			if f, ok := more.(*btf.Func); ok {
				f.Name += " (again)"
			}
		}
	}
}

// requireAttachable returns an error where a way cannot be attached on this kernel.
// The verifier takes 15 ms for its programs, so a way that cannot be attached does
// not load them.
func requireAttachable(w Way) error {
	switch w {
	case KprobeMulti:
		p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
			Type: ebpf.Kprobe, AttachType: ebpf.AttachTraceKprobeMulti, License: "GPL",
			Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
		})
		if err != nil {
			return nil // loading the programs explains it
		}
		defer func() { _ = p.Close() }()
		l, err := attach(w, tracedCalls[0], p)
		if err != nil {
			return fmt.Errorf("trace %s: %w", tracedCalls[0], err)
		}
		return l.Close()
	case Kretprobe:
		// Without it, the probe would be an entry in tracefs, which stays after a kill.
		if _, err := os.Stat("/sys/bus/event_source/devices/kprobe/type"); err != nil {
			return fmt.Errorf("trace %s: the kernel has no return probes (CONFIG_KPROBE_EVENTS): %w", tracedCalls[0], err)
		}
	}
	return nil
}

func attach(w Way, call string, p *ebpf.Program) (link.Link, error) {
	switch w {
	case Fexit:
		l, err := link.AttachTracing(link.TracingOptions{Program: p})
		if err != nil {
			err = fmt.Errorf("the kernel attaches no program to functions (CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS, kernel.ftrace_enabled): %w", err)
		}
		return l, err
	case KprobeMulti:
		l, err := link.KretprobeMulti(p, link.KprobeMultiOptions{Symbols: []string{functionPrefix + call}})
		if err != nil {
			err = fmt.Errorf("the kernel has no fprobe (CONFIG_FPROBE): %w", err)
		}
		return l, err
	case Kretprobe:
		return link.Kretprobe(functionPrefix+call, p, nil)
	default:
		l, err := link.Tracepoint("syscalls", "sys_exit_"+call, p, nil)
		if err != nil {
			err = fmt.Errorf("it needs tracefs at /sys/kernel/tracing: %w", err)
		}
		return l, err
	}
}

// selfTest makes two calls that fail, and checks that they are counted. A kernel
// may accept a program for a function that it does not run. It keeps the failures
// of other processes for the next Read.
func (c *FailureCounter) selfTest() error {
	const badFlags = -1
	want := []inotify.SyscallFailure{
		{Call: inotify.CallInit, Errno: int(unix.EINVAL)},
		{Call: inotify.CallAddWatch, Errno: int(unix.EBADF)},
	}
	self, err := ownComm()
	if err != nil {
		return err
	}
	var kept []inotify.SyscallFailure
	for range attempts {
		_, init := unix.InotifyInit1(badFlags)
		_, watch := unix.InotifyAddWatch(-1, "/", unix.IN_DELETE_SELF)
		all, err := c.Read()
		if err != nil {
			return err
		}
		if !errors.Is(init, unix.EINVAL) || !errors.Is(watch, unix.EBADF) {
			return fmt.Errorf("self-test: the calls failed with %w and %w, want EINVAL and EBADF", init, watch)
		}
		missing := slices.Clone(want)
		for _, f := range all {
			i := slices.IndexFunc(missing, func(w inotify.SyscallFailure) bool {
				return w.Call == f.Call && w.Errno == f.Errno && f.Comm == self && f.UID == uint32(os.Geteuid())
			})
			if i < 0 {
				kept = append(kept, f)
				continue
			}
			missing = slices.Delete(missing, i, i+1)
		}
		if len(missing) == 0 {
			c.pending = kept
			return nil
		}
	}
	return temporaryError{errors.New("self-test: failed calls were not seen")}
}

// ownComm returns the name of this process, which its first thread has.
func ownComm() (string, error) {
	b, err := os.ReadFile("/proc/self/comm")
	return strings.TrimSuffix(string(b), "\n"), err
}

// joined is several errors in one line.
type joined []error

func inOneLine(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	return joined(errs)
}

func (j joined) Error() string {
	parts := make([]string, len(j))
	for i, err := range j {
		parts[i] = err.Error()
	}
	return strings.Join(parts, "; ")
}

func (j joined) Unwrap() []error { return j }
