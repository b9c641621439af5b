package rotate

import (
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/logdir"
)

func TestCaughtSignals(t *testing.T) {
	for status, want := range map[string]uint64{
		"Name:\ta\nSigIgn:\tffff\nSigCgt:\t0000000000000201\n":   1<<(uint(unix.SIGHUP)-1) | 1<<(uint(unix.SIGUSR1)-1),
		"SigBlk:\t0000000000000001\nSigCgt:\t0000000000000200\n": 1<<(uint(unix.SIGHUP)-1) | 1<<(uint(unix.SIGUSR1)-1),
		"SigCgt:\t0000000000000000\n":                            0,
		"SigCgt:\tffffffffffffffff\n":                            1<<64 - 1,
	} {
		if got, err := caughtSignals(status); err != nil || got != want {
			t.Errorf("%q: %x, %v", status, got, err)
		}
	}
	for _, status := range []string{"", "Name:\tSigCgt: 1\n", "SigCgt:\tx\n", "SigCgt:\n"} {
		if got, err := caughtSignals(status); err == nil {
			t.Errorf("%q: %x", status, got)
		}
	}
}

// sleep(1) has no handler for HUP: the signal would end it.
func TestSignalThatIsNotCaught(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = cmd.Process.Kill(), cmd.Wait() }()
	o := logdir.Opener{PID: cmd.Process.Pid, Comm: "sleep", Writes: true}
	if err := checkCaught("/proc", o, unix.SIGHUP); err == nil {
		t.Error("HUP would be sent to sleep(1)")
	}
}
