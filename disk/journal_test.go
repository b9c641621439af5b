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
	got, err := readJournal(f, st.Size())
	if err != nil {
		t.Fatal(err)
	}
	for unit, n := range want {
		if got.units[unit] != n {
			t.Errorf("%s: %d entries, journalctl shows %d; all: %v", unit, got.units[unit], n, got.units)
		}
	}
	if got.entries < 400 || got.used == 0 || got.used > uint64(st.Size()) {
		t.Errorf("%d entries in %d of %d bytes", got.entries, got.used, st.Size())
	}

	// The same through the whole of a pass.
	o := observer(t, "/", DefaultPolicy())
	now := time.Now()
	observe(t, o, now)
	u := observe(t, o, now.Add(time.Second))
	share := map[string]uint64{}
	for _, p := range u.Producers {
		if p.Kind == KindUnit {
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
		_, _ = readJournal(bytes.NewReader(damaged), int64(len(damaged)))
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

// journal builds a file with one field and its values, as small as they get.
func journal(compact bool, units map[string]uint64) []byte {
	const table = 264
	b := make([]byte, table)
	copy(b, journalSignature)
	payload := dataPayload
	if compact {
		b[12], payload = journalCompact, dataPayloadSmall
	}
	put := func(at int, v uint64) { le.PutUint64(b[at:], v) }
	b = append(b, make([]byte, 16*4)...)
	put(120, table)
	put(128, 16*4)
	object := func(kind byte, fixed int, text string) int {
		at := len(b)
		size := fixed + len(text)
		b = append(b, make([]byte, (size+7)/8*8)...)
		b[at] = kind
		put(at+8, uint64(size))
		copy(b[at+fixed:], text)
		return at
	}
	other := object(objectField, fieldPayload, "MESSAGE")
	field := object(objectField, fieldPayload, unitField)
	put(table+16, uint64(other))
	put(other+24, uint64(field)) // the same bucket
	last, total := field+32, uint64(0)
	for unit, n := range units {
		at := object(objectData, payload, unitField+"="+unit)
		put(last, uint64(at))
		put(at+56, n)
		last, total = at+32, total+n
	}
	put(152, total)
	put(136, uint64(len(b)))
	return b
}

func TestReadJournal(t *testing.T) {
	want := map[string]uint64{"a.service": 3, "user@1000.service": 1 << 40, strings.Repeat("x", 247) + ".service": 1}
	for _, compact := range []bool{false, true} {
		b := journal(compact, want)
		got, err := readJournal(bytes.NewReader(b), int64(len(b)))
		if err != nil || fmt.Sprint(got.units) != fmt.Sprint(want) || got.entries != 4+1<<40 {
			t.Errorf("compact %v: %+v, %v", compact, got, err)
		}
	}
	if _, err := readJournal(strings.NewReader("text"), 4); err == nil {
		t.Error("a text is taken for a journal file")
	}
}

// Whatever a file holds: it ends, and no name is longer than a unit's may be.
func FuzzReadJournal(f *testing.F) {
	f.Add(journal(false, map[string]uint64{"a.service": 3, "b.service": 4}))
	f.Add(journal(true, map[string]uint64{"a.service": 3}))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := readJournal(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		if got.used > uint64(len(b)) {
			t.Fatalf("%d of %d bytes used", got.used, len(b))
		}
		for unit := range got.units {
			if len(unit) > maxUnitName {
				t.Fatalf("a name of %d bytes", len(unit))
			}
		}
	})
}
