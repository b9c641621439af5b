package guard

import (
	"context"
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/privtest"
	"github.com/nodetune/nodetune/sysctl"
)

// TestObserve: a write takes effect, and is read with who wrote what.
func TestObserve(t *testing.T) {
	privtest.Host(t)
	set(t, key, 16384)
	g := open(t, options(Observe, 8192))
	if len(g.Limits()) > 0 {
		t.Error(g.Limits())
	}
	w := newWriter(t, "tuned \x1b[31m", nil)
	if a := w.write(key, "128\n"); a != (answer{N: 4}) {
		t.Errorf("the writer got %+v", a)
	}
	if got := get(t, key); got != 128 {
		t.Errorf("the key holds %s", got)
	}
	r := read(t, g)
	if since := time.Since(r.Time); since < 0 || since > time.Minute {
		t.Errorf("written %v ago", since)
	}
	if r.CgroupID == 0 || !strings.HasPrefix(r.Cgroup, "/") {
		t.Errorf("in cgroup %d %q", r.CgroupID, r.Cgroup)
	}
	if want := `"tuned \x1b[31m"[`; !strings.HasPrefix(r.Process(), want) {
		t.Errorf("by %s, want %s", r.Process(), want)
	}
	want := Write{Key: key, Time: r.Time, Old: 16384, New: 128, Effective: 128, PID: w.pid, TID: r.TID, Comm: "tuned \x1b[31m", Cgroup: r.Cgroup, CgroupID: r.CgroupID}
	if r != want {
		t.Errorf("got  %+v\nwant %+v", r, want)
	}
	set(t, key, 16384) // by the guard's own process: not recorded
	none(t, g)
	if w.write("fs.inotify.max_user_watches", privtest.Get(t, "fs.inotify.max_user_watches")); true {
		none(t, g) // not managed
	}
	counts, err := g.Counts()
	if err != nil || counts[key] != (Counts{Lowered: 1}) {
		t.Errorf("counted %+v, %v", counts, err)
	}
}

// A program can give each of its threads a name, as Python 3.14 does.
func TestWriterIsTheProcess(t *testing.T) {
	privtest.Host(t)
	set(t, key, 16384)
	g := open(t, options(Observe, 8192))
	w := newWriter(t, "tuned|Thread-1 (main", nil)
	w.write(key, "128\n")
	if r := read(t, g); r.Comm != "tuned" || r.TID == r.PID {
		t.Errorf("by %s, thread %d, want tuned and another thread", r.Process(), r.TID)
	}
}

// TestNumbers: what the program reads of a text is what the kernel makes of it.
func TestNumbers(t *testing.T) {
	privtest.Host(t)
	g := open(t, options(Observe, 8192))
	w := newWriter(t, "writer", nil)
	for _, key := range []sysctl.Key{key, "fs.file-max", "fs.inotify.max_user_watches"} {
		if err := g.SetFloors(map[sysctl.Key]sysctl.Value{key: 8192}); err != nil {
			t.Fatal(err)
		}
		const was sysctl.Value = 16385
		for _, text := range []string{
			"9000", "9000\n", "  9000", "\t\n\v\f\r9000", "9000 1", "9000\t", "9000 x", "09000", "021450", "0x2328", "0X2328\n", "0xffff", "0xFfFe ",
			"0", "00", "0 ", "", "\n", " ", "-", "-5", "-9000", "+9000", "9000x", "x", "0x", "0x ", "0xg", "08", "0b11", "9000\x00", "\x009000",
			"2147483647", "2147483648", "9223372036854775807", "9223372036854775808", "18446744073709551615", "18446744073709551616",
			"99999999999999999999999999", "0x7fffffffffffffff", "0x8000000000000000", "0777777777777777777777", "01777777777777777777777",
			"000000000000000000009000", "0000000000000000009000", "9000" + strings.Repeat("\n", 100), strings.Repeat(" ", 40) + "9000",
			strings.Repeat(" ", 100) + "9000", strings.Repeat("9", 100), "9000" + strings.Repeat(" ", 59), "9000" + strings.Repeat(" ", 60), strings.Repeat(" ", 60) + "9000",
			strings.Repeat(" ", 59) + "9000",
		} {
			set(t, key, was)
			a := w.write(key, text)
			is := get(t, key)
			r := read(t, g)
			switch {
			case r.Old != was:
				t.Errorf("%s: the old value is %s, want %s", key, r.Old, was)
			case a.Errno != 0: // no number, or one that is too large for the key
				if r.New.Known() && r.New <= math.MaxInt32 {
					t.Errorf("%s: the kernel refuses %q (errno %d), read %s", key, text, a.Errno, r.New)
				}
			case is == was:
				if r.New.Known() {
					t.Errorf("%s: wrote %q, the key stays at %s, read %s", key, text, is, r.New)
				}
			case r.New != is && (r.New.Known() || len(text) < 64):
				t.Errorf("%s: wrote %q, the key holds %s, read %s", key, text, is, r.New)
			}
			if r.Effective != r.New || r.Held {
				t.Errorf("%s: %q in observe has another effect: %+v", key, text, r)
			}
		}
	}
}

