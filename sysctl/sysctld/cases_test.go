package sysctld

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// key is what the cases are about: no program that runs beside a test cares
// for it.
const key = "fs/inotify/max_queued_events"

// A bootCase is a tree of files and the value that each loader would leave in
// its key; "" where it leaves the key alone. TestResolve compares it with Resolve,
// TestLoaders with the programs themselves.
type bootCase struct {
	name string
	// files by path; a content that begins with "-> " makes a link.
	files   map[string]string
	key     string // key, where empty
	systemd string
	procps  string
}

func (c *bootCase) path() string {
	if c.key != "" {
		return c.key
	}
	return key
}

const q = "fs.inotify.max_queued_events"

var bootCases = []bootCase{
	{name: "no file", files: map[string]string{}},
	{name: "one file", files: map[string]string{"/etc/sysctl.d/50-a.conf": q + " = 17001\n"}, systemd: "17001", procps: "17001"},
	{name: "a later name wins", files: map[string]string{
		"/etc/sysctl.d/50-a.conf": q + "=17001\n", "/etc/sysctl.d/60-b.conf": q + "=17002\n",
	}, systemd: "17002", procps: "17002"},
	{name: "the name counts, not the directory", files: map[string]string{
		"/etc/sysctl.d/50-a.conf": q + "=17001\n", "/usr/lib/sysctl.d/60-b.conf": q + "=17002\n",
	}, systemd: "17002", procps: "17002"},
	{name: "names compare as bytes", files: map[string]string{
		"/etc/sysctl.d/9-a.conf": q + "=17001\n", "/etc/sysctl.d/10-b.conf": q + "=17002\n", "/etc/sysctl.d/Z.conf": q + "=17003\n",
	}, systemd: "17003", procps: "17003"},
	{name: "etc masks usr", files: map[string]string{
		"/etc/sysctl.d/50-a.conf": q + "=17001\n", "/usr/lib/sysctl.d/50-a.conf": q + "=17002\n",
	}, systemd: "17001", procps: "17001"},
	{name: "a mask of every directory", files: map[string]string{
		"/usr/lib/sysctl.d/50-a.conf": q + "=17004\n", "/usr/local/lib/sysctl.d/50-a.conf": q + "=17003\n", "/run/sysctl.d/50-a.conf": q + "=17002\n",
	}, systemd: "17002", procps: "17002"},
	{name: "usr/local masks usr", files: map[string]string{
		"/usr/lib/sysctl.d/50-a.conf": q + "=17004\n", "/usr/local/lib/sysctl.d/50-a.conf": q + "=17003\n",
	}, systemd: "17003", procps: "17003"},
	{name: "a link to /dev/null masks", files: map[string]string{
		"/etc/sysctl.d/50-a.conf": "-> /dev/null", "/usr/lib/sysctl.d/50-a.conf": q + "=17002\n",
	}},
	{name: "an empty file masks", files: map[string]string{
		"/run/sysctl.d/50-a.conf": "", "/usr/lib/sysctl.d/50-a.conf": q + "=17002\n",
	}},
	{name: "a dangling link masks", files: map[string]string{
		"/etc/sysctl.d/50-a.conf": "-> /nowhere", "/usr/lib/sysctl.d/50-a.conf": q + "=17002\n",
	}},
	{name: "a link within the root", files: map[string]string{
		"/etc/sysctl.d/50-a.conf": "-> /etc/other", "/etc/other": q + "=17002\n",
	}, systemd: "17002", procps: "17002"},
	{name: "a loop of links", files: map[string]string{
		"/etc/sysctl.d/50-a.conf": "-> 51-b.conf", "/etc/sysctl.d/51-b.conf": "-> 50-a.conf", "/etc/sysctl.d/10-c.conf": q + "=17002\n",
	}, systemd: "17002", procps: "17002"},
	{name: "sysctl.conf is for procps", files: map[string]string{
		"/etc/sysctl.conf": q + "=17001\n", "/etc/sysctl.d/50-a.conf": q + "=17002\n",
	}, systemd: "17002", procps: "17001"},
	{name: "Debian's link to sysctl.conf", files: map[string]string{
		"/etc/sysctl.conf": q + "=17001\n", "/etc/sysctl.d/50-a.conf": q + "=17002\n", "/etc/sysctl.d/99-sysctl.conf": "-> ../sysctl.conf",
	}, systemd: "17001", procps: "17001"},
	{name: "sysctl.conf is last for procps even before zz", files: map[string]string{
		"/etc/sysctl.conf": q + "=17001\n", "/etc/sysctl.d/zz.conf": q + "=17002\n", "/etc/sysctl.d/99-sysctl.conf": "-> ../sysctl.conf",
	}, systemd: "17002", procps: "17001"},
	{name: "only .conf", files: map[string]string{
		"/etc/sysctl.d/50-a.conf.bak": q + "=17001\n", "/etc/sysctl.d/README": q + "=17002\n", "/etc/sysctl.d/50-a.conf~": q + "=17003\n",
	}},
	{name: "a hidden file is for procps", files: map[string]string{"/etc/sysctl.d/.hidden.conf": q + "=17001\n"}, procps: "17001"},
	{name: "slashes", files: map[string]string{"/etc/sysctl.d/a.conf": "fs/inotify/max_queued_events=17001\n"}, systemd: "17001", procps: "17001"},
	{name: "both spellings, the later wins", files: map[string]string{
		"/etc/sysctl.d/a.conf": "fs/inotify/max_queued_events=17001\n" + q + "=17002\n",
	}, systemd: "17002", procps: "17002"},
	{name: "the first separator decides", files: map[string]string{
		"/etc/sysctl.d/a.conf": "fs/inotify.max_queued_events=17001\nfs.inotify/max_queued_events=17002\n",
	}},
	{name: "a leading slash", files: map[string]string{"/etc/sysctl.d/a.conf": "/fs/inotify/max_queued_events=17001\n"}, systemd: "17001", procps: "17001"},
	{name: "a double slash", files: map[string]string{"/etc/sysctl.d/a.conf": "fs//inotify/./max_queued_events=17001\n"}, systemd: "17001", procps: "17001"},
	{name: "dot dot", files: map[string]string{"/etc/sysctl.d/a.conf": "fs/../fs/inotify/max_queued_events=17001\n"}, procps: "17001"},
	{name: "dot dot leaves proc sys", files: map[string]string{"/etc/sysctl.d/a.conf": "/../sys/fs/inotify/max_queued_events=17001\n"}, procps: "17001"},
	{name: "blanks everywhere", files: map[string]string{"/etc/sysctl.d/a.conf": " \t" + q + " \t= \t17001 \t \n"}, systemd: "17001", procps: "17001"},
	{name: "carriage returns", files: map[string]string{"/etc/sysctl.d/a.conf": "# x\r\n" + q + "=17001\r\n\r\n"}, systemd: "17001", procps: "17001"},
	{name: "a lone carriage return ends a line for systemd", files: map[string]string{"/etc/sysctl.d/a.conf": "# x\r" + q + "=17001\n"}, systemd: "17001"},
	{name: "a carriage return inside a value", files: map[string]string{"/etc/sysctl.d/a.conf": q + "=17001\r# x\n"}, systemd: "17001"},
	{name: "a form feed behind a value", files: map[string]string{"/etc/sysctl.d/a.conf": q + "=17001\f5\n"}},
	{name: "no newline at the end", files: map[string]string{"/etc/sysctl.d/a.conf": q + "=17001"}, systemd: "17001", procps: "17001"},
	{name: "comments", files: map[string]string{"/etc/sysctl.d/a.conf": "#" + q + "=17001\n;" + q + "=17002\n  # " + q + "=17003\n"}},
	{name: "no comment behind a value", files: map[string]string{"/etc/sysctl.d/a.conf": q + "=17001 # mine\n"}, systemd: "17001", procps: "17001"},
	{name: "a comment that touches the value", files: map[string]string{"/etc/sysctl.d/a.conf": q + "=17001# mine\n"}},
	{name: "two words", files: map[string]string{"/etc/sysctl.d/a.conf": q + "=17001 17002\n"}, systemd: "17001", procps: "17001"},
	{name: "hexadecimal and octal", files: map[string]string{"/etc/sysctl.d/a.conf": q + "=0x4269\n"}, systemd: "17001", procps: "17001"},
	{name: "octal", files: map[string]string{"/etc/sysctl.d/a.conf": q + "=041151\n"}, systemd: "17001", procps: "17001"},
	{name: "no octal", files: map[string]string{"/etc/sysctl.d/a.conf": q + "=018\n"}},
	{name: "a bad line is skipped", files: map[string]string{"/etc/sysctl.d/a.conf": "what is this\n" + q + "=17001\nand this\n"}, systemd: "17001", procps: "17001"},
	{name: "no value", files: map[string]string{"/etc/sysctl.d/a.conf": q + "=17001\n" + q + "=\n"}, procps: "17001"},
	{name: "text", files: map[string]string{"/etc/sysctl.d/a.conf": q + "=17001\n" + q + "=many\n"}, procps: "17001"},
	{name: "negative", files: map[string]string{"/etc/sysctl.d/a.conf": q + "=17001\n" + q + "=-1\n"}, procps: "17001"},
	{name: "past int", files: map[string]string{"/etc/sysctl.d/a.conf": q + "=17001\n" + q + "=2147483648\n"}, procps: "17001"},
	{name: "a dash ignores failures", files: map[string]string{"/etc/sysctl.d/a.conf": "-" + q + "=17001\n-no.such.key=1\n"}, systemd: "17001", procps: "17001"},
	{name: "a dash and a blank", files: map[string]string{"/etc/sysctl.d/a.conf": "- " + q + "=17001\n"}, systemd: "17001"},
	{name: "two dashes", files: map[string]string{"/etc/sysctl.d/a.conf": "--" + q + "=17001\n"}, procps: "17001"},
	{name: "a dash and no value takes the key back", files: map[string]string{
		"/etc/sysctl.d/a.conf": q + "=17001\n", "/etc/sysctl.d/b.conf": "-" + q + "\n",
	}, procps: "17001"},
	{name: "a glob", files: map[string]string{"/etc/sysctl.d/a.conf": "fs.inotify.max_queued_*=17001\n"}, systemd: "17001", procps: "17001"},
	{name: "a name beats a later glob", files: map[string]string{
		"/etc/sysctl.d/a.conf": q + "=17001\n", "/etc/sysctl.d/z.conf": "fs.inotify.*_queued_events=17002\n",
	}, systemd: "17001", procps: "17001"},
	{name: "a masked name beats no glob", files: map[string]string{
		"/etc/sysctl.d/b.conf": "-> /dev/null", "/usr/lib/sysctl.d/b.conf": q + "=17001\n", "/etc/sysctl.d/a.conf": "fs.inotify.*_queued_events=17002\n",
	}, systemd: "17002", procps: "17002"},
	{name: "an exclusion", files: map[string]string{
		"/etc/sysctl.d/a.conf": "fs.inotify.*_queued_events=17002\n-" + q + "\n",
	}},
	{name: "an exclusion by glob excludes nothing", files: map[string]string{
		"/etc/sysctl.d/a.conf": "fs.inotify.*_queued_events=17002\n-fs.inotify.max_q*\n-fs.*\n",
	}, systemd: "17002", procps: "17002"},
	{name: "an exclusion of the same glob takes it back", files: map[string]string{
		"/etc/sysctl.d/a.conf": "fs.inotify.*_queued_events=17002\n-fs.inotify.*_queued_events\n",
	}, procps: "17002"},
	{name: "two globs, the later wins", files: map[string]string{
		"/etc/sysctl.d/a.conf": "fs.inotify.*_queued_events=17001\nfs.inotify.max_queued_*=17002\n",
	}, systemd: "17002", procps: "17002"},
	{name: "a glob that is repeated stays where it was", files: map[string]string{
		"/etc/sysctl.d/a.conf": "fs.inotify.*_queued_events=17001\nfs.inotify.max_queued_*=17002\nfs.inotify.*_queued_events=17001\n",
	}, systemd: "17002", procps: "17001"},
	{name: "a glob with a new value moves to the end", files: map[string]string{
		"/etc/sysctl.d/a.conf": "fs.inotify.*_queued_events=17001\nfs.inotify.max_queued_*=17002\nfs.inotify.*_queued_events=17003\n",
	}, systemd: "17003", procps: "17003"},
	{name: "a glob does not cross a slash", files: map[string]string{"/etc/sysctl.d/a.conf": "fs/*_queued_events=17001\n"}},
	{name: "a bracket", files: map[string]string{"/etc/sysctl.d/a.conf": "fs.inotify.max_[p-r]ueued_events=17001\n"}, systemd: "17001", procps: "17001"},
	{name: "a negated bracket", files: map[string]string{"/etc/sysctl.d/a.conf": "fs.inotify.max_[!p]ueued_event?=17001\n"}, systemd: "17001", procps: "17001"},
	{name: "a glob with a refused value leaves the one before", files: map[string]string{
		"/etc/sysctl.d/a.conf": "fs.inotify.*_queued_events=17001\nfs.inotify.max_queued_*=many\n",
	}, systemd: "17001", procps: "17001"},
	{name: "a directory named .conf", files: map[string]string{
		"/etc/sysctl.d/50-a.conf/x": "", "/etc/sysctl.d/10-c.conf": q + "=17002\n",
	}, systemd: "17002", procps: "17002"},
	{name: "a NUL", files: map[string]string{"/etc/sysctl.d/a.conf": "x=1\x00" + q + "=17001\n"}, systemd: "17001"},
	{name: "junk around a line", files: map[string]string{
		"/etc/sysctl.d/a.conf": "\x7fELF\x02\x01\n" + q + "=17001\n\xff\xfe\xfd\n",
	}, systemd: "17001", procps: "17001"},
	{name: "a line of 1 MiB ends a file for systemd", files: map[string]string{
		"/etc/sysctl.d/a.conf": q + "=17001\n#" + strings.Repeat("x", 1<<20) + "\n" + q + "=17002\n",
	}, systemd: "17001", procps: "17002"},
	{
		name: "an interface with a dot, slashed", key: "net/ipv4/conf/eth0.100/forwarding",
		files:   map[string]string{"/etc/sysctl.d/a.conf": "net/ipv4/conf/eth0.100/forwarding=1\n"},
		systemd: "1", procps: "1",
	},
	{
		name: "an interface with a dot, dotted", key: "net/ipv4/conf/eth0.100/forwarding",
		files:   map[string]string{"/etc/sysctl.d/a.conf": "net.ipv4.conf.eth0/100.forwarding=1\n"},
		systemd: "1", procps: "1",
	},
	{
		name: "an interface with a dot, wrongly", key: "net/ipv4/conf/eth0.100/forwarding",
		files: map[string]string{"/etc/sysctl.d/a.conf": "net.ipv4.conf.eth0.100.forwarding=1\n"},
	},
}

