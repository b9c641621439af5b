package sysctld

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/nodetune/nodetune/sysctl"
)

// TestCmdline: what do_sysctl_args of fs/proc/proc_sysctl.c makes of a command
// line, split by next_arg of lib/cmdline.c.
func TestCmdline(t *testing.T) {
	const a = "sysctl.fs.inotify.max_queued_events"
	for _, c := range []struct {
		name, text string
		release    string
		want       string // the value that wins; "" where none does
		others     int    // arguments about the key that do not win
	}{
		{name: "dots", text: a + "=17001", want: "17001"},
		{name: "slashes", text: "sysctl/fs/inotify/max_queued_events=17001", want: "17001"},
		{name: "a dot, then slashes", text: "sysctl.fs/inotify/max_queued_events=17001", want: "17001"},
		{name: "any mix", text: "sysctl/fs.inotify/max_queued_events=17001", want: "17001"},
		{name: "no separator", text: "sysctlfs.inotify.max_queued_events=17001"},
		{name: "another argument", text: "xsysctl.fs.inotify.max_queued_events=17001 fs.inotify.max_queued_events=5"},
		{name: "the last wins", text: a + "=17001 quiet " + a + "=17002", want: "17002", others: 1},
		{name: "the last that the kernel takes wins", text: a + "=17001 " + a + "=many", want: "17001", others: 1},
		{name: "an empty value", text: a + "=", others: 1},
		{name: "no value", text: a, others: 1},
		{name: "quotes around the value", text: a + "=\"17001\"", want: "17001"},
		{name: "quotes around the argument", text: "\"" + a + "=17001\"", want: "17001"},
		{name: "quotes around all, with a blank", text: "\"" + a + "=17001 5\" quiet", want: "17001"},
		{name: "quotes around the value, with a blank", text: a + "=\"17001 5\" quiet", want: "17001"},
		{name: "inside another argument's quotes", text: "dyndbg=\"file x " + a + "=17001 +p\" quiet"},
		{name: "quotes that never close", text: "x=\"a " + a + "=17001"},
		{name: "behind --", text: "quiet -- " + a + "=17001"},
		{name: "before --", text: a + "=17001 -- x", want: "17001"},
		{name: "-- with a value ends nothing", text: "--=x " + a + "=17001", want: "17001"},
		{name: "tabs and newlines", text: "quiet\t" + a + "=17001\n", want: "17001"},
		{name: "a no-break space of Latin-1 ends an argument", text: "x=\xa0" + a + "=17001", want: "17001"},
		{name: "hexadecimal", text: a + "=0x4269", want: "17001"},
		{name: "past int", text: a + "=2147483648", others: 1},
		{name: "negative", text: a + "=-1", others: 1},
		{name: "a double separator", text: "sysctl.fs..inotify//max_queued_events=17001", want: "17001"},
		{name: "a separator at the end", text: "sysctl.fs.inotify.max_queued_events/=17001", others: 1},
		{name: "Linux 5.7 ignores it", text: a + "=17001", release: "5.7.19-generic", others: 1},
		{name: "Linux 5.8 takes it", text: a + "=17001", release: "5.8.0", want: "17001"},
		{name: "Linux 4.18 ignores it", text: a + "=17001", release: "4.18.0-553.el8", others: 1},
		{name: "Linux 10.0 takes it", text: a + "=17001", release: "10.0", want: "17001"},
		{name: "an unknown release", text: a + "=17001", release: "next", want: "17001"},
		{name: "a NUL ends it", text: "quiet\x00" + a + "=17001"},
		{name: "nothing", text: ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, others := "", 0
			for _, s := range parseCmdline([]byte(c.text), c.release).Settings(key) {
				if s.Disposition == Wins {
					got = canonical(t, s.Value)
				} else {
					others++
				}
			}
			if got != c.want || others != c.others {
				t.Errorf("%q wins beside %d others, want %q beside %d", got, others, c.want, c.others)
			}
		})
	}
	twin := parseCmdline([]byte("sysctl.user.max_inotify_watches=17001"), "")
	if s := twin.Settings("fs/inotify/max_user_watches"); len(s) != 1 || s[0].Disposition != Wins {
		t.Errorf("the other name of the variable: %+v", s)
	}
}

