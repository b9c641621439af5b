package rotate

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/procwalk"
	"github.com/nodetune/nodetune/internal/safetext"
)

// Reopen says who is asked, and how, to open its log again after the log got a
// new file under its name.
type Reopen struct {
	// Unit is the systemd unit that writes the log. Only a process of this
	// unit that has the log open for writing gets the signal, so that a pid
	// that was reused, or a stranger who opened the log, never does.
	Unit string `json:"unit,omitempty"`
	// PID is the same for a process that is in no unit.
	PID int `json:"-"`
	// Signal is the name of the signal; HUP where it is empty.
	Signal string `json:"signal,omitempty"`
}

// IsZero reports whether r names no process to ask.
func (r Reopen) IsZero() bool { return r.Unit == "" && r.PID == 0 }

func (r Reopen) signal() (unix.Signal, error) {
	name := r.Signal
	if name == "" {
		name = "HUP"
	}
	s := unix.SignalNum("SIG" + strings.TrimPrefix(name, "SIG"))
	switch s {
	case unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH:
		return s, nil
	}
	return 0, fmt.Errorf("signal %q does not make daemons reopen their logs: write HUP, USR1, USR2 or WINCH", r.Signal)
}

// check returns why those of the writers that r names could not be asked. A log
// that no process would write any more is not rotated.
func (r Reopen) check(w *procwalk.Walker, procfs string, writers []logdir.Opener) error {
	sig, err := r.signal()
	if err != nil {
		return err
	}
	for _, o := range r.targets(procfs, writers) {
		if err := checkCaught(procfs, o, sig); err != nil {
			return err
		}
	}
	_, err = r.send(w, procfs, writers, 0, signalled{}) // kill(2): 0 only looks whether it may be sent
	return err
}

// request sends the signal to those of the writers that r names, and returns who got
// it. That they are of the unit their cgroup says, in which systemd has put them
// and out of which no user gets; that they are still those, the pidfd.
func (r Reopen) request(w *procwalk.Walker, procfs string, writers []logdir.Opener, sent signalled) (asked string, err error) {
	sig, err := r.signal()
	if err != nil {
		return "", err
	}
	all, err := r.send(w, procfs, writers, sig, sent)
	return unix.SignalName(sig) + " to " + listWriters(all), err
}

// signalled are the processes that got a signal, with the error: a daemon that writes
// several logs gets one for all of them.
type signalled map[signalTarget]error

type signalTarget struct {
	pid   int
	start uint64
	sig   unix.Signal
}

// send signals those of the writers that r names and returns who they were, at
// least one, or an error. A child that has ended meanwhile writes no more.
func (r Reopen) send(w *procwalk.Walker, procfs string, writers []logdir.Opener, sig unix.Signal, sent signalled) (all []logdir.Opener, err error) {
	for _, o := range r.targets(procfs, writers) {
		to := signalTarget{o.PID, o.Start, sig}
		e, ok := sent[to]
		if !ok {
			if sig != 0 {
				e = checkCaught(procfs, o, sig)
			}
			if e == nil {
				e = signalProcess(w, o, sig)
			}
			sent[to] = e
		}
		switch {
		case e == nil:
			all = append(all, o)
		case !errors.Is(e, unix.ESRCH) && !errors.Is(e, unix.ENOENT):
			err = errors.Join(err, e)
		}
	}
	if len(all) == 0 && err == nil {
		err = fmt.Errorf("none of its writers (%s) is %s", openerNames(writers), r)
	}
	return all, err
}

// targets returns those of the writers that r names, and of a parent and its
// children, as nginx has them, the parent only.
func (r Reopen) targets(procfs string, writers []logdir.Opener) []logdir.Opener {
	pids := map[int]logdir.Opener{}
	for _, o := range writers {
		if o.Writes && (r.PID != 0 && o.PID == r.PID || r.Unit != "" && o.Who.Unit == r.Unit && o.Who.PodUID == "") {
			pids[o.PID] = o
		}
	}
	var all []logdir.Opener
	for pid, o := range pids {
		if _, child := pids[parent(procfs, pid)]; !child {
			all = append(all, o)
		}
	}
	return all
}