// twinCases are about two names of one variable. The loaders need
// CAP_SYS_RESOURCE to write user.*, so that they are left out of TestLoaders;
// TestTwins proves that the variable is one.
var twinCases = []bootCase{
	{
		name: "the other name of the same variable", key: "fs/inotify/max_user_instances",
		files: map[string]string{
			"/etc/sysctl.d/a.conf": "fs.inotify.max_user_instances=17001\n", "/etc/sysctl.d/b.conf": "user.max_inotify_instances=17002\n",
		},
		systemd: "17002", procps: "17002",
	},
	{
		name: "the other name, first", key: "user/max_inotify_watches",
		files: map[string]string{
			"/etc/sysctl.d/b.conf": "fs.inotify.max_user_watches=17001\n", "/etc/sysctl.d/a.conf": "user.max_inotify_watches=17002\n",
		},
		systemd: "17001", procps: "17001",
	},
	{
		name: "a glob over the other name", key: "fs/inotify/max_user_instances",
		files: map[string]string{
			"/etc/sysctl.d/a.conf": "fs.inotify.max_user_instances=17001\n", "/etc/sysctl.d/b.conf": "user.max_inotify_inst*=17002\n",
		},
		systemd: "17002", procps: "17002",
	},
}

// plant makes the files of c below a new root, with the directories that the
// loaders look for.
func plant(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for _, dir := range []string{"/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			err = os.Symlink(target, path)
		} else {
			err = os.WriteFile(path, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestResolve(t *testing.T) {
	for _, c := range slices.Concat(bootCases, twinCases) {
		t.Run(c.name, func(t *testing.T) {
			root := plant(t, c.files)
			for loader, want := range map[Loader]string{Systemd: c.systemd, Procps: c.procps} {
				if got := winner(t, root, loader, c.path()); got != want {
					t.Errorf("%s: %q wins, want %q", loader, got, want)
				}
			}
		})
	}
}

// winner returns the first word of the value that wins: what the kernel reads.
func winner(t *testing.T, root string, loader Loader, path string) string {
	t.Helper()
	b, err := Read(root, loader, path)
	if err != nil {
		t.Fatal(err)
	}
	v := b.Resolve(path)
	if v.Winner == nil {
		return ""
	}
	return canonical(t, v.Winner.Value)
}