// TestCmdlineInitial: the command line comes before every file, and before
// systemd raises fs.file-max.
func TestCmdlineInitial(t *testing.T) {
	c := parseCmdline([]byte("sysctl.fs.file-max=5000000 sysctl.fs.inotify.max_user_watches=2097152"), "")
	for _, row := range []struct {
		key     sysctl.Key
		running sysctl.Value
		want    sysctl.Value
		by      string
	}{
		{sysctl.MaxUserWatches, 2097152, 2097152, "the kernel command line"},
		{sysctl.FileMax, 5000000, 5000000, "the kernel command line"},
		{sysctl.FileMax, 1<<63 - 1, 1<<63 - 1, "systemd"},
		{sysctl.MaxQueuedEvents, 16384, 16384, "the kernel's default"},
	} {
		least, most, by := c.Initial(row.key, machine, row.running)
		if least != row.want || most != row.want || !strings.HasPrefix(by, row.by) {
			t.Errorf("%s holding %s: %s to %s by %q, want %s by %q", row.key, row.running, least, most, by, row.want, row.by)
		}
	}
}

func TestReadCmdline(t *testing.T) {
	if c := ReadCmdline(t.TempDir()); len(c.Problems) != 1 || !strings.Contains(c.Problems[0].Problem, "--path.procfs") {
		t.Errorf("no command line: %+v", c)
	}
	if c := ReadCmdline(procfs(t, strings.Repeat("x ", maxCmdlineBytes))); len(c.Problems) != 1 {
		t.Errorf("a command line of 512 KiB: %+v", c.Problems)
	}
	c := ReadCmdline(procfs(t, "sysctl.fs.inotify.max_queued_events=17001"))
	if s := c.Settings(key); len(c.Problems) != 0 || len(s) != 1 || s[0].String() != "/proc/cmdline:1" {
		t.Errorf("got %+v", c)
	}
}

// FuzzCmdline: without quotes the arguments are the fields between blanks, and an
// argument behind any line whose quotes are closed is found.
func FuzzCmdline(f *testing.F) {
	f.Add([]byte("BOOT_IMAGE=/vmlinuz ro sysctl.fs.inotify.max_queued_events=1 -- x"))
	f.Add([]byte("\"a=b c\" d=\"e f\" =g"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var params [][]byte
		dashes := false
		for args := skipSpaces(text); len(args) > 0; {
			param, value, assigned, rest := nextArg(args)
			if len(rest) >= len(args) {
				t.Fatalf("%q: no progress at %q", text, args)
			}
			if !bytes.Contains(text, param) || !bytes.Contains(text, value) {
				t.Fatalf("%q: %q=%q is no part of it", text, param, value)
			}
			dashes = dashes || !assigned && string(param) == "--"
			if assigned {
				param = slices.Concat(param, []byte{'='}, value)
			}
			params = append(params, param)
			args = rest
		}
		if !bytes.Contains(text, []byte{'"'}) {
			var fields [][]byte
			for start, i := -1, 0; i <= len(text); i++ {
				switch {
				case i < len(text) && !isSpace(text[i]):
					if start < 0 {
						start = i
					}
				case start >= 0:
					fields, start = append(fields, text[start:i]), -1
				}
			}
			if !slices.EqualFunc(params, fields, bytes.Equal) {
				t.Fatalf("%q is split into %q, want %q", text, params, fields)
			}
		}
		if dashes || bytes.Count(text, []byte{'"'})%2 != 0 || bytes.IndexByte(text, 0) >= 0 {
			return
		}
		c := parseCmdline(slices.Concat(text, []byte(" sysctl.fs.inotify.max_queued_events=17777")), "")
		s := c.Settings(key)
		if len(s) == 0 || s[len(s)-1].Disposition != Wins || s[len(s)-1].Value != "17777" {
			t.Errorf("behind %q: %+v", text, s)
		}
	})
}
