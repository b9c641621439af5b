package procwalk

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

func TestParseStat(t *testing.T) {
	const tail = " S 1 2 3 4 5 %d 7 8 9 10 11 12 13 14 20 0 1 0 4711 18 19\n"
	for _, comm := range []string{"sh", "", "a b", "x) R 1 (y", "new\nline", ")", "((", "\x1b[31m\xff"} {
		for _, flags := range []int{0x400100, 0x208040} {
			line := fmt.Sprintf("42 (%s)"+tail, comm, flags)
			var st Stat
			if err := parseStat([]byte(line), &st); err != nil || string(st.Comm()) != comm ||
				st.Start != 4711 || st.CPUTicks != 23 || st.KernelThread != (flags == 0x208040) {
				t.Errorf("%q: got %+v, %v", line, st, err)
			}
		}
	}
	for _, bad := range []string{"", "1", "1 (x", "1 x)", "1 )x(", "1 (x) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 20 0 1 0", "1 (x) S 1 2 3 4 5 -6 7"} {
		if err := parseStat([]byte(bad), new(Stat)); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestParseUIDs(t *testing.T) {
	got, err := parseUIDs([]byte("Name:\tx\\nUid:\t9\t9\t9\t9\nUmask:\t0022\nUid:\t1000\t0\t4294967294\t7\nGid:\t5\t5\t5\t5\n"))
	if want := (UIDs{1000, 0, 4294967294, 7}); err != nil || got != want {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	for _, bad := range []string{"", "Uid:", "Uid:\t1\t2\t3", "Uid:\t1\t2\t3\t4294967296", "Uid:\t1\t2\t3\t-1", " Uid:\t1\t1\t1\t1"} {
		if _, err := parseUIDs([]byte(bad)); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestParseNOFILE(t *testing.T) {
	const head = "Limit                     Soft Limit           Hard Limit           Units     \nMax processes             95796                95796                processes \n"
	for line, want := range map[string][2]uint64{
		"Max open files            1024                 1048576              files     \n": {1024, 1048576},
		"Max open files            unlimited            unlimited            files     \n": {Unlimited, Unlimited},
		"Max open files            0                    18446744073709551615 files":        {0, Unlimited},
	} {
		soft, hard, err := parseNOFILE([]byte(head + line))
		if err != nil || soft != want[0] || hard != want[1] {
			t.Errorf("%q: got %d, %d, %v", line, soft, hard, err)
		}
	}
	for _, bad := range []string{"", head, "Max open files", "Max open files 5 x", "Max open files 18446744073709551616 1"} {
		if _, _, err := parseNOFILE([]byte(bad)); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestParseCgroup(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"0::/kubepods.slice/x.scope\n", "/kubepods.slice/x.scope"},
		{"9:name=systemd:/system.slice/a.service\n4:memory:/kubepods/b\n2:cpu,cpuacct:/c\n0::/\n", "/kubepods/b"},
		{"9:name=systemd:/a\n4:memory:/\n0::/\n", "/a"},
		{"0::/\n", "/"},
		{"0::/a:b\n", "/a:b"},
		{"0::/no newline", "/no newline"},
		{"", ""},
		{"nonsense\n3:memory\n:::\n0::relative\n", ""},
	} {
		if got := parseCgroup([]byte(c.in)); string(got) != c.want {
			t.Errorf("%q: got %q, want %q", c.in, got, c.want)
		}
	}
}

func TestParseFDInfo(t *testing.T) {
	got, err := parseFDInfo([]byte("pos:\t9223372036854775807\nflags:\t02100000\nmnt_id:\t15\nino:\t8\ninotify wd:1\n"))
	if want := (FDInfo{Pos: 1<<63 - 1, Flags: 0o2100000}); err != nil || got != want {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	for _, bad := range []string{"", "pos:\t1\n", "pos:\t1\nflags:\t9\n", "pos:\t-1\nflags:\t0\n"} {
		if _, err := parseFDInfo([]byte(bad)); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestParseWatch(t *testing.T) {
	const line = "inotify wd:2a ino:3f1b sdev:800013 mask:800afff ignored_mask:0 fhandle-bytes:8 fhandle-type:1 f_handle:1b3f000000000000"
	got, ok := parseWatch([]byte(line))
	if want := (Watch{WD: 42, Ino: 0x3f1b, Dev: 0x800013, Mask: 0x800afff}); !ok || got != want {
		t.Errorf("got %+v, %v, want %+v", got, ok, want)
	}
	for _, bad := range []string{"", "inotify ", "inotify wd:", "inotify wd:1 ino:2 sdev:3", "inotify wd:1 ino:G sdev:3 mask:4", "inotify wd:1 ino:10000000000000000 sdev:3 mask:4", "inotify wd:ffffffff ino:1 sdev:3 mask:4"} {
		if _, ok := parseWatch([]byte(bad)); ok {
			t.Errorf("%q: accepted", bad)
		}
	}
}

// record returns an fdinfo record with n watches.
func record(n int) []byte {
	var b bytes.Buffer
	b.WriteString("pos:\t0\nflags:\t00\nmnt_id:\t15\nino:\t1057\n")
	for i := range n {
		fmt.Fprintf(&b, "inotify wd:%x ino:%x sdev:800013 mask:100 ignored_mask:0 fhandle-bytes:8 fhandle-type:1 f_handle:0000000000000000 \n", i+1, i+100)
	}
	return b.Bytes()
}

func TestWatchesOfAnyLength(t *testing.T) {
	for _, n := range []int{0, 1, 2, 500, 30_000} {
		for _, size := range []int{512, 4096, 64 << 10} {
			got, err := countWatches(bytes.NewReader(record(n)), make([]byte, size))
			if err != nil || got != n {
				t.Errorf("counted %d of %d watches through %d bytes: %v", got, n, size, err)
			}
			next := 1
			got, err = eachWatch(bytes.NewReader(record(n)), make([]byte, size), func(w Watch) {
				if w.WD != next || w.Ino != uint64(next+99) {
					t.Fatalf("watch %d of %d: %+v", next, n, w)
				}
				next++
			})
			if err != nil || got != n || next != n+1 {
				t.Errorf("read %d and saw %d of %d watches through %d bytes: %v", got, next-1, n, size, err)
			}
		}
	}
}

func TestLongLinesAreCountedOnce(t *testing.T) {
	long := "inotify wd:1 " + strings.Repeat("x", 3000) + "inotify wd:2\ninotify wd:3 ino:1 sdev:2 mask:4\n"
	n, err := eachWatch(strings.NewReader(long), make([]byte, 512), func(Watch) {})
	if err != nil || n != 2 {
		t.Errorf("got %d, %v, want 2 lines", n, err)
	}
}

func FuzzWatches(f *testing.F) {
	f.Add(record(3), 64)
	f.Add([]byte("\ninotify inotify \ninotify "), 16)
	f.Add(bytes.Repeat([]byte("inotify "), 100), 32)
	f.Fuzz(func(t *testing.T, in []byte, size int) {
		buf := make([]byte, 16+uint(size)%4096)
		want := 0
		for line := range bytes.Lines(in) {
			if bytes.HasPrefix(line, []byte("inotify ")) {
				want++
			}
		}
		if got, err := countWatches(bytes.NewReader(in), buf); err != nil || got != want {
			t.Errorf("counted %d, %v, want %d", got, err, want)
		}
		seen := 0
		got, err := eachWatch(bytes.NewReader(in), buf, func(w Watch) {
			seen++
			if w.WD < 0 {
				t.Errorf("negative watch descriptor %d", w.WD)
			}
		})
		if err != nil || got != want || seen > want {
			t.Errorf("read %d and saw %d, %v, want %d", got, seen, err, want)
		}
	})
}

func FuzzStat(f *testing.F) {
	f.Add("a) b (", uint64(7))
	f.Add("\n", uint64(1<<64-1))
	f.Fuzz(func(t *testing.T, comm string, start uint64) {
		line := fmt.Sprintf("1 (%s) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 20 0 1 0 %d 18 19\n", comm, start)
		var st Stat
		want := comm[:min(len(comm), len(st.comm))]
		if err := parseStat([]byte(line), &st); err != nil || string(st.Comm()) != want || st.Start != start {
			t.Errorf("%q: got %q, %d, %v", line, st.Comm(), st.Start, err)
		}
		// As it stands it is hostile: what is returned is part of it.
		if err := parseStat([]byte(comm), &st); err == nil && !strings.Contains(comm, string(st.Comm())) {
			t.Errorf("%q: made up %q", comm, st.Comm())
		}
	})
}

func FuzzStatus(f *testing.F) {
	f.Add([]byte("Uid:\t1\t2\t3\t4\nNSpid:\t5\t6\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if n := parseNSPids(in); n > len(in) {
			t.Errorf("%d pid namespaces in %d bytes", n, len(in))
		}
		ids, err := parseUIDs(in)
		if err != nil {
			return
		}
		again, err := parseUIDs(fmt.Appendf(nil, "Uid:\t%d\t%d\t%d\t%d\n", ids.Real, ids.Effective, ids.Saved, ids.FS))
		if err != nil || again != ids {
			t.Errorf("%v printed and read again is %v, %v", ids, again, err)
		}
	})
}

func FuzzLimits(f *testing.F) {
	f.Add([]byte("Max open files            1024                 unlimited            files     \n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		soft, hard, err := parseNOFILE(in)
		if err != nil {
			return
		}
		soft2, hard2, err := parseNOFILE(fmt.Appendf(nil, "Max open files            %-20d %-20d files     \n", soft, hard))
		if err != nil || soft2 != soft || hard2 != hard {
			t.Errorf("%d %d printed and read again is %d %d, %v", soft, hard, soft2, hard2, err)
		}
	})
}

func FuzzCgroup(f *testing.F) {
	f.Add([]byte("9:name=systemd:/a\n4:memory:/b\n0::/c\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		path := parseCgroup(in)
		if path == nil {
			return
		}
		if path[0] != '/' || bytes.IndexByte(path, '\n') >= 0 || !bytes.Contains(in, path) {
			t.Errorf("%q is not a path of %q", path, in)
		}
	})
}

func FuzzFDInfo(f *testing.F) {
	f.Add([]byte("pos:\t12\nflags:\t0100001\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		i, err := parseFDInfo(in)
		if err != nil {
			return
		}
		again, err := parseFDInfo(fmt.Appendf(nil, "pos:\t%d\nflags:\t0%o\n", i.Pos, i.Flags))
		if err != nil || again != i {
			t.Errorf("%v printed and read again is %v, %v", i, again, err)
		}
	})
}