// TestHold: a write below the floor takes effect as the floor, or not at all
// where that has no room, and the writer never gets an error nor more than it
// wrote.
func TestHold(t *testing.T) {
	privtest.Host(t)
	w := newWriter(t, "writer", nil)
	g := open(t, options(Hold, 0))
	for _, c := range []struct {
		name            string
		floor, was      sysctl.Value
		text            string
		offset          int64
		want, effective sysctl.Value // of the key, and as recorded
	}{
		{"same length", 8192, 16384, "5000", 0, 8192, 8192},
		{"with a newline", 8192, 16384, "5000\n", 0, 8192, 8192},
		{"shorter, room for the floor", 8192, 16384, "128\n", 0, 8192, 8192},
		{"shorter, no room", 8192, 16384, "128", 0, 16384, 16384},
		{"one digit", 8192, 8192, "1", 0, 8192, 8192},
		{"zero", 8192, 8192, "0\n", 0, 8192, 8192},
		{"no room, floor of 7 digits", 1048576, 2097152, "128\n", 0, 2097152, 2097152},
		{"hexadecimal", 8192, 16384, "0x80", 0, 8192, 8192},
		{"octal", 8192, 16384, "0200", 0, 8192, 8192},
		{"blanks before", 8192, 16384, "  128", 0, 8192, 8192},
		{"long", 8192, 16384, "128" + strings.Repeat("\n", 60), 0, 8192, 8192},
		{"too long to replace", 8192, 16384, "128" + strings.Repeat("\n", 200), 0, 16384, 16384},
		{"two numbers", 8192, 16384, "128 9000", 0, 8192, 8192},
		{"at the floor", 8192, 16384, "8192", 0, 8192, 8192},
		{"above the floor", 8192, 16384, "8193", 0, 8193, 8193},
		{"a raise", 8192, 16384, "20000", 0, 20000, 20000},
		{"was below the floor, raised, with room", 8192, 100, "200\n", 0, 8192, 8192},
		{"was below the floor, raised, no room", 8192, 100, "200", 0, 200, 200},
		{"was below the floor, lowered, no room", 8192, 100, "50", 0, 100, 100},
		{"another offset", 8192, 16384, "5000", 1, 16384, -2},
		{"an offset of 2^32", 8192, 16384, "5000", 1 << 32, 16384, 8192},
		{"hidden behind blanks", 8192, 16384, strings.Repeat(" ", 100) + "128", 0, 128, -1},
	} {
		set(t, key, c.was)
		if err := g.SetFloors(map[sysctl.Key]sysctl.Value{key: c.floor}); err != nil {
			t.Fatal(err)
		}
		if !g.replaces && c.effective == c.floor && c.name != "at the floor" { // this kernel keeps the value, or takes a raise
			c.effective = max(c.was, 200)
			if c.offset == 0 {
				c.want = c.effective
			}
		}
		a := w.writeAt(key, c.text, c.offset)
		if a != (answer{N: len(c.text)}) && c.name != "two numbers" || a.N > len(c.text) || a.N <= 0 || a.Errno != 0 {
			t.Errorf("%s: the writer got %+v for %d bytes", c.name, a, len(c.text))
		}
		if got := get(t, key); got != c.want {
			t.Errorf("%s: the key holds %s, want %s", c.name, got, c.want)
		}
		if c.effective == -2 {
			none(t, g)
		} else if r := read(t, g); r.Effective != c.effective || r.Held != (r.Effective != r.New) || r.Old != c.was {
			t.Errorf("%s: got %+v, want effect %s", c.name, r, c.effective)
		}
	}
	for _, text := range []string{"", "x", "-5", "99999999999999999999999", "128x", "9000\x00"} {
		set(t, key, 16384)
		if err := g.SetMode(Observe); err != nil {
			t.Fatal(err)
		}
		before := w.write(key, text)
		if err := g.SetMode(Hold); err != nil {
			t.Fatal(err)
		}
		if a := w.write(key, text); a != before {
			t.Errorf("%q: the writer gets %+v, and %+v where it only observes", text, a, before)
		}
		if got := get(t, key); got != 16384 {
			t.Errorf("%q: the key holds %s", text, got)
		}
	}
}