func (r Reopen) String() string {
	if r.Unit != "" {
		return "a process of " + r.Unit
	}
	return "process " + strconv.Itoa(r.PID)
}

func listWriters(all []logdir.Opener) string {
	var s []string
	for _, o := range all {
		if !o.Writes {
			continue
		}
		at := ""
		if o.Who.Unit != "" {
			at = " of " + o.Who.Unit
		}
		s = append(s, fmt.Sprintf("%s[%d]%s", safetext.String(o.Comm), o.PID, at))
	}
	return strings.Join(s, ", ")
}

// signalProcess signals o and no other process. The pidfd is that of the process
// which has the pid now, so its start time is compared once the pidfd is open.
func signalProcess(w *procwalk.Walker, o logdir.Opener, sig unix.Signal) error {
	if !w.InHostPIDNamespace() {
		return fmt.Errorf("signal %s[%d]: the pids here are those of another pid namespace: run with hostPID", safetext.String(o.Comm), o.PID)
	}
	fd, err := unix.PidfdOpen(o.PID, 0)
	if err != nil {
		return fmt.Errorf("signal %s[%d]: pidfd_open: %w", safetext.String(o.Comm), o.PID, err)
	}
	defer func() { _ = unix.Close(fd) }()
	p, err := w.Open(o.PID)
	if err == nil {
		defer p.Close()
		var st *procwalk.Stat
		if st, err = p.Stat(); err == nil && st.Start != o.Start {
			err = unix.ESRCH
		}
	}
	if err == nil {
		err = logdir.WithCapability(unix.PidfdSendSignal(fd, sig, nil, 0), "CAP_KILL")
	}
	if err != nil {
		return fmt.Errorf("signal %s[%d]: %w", safetext.String(o.Comm), o.PID, err)
	}
	return nil
}

// checkCaught returns an error unless o has a handler for sig: the default action of
// HUP, USR1 and USR2 ends a process, signal(7).
func checkCaught(procfs string, o logdir.Opener, sig unix.Signal) error {
	b, err := os.ReadFile(procfs + "/" + strconv.Itoa(o.PID) + "/status")
	if err != nil {
		return fmt.Errorf("read which signals %s[%d] catches: %w", safetext.String(o.Comm), o.PID, err)
	}
	caught, err := caughtSignals(string(b))
	if err != nil {
		return fmt.Errorf("read which signals %s[%d] catches: %w", safetext.String(o.Comm), o.PID, err)
	}
	if caught&(1<<(uint(sig)-1)) == 0 {
		return logdir.Skipf("%s[%d] does not catch %s, which could end it: name the signal that makes it reopen its log, or rotate the log in place",
			safetext.String(o.Comm), o.PID, unix.SignalName(sig))
	}
	return nil
}

// caughtSignals returns the signals with a handler or, for signalfd(2) and sigwait(3),
// blocked: SigCgt and SigBlk of PID/status, proc_pid_status(5).
func caughtSignals(status string) (uint64, error) {
	blocked := uint64(0)
	for line := range strings.Lines(status) {
		if mask, ok := strings.CutPrefix(line, "SigBlk:"); ok { // comes first
			blocked, _ = strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
		}
		if mask, ok := strings.CutPrefix(line, "SigCgt:"); ok {
			caught, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
			return caught | blocked, err
		}
	}
	return 0, errors.New("no line SigCgt")
}

// parent returns the parent of pid, or 0.
func parent(procfs string, pid int) int {
	b, err := os.ReadFile(procfs + "/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	// pid (comm) state ppid …: the comm may hold anything, also ") ".
	_, rest, _ := strings.Cut(string(b[strings.LastIndexByte(string(b), ')')+1:]), " ")
	f := strings.Fields(rest)
	if len(f) < 2 {
		return 0
	}
	ppid, _ := strconv.Atoi(f[1])
	return ppid
}
