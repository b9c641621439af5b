package disk

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/journal"
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/privtest"
)

const senderEnv = "NODETUNE_TEST_JOURNAL"

// TestSendToJournal is no test: it is the program that a unit runs. It writes
// its entries to the journal's socket, in the native protocol, and waits until
// it is killed, since journald looks up the unit of a living sender.
func TestSendToJournal(t *testing.T) {
	if !disktest.IsHelper(t) {
		return // it is started by TestJournalUnitsForReal
	}
	socket, n, _ := strings.Cut(os.Getenv(senderEnv), " ")
	c, err := net.Dial("unixgram", socket)
	if err != nil {
		t.Fatal(err)
	}
	var count int
	if _, err := fmt.Sscan(n, &count); err != nil {
		t.Fatal(err)
	}
	for i := range count {
		if _, err := fmt.Fprintf(c, "MESSAGE=line %d of %d %s\nPRIORITY=6\n", i, count, strings.Repeat("x", 100)); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(time.Hour)
}

// A real journald, two units, and journalctl as the oracle.
func TestJournalUnitsForReal(t *testing.T) {
	privtest.Root(t)
	machine, err := os.ReadFile("/etc/machine-id")
	if err != nil {
		t.Fatal(err)
	}
	namespace := fmt.Sprintf("nodetune-test-%d", os.Getpid())
	run := filepath.Join("/run/systemd", "journal."+namespace)
	id := strings.TrimSpace(string(machine)) + "." + namespace
	for _, dir := range []string{run, "/run/log/journal"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, dir := range []string{run, filepath.Join("/var/log/journal", id), filepath.Join("/run/log/journal", id)} {
			if err := os.RemoveAll(dir); err != nil {
				t.Error(err)
			}
		}
	})
	disktest.Start(t, "/lib/systemd/systemd-journald", namespace)
	socket := filepath.Join(run, "socket")
	wait(t, "journald listens", func() bool { _, err := os.Stat(socket); return err == nil })

	want := map[string]uint64{"alpha.service": 300, "beta.service": 100}
	slices := systemdHierarchies(t)
	for unit, n := range want {
		var cgroups []string
		for _, slice := range slices {
			cg := filepath.Join(slice, unit)
			if err := os.MkdirAll(cg, 0o755); err != nil {
				t.Fatal(err)
			}
			cgroups = append(cgroups, filepath.Join(cg, "cgroup.procs"))
		}
		sender := exec.Command("/bin/sh", append([]string{"-c", `me=$0; for cg; do echo $$ > "$cg" || exit; done; exec "$me" -test.run '^TestSendToJournal$'`, os.Args[0]}, cgroups...)...)
		sender.Env = append(os.Environ(), "NODETUNE_TEST_HELPER=TestSendToJournal", fmt.Sprintf("%s=%s %d", senderEnv, socket, n))
		if err := sender.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = sender.Process.Kill()
			_ = sender.Wait()
			for _, cg := range cgroups {
				wait(t, "the cgroup is empty", func() bool { return unix.Rmdir(filepath.Dir(cg)) == nil })
				_ = unix.Rmdir(filepath.Dir(filepath.Dir(cg))) // unless the host has it
			}
		})
	}
	dir := filepath.Join("/var/log/journal", id)
	if _, err := os.Stat("/var/log/journal"); err != nil {
		dir = filepath.Join("/run/log/journal", id)
	}
	count := func(unit string) (n uint64) {
		out, err := exec.Command("journalctl", "-D", dir, "-o", "cat", "--output-fields=_PID", "_SYSTEMD_UNIT="+unit).Output()
		if err != nil {
			return 0
		}
		return uint64(bytes.Count(out, []byte{'\n'}))
	}
	wait(t, "journald has stored everything", func() bool {
		for unit, n := range want {
			if count(unit) != n {
				return false
			}
		}
		return true
	})

	f, err := os.Open(filepath.Join(dir, "system.journal"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	got, err := journal.ReadFile(f, st.Size())
	if err != nil {
		t.Fatal(err)
	}
	for unit, n := range want {
		if got.Units[unit] != n {
			t.Errorf("%s: %d entries, journalctl shows %d; all: %v", unit, got.Units[unit], n, got.Units)
		}
	}
	if got.Entries < 400 || got.Used == 0 || got.Used > uint64(st.Size()) {
		t.Errorf("%d entries in %d of %d bytes", got.Entries, got.Used, st.Size())
	}

	// The same through the whole of a pass.
	o := observer(t, "/", DefaultPolicy())
	now := time.Now()
	observe(t, o, now)
	u := observe(t, o, now.Add(time.Second))
	share := map[string]uint64{}
	for _, p := range u.Producers {
		if p.Kind == logs.KindUnit {
			share[p.Unit] = p.Bytes
			if !p.Estimated || p.BytesPerSecond == nil {
				t.Errorf("%+v", p)
			}
		}
	}
	if a, b := share["alpha.service"], share["beta.service"]; b == 0 || a < 2*b || a > 4*b {
		t.Errorf("alpha %d bytes, beta %d, want three times as many", a, b)
	}

	// Whatever of a real file is damaged: an end and no panic.
	whole, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < 1<<14; at += 8 {
		damaged := bytes.Clone(whole[:1<<20])
		copy(damaged[at:], "\xff\xff\xff\xff\xff\xff\xff\x7f")
		_, _ = journal.ReadFile(bytes.NewReader(damaged), int64(len(damaged)))
	}
}

// systemdHierarchies are where journald may look up units: cgroup v2, the one
// beside v1 on a hybrid host, or the named one.
func systemdHierarchies(t *testing.T) (all []string) {
	t.Helper()
	for _, root := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup"} {
		if _, err := os.Stat(filepath.Join(root, "cgroup.procs")); err == nil {
			all = append(all, filepath.Join(root, "system.slice"))
		}
	}
	if all == nil {
		t.Fatal("no cgroup hierarchy to put a unit in")
	}
	return all
}

// wait polls until ok, for a time that no healthy machine needs.
func wait(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