// TestHoldSwitches: modes, floors, and who passes change while it is attached.
func TestHoldSwitches(t *testing.T) {
	privtest.Host(t)
	w := newWriter(t, "writer", nil)
	g := open(t, options(Hold, 8192))
	writes := func(what string, want sysctl.Value) {
		t.Helper()
		set(t, key, 16384) // below no floor of these, and passes anyway
		if want >= 8192 && !g.replaces {
			want = 16384
		}
		w.write(key, "5000\n")
		if got := get(t, key); got != want {
			t.Errorf("%s: the key holds %s, want %s", what, got, want)
		}
	}
	writes("hold", 8192)
	if err := g.SetMode(Observe); err != nil {
		t.Fatal(err)
	}
	writes("observe", 5000)
	if err := g.SetMode(Hold); err != nil {
		t.Fatal(err)
	}
	if err := g.SetFloors(map[sysctl.Key]sysctl.Value{key: 9000}); err != nil {
		t.Fatal(err)
	}
	writes("a higher floor", 9000)
	revoke, err := g.Allow(w.pid)
	if err != nil {
		t.Fatal(err)
	}
	writes("allowed", 5000)
	if err := revoke(); err != nil {
		t.Fatal(err)
	}
	writes("no longer allowed", 9000)
	set(t, key, 100) // the guard's own process passes
	if err := g.SetFloors(map[sysctl.Key]sysctl.Value{key: 0}); err != nil {
		t.Fatal(err)
	}
	writes("a floor of 0", 5000)
	if err := g.SetFloors(nil); err != nil {
		t.Fatal(err)
	}
	writes("no floor", 5000)
	if err := g.SetFloors(map[sysctl.Key]sysctl.Value{"net.core.somaxconn": 1, key: 20000}); err == nil {
		t.Error("net.core.somaxconn is guarded")
	}
	writes("a refused change", 5000)
	counts, err := g.Counts()
	if want := (Counts{Lowered: 6, Held: 3}); err != nil || counts[key] != want {
		t.Errorf("counted %+v, %v, want %+v", counts[key], err, want)
	}
	for range 6 {
		read(t, g)
	}
	none(t, g)
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	writes("closed", 5000)
	if _, err := g.Read(t.Context()); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Read after Close: %v", err)
	}
}

// TestNotStrict: where the kernel heeds writes at an offset, what has no room
// passes, and is recorded so.
func TestNotStrict(t *testing.T) {
	privtest.Host(t)
	privtest.Keep(t, string(writesStrict))
	w := newWriter(t, "writer", nil)
	g := open(t, options(Hold, 8192))
	for _, c := range []struct {
		strict string
		want   sysctl.Value
	}{{"0", 128}, {"1", 128}, {"set floors", 16384}, {"-1", 128}} {
		if c.strict == "set floors" {
			if err := g.SetFloors(map[sysctl.Key]sysctl.Value{key: 8192}); err != nil {
				t.Fatal(err)
			}
		} else if a := w.write(writesStrict, c.strict); a.Errno != 0 {
			t.Fatal(a)
		}
		set(t, key, 16384)
		if a := w.write(key, "128"); a != (answer{N: 3}) {
			t.Errorf("strict %s: the writer got %+v", c.strict, a)
		}
		r := read(t, g)
		if got := get(t, key); got != c.want || r.Effective != c.want || r.Held != (c.want != 128) {
			t.Errorf("strict %s: the key holds %s, want %s; %+v", c.strict, got, c.want, r)
		}
		set(t, key, 16384)
		w.write(key, "5000")
		if got := get(t, key); got != 8192 && g.replaces {
			t.Errorf("strict %s: the key holds %s, want the floor", c.strict, got)
		}
		read(t, g)
	}
}

func guardInstances(t *testing.T) *Guard {
	return open(t, Options{Procfs: "/proc", Cgroupfs: cgroupfs, Mode: Hold, Floors: map[sysctl.Key]sysctl.Value{sysctl.MaxUserInstances: 1024}})
}

// TestUser: the names of user.* in the initial user namespace are guarded with
// those of fs.inotify.
func TestUser(t *testing.T) {
	privtest.Host(t)
	w := newWriter(t, "writer", nil)
	if a := w.write(sysctl.UserMaxInstances, privtest.Get(t, string(sysctl.UserMaxInstances))); a.Errno == int(unix.EACCES) {
		t.Skip("writing user.* needs CAP_SYS_RESOURCE; e2e/kernel runs this test with it")
	}
	set(t, sysctl.MaxUserInstances, 8192)
	g := guardInstances(t)
	if a := w.write(sysctl.UserMaxInstances, "128\n"); a.Errno != 0 {
		t.Fatal(a)
	}
	want := sysctl.Value(1024)
	if !g.replaces {
		want = 8192
	}
	if r := read(t, g); r.Key != sysctl.UserMaxInstances || r.New != 128 || r.Effective != want || !r.Held {
		t.Errorf("got %+v", r)
	}
	if got := get(t, sysctl.MaxUserInstances); got != want {
		t.Errorf("the limit is %s, want %s", got, want)
	}
}

// TestUserNamespace: another user namespace has its own values of user.*, which
// are neither held nor recorded.
func TestUserNamespace(t *testing.T) {
	privtest.Host(t)
	set(t, sysctl.MaxUserInstances, 1024)
	g := guardInstances(t)
	below := newWriter(t, "below", &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{Size: 1}}, GidMappings: []syscall.SysProcIDMap{{Size: 1}},
	})
	if a := below.write(sysctl.UserMaxInstances, "128\n"); a != (answer{N: 4}) {
		t.Fatal(a)
	}
	none(t, g)
	if got := get(t, sysctl.MaxUserInstances); got != 1024 {
		t.Errorf("the limit is %s, want 1024", got)
	}
}

// TestReadEnds: Read ends with its context, and goes on with the next one.
func TestReadEnds(t *testing.T) {
	privtest.Host(t)
	g := open(t, options(Observe, 0))
	for range 20 {
		none(t, g)
	}
	w := newWriter(t, "writer", nil)
	w.write(key, "16384")
	read(t, g)
	closed := make(chan error)
	go func() { _, err := g.Read(context.Background()); closed <- err }()
	time.Sleep(10 * time.Millisecond)
	g.Close()
	if err := <-closed; !errors.Is(err, os.ErrClosed) {
		t.Errorf("Read: %v", err)
	}
}

func TestEntries(t *testing.T) {
	for _, c := range []struct {
		key   sysctl.Key
		floor sysctl.Value
		err   string
	}{
		{"fs.inotify.max_queued_events", 1, ""},
		{"fs.file-max", 1<<63 - 1, ""},
		{"vm.max_map_count", 0, ""},
		{"user.max_mnt_namespaces", 5, ""},
		{"net.core.somaxconn", 1, "namespace"},
		{"net.ipv4.conf.eth0/100.forwarding", 1, "namespace"},
		{"kernel.shmmax", 1, "namespace"},
		{"kernel.shm_rmid_forced", 1, "namespace"},
		{"kernel.msgmnb", 1, "namespace"},
		{"kernel.sem", 1, "namespace"},
		{"fs.mqueue.msg_max", 1, "namespace"},
		{writesStrict, 1, "no floor"},
		{"fs.file-max", sysctl.Unknown, "not known"},
		{"", 1, "bytes"},
		{sysctl.Key("fs." + strings.Repeat("x", 60)), 1, ""},
		{sysctl.Key("fs." + strings.Repeat("x", 61)), 1, "bytes"},
	} {
		_, err := entries(map[sysctl.Key]sysctl.Value{c.key: c.floor})
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s %s: %v, want %q", c.key, c.floor, err, c.err)
		}
	}
	both, err := entries(map[sysctl.Key]sysctl.Value{sysctl.MaxUserWatches: 5, sysctl.UserMaxWatches: 70})
	if err != nil || len(both) != 2 || both[sysctl.MaxUserWatches].Value != 70 || both[sysctl.UserMaxWatches].Value != 70 {
		t.Errorf("both names: %+v, %v", both, err)
	}
	one, err := entries(map[sysctl.Key]sysctl.Value{sysctl.UserMaxInstances: 9})
	if err != nil || one[sysctl.MaxUserInstances].Value != 9 || one[sysctl.UserMaxInstances].PerUserNamespace != 1 || one[sysctl.MaxUserInstances].PerUserNamespace != 0 {
		t.Errorf("the other name: %+v, %v", one, err)
	}
	many := map[sysctl.Key]sysctl.Value{}
	for _, c := range slices.Repeat([]string{"x"}, 65) {
		many[sysctl.Key("fs."+strings.Repeat(c, len(many)+1))] = 1
		if len(many) >= 60 {
			many[sysctl.Key("vm."+strings.Repeat(c, len(many)-20))] = 1
		}
	}
	if _, err := entries(many); err == nil {
		t.Errorf("%d keys are guarded", len(many))
	}
}
