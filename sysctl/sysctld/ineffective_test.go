package sysctld

import (
	"slices"
	"strings"
	"testing"
)

// TestIneffective: a line that names the key and sets nothing is shown with the
// reason, for each loader that ignores it.
func TestIneffective(t *testing.T) {
	both := Loaders
	for _, c := range []struct {
		name    string
		files   map[string]string
		at      string // file:line
		reason  string
		loaders []Loader // which ignore the line
	}{
		{"a byte order mark", map[string]string{"/etc/sysctl.d/a.conf": "\ufeff" + q + "=17001\n"}, "/etc/sysctl.d/a.conf:1", "byte order mark", both},
		{"a command", map[string]string{"/etc/sysctl.d/a.conf": "#\nsysctl -w " + q + "=17001\n"}, "/etc/sysctl.d/a.conf:2", "no loader runs commands", both},
		{"a command with its path", map[string]string{"/etc/sysctl.d/a.conf": "/sbin/sysctl -w " + q + "=17001\n"}, "/etc/sysctl.d/a.conf:1", "no loader runs commands", both},
		{"echo", map[string]string{"/etc/sysctl.d/a.conf": "echo 17001 > /proc/sys/fs/inotify/max_queued_events\n"}, "/etc/sysctl.d/a.conf:1", "no loader runs commands", both},
		{"no equals sign", map[string]string{"/etc/sysctl.d/a.conf": q + " 17001\n"}, "/etc/sysctl.d/a.conf:1", "no \"=\"", both},
		{"a colon", map[string]string{"/etc/sysctl.d/a.conf": q + ": 17001\n"}, "/etc/sysctl.d/a.conf:1", "no \"=\"", both},
		{"a no-break space", map[string]string{"/etc/sysctl.d/a.conf": "\u00a0" + q + " = 17001\n"}, "/etc/sysctl.d/a.conf:1", "cannot be seen", both},
		{"a word before", map[string]string{"/etc/sysctl.d/a.conf": "set " + q + " = 17001\n"}, "/etc/sysctl.d/a.conf:1", "words stand before", both},
		{"mixed separators", map[string]string{"/etc/sysctl.d/a.conf": "fs/inotify.max_queued_events = 17001\n"}, "/etc/sysctl.d/a.conf:1", "after the first separator", both},
		{"capitals", map[string]string{"/etc/sysctl.d/a.conf": strings.ToUpper(q) + " = 17001\n"}, "/etc/sysctl.d/a.conf:1", "case-sensitive", both},
		{"the path of the file", map[string]string{"/etc/sysctl.d/a.conf": "/proc/sys/fs/inotify/max_queued_events = 17001\n"}, "/etc/sysctl.d/a.conf:1", "/proc/sys", both},
		{"dot dot", map[string]string{"/etc/sysctl.d/a.conf": "fs/../fs/inotify/max_queued_events=17001\n"}, "/etc/sysctl.d/a.conf:1", "refuses a name", []Loader{Systemd}},
		{"a comment that a carriage return ends", map[string]string{"/etc/sysctl.d/a.conf": "# x\r" + q + "=17001\n"}, "/etc/sysctl.d/a.conf:1", "carriage return", []Loader{Procps}},
		{"no .conf", map[string]string{"/etc/sysctl.d/99-a": q + "=17001\n"}, "/etc/sysctl.d/99-a:1", "does not end in .conf", both},
		{"a backup", map[string]string{"/usr/lib/sysctl.d/a.conf.rpmsave": q + "=17001\n"}, "/usr/lib/sysctl.d/a.conf.rpmsave:1", "does not end in .conf", both},
		{"capitals in .CONF", map[string]string{"/etc/sysctl.d/a.CONF": q + "=17001\n"}, "/etc/sysctl.d/a.CONF:1", "does not end in .conf", both},
		{"a hidden file", map[string]string{"/etc/sysctl.d/.a.conf": q + "=17001\n"}, "/etc/sysctl.d/.a.conf:1", "hidden", []Loader{Systemd}},
		{"a directory below", map[string]string{"/etc/sysctl.d/d/a.conf": q + "=17001\n"}, "/etc/sysctl.d/d/a.conf:1", "no directories below", both},
		{"the wrong directory", map[string]string{"/etc/sysctl.conf.d/a.conf": q + "=17001\n"}, "/etc/sysctl.conf.d/a.conf:1", "no loader reads the directory", both},
		{"systemd's directory", map[string]string{"/etc/systemd/sysctl.d/a.conf": q + "=17001\n"}, "/etc/systemd/sysctl.d/a.conf:1", "no loader reads the directory", both},
		{"a script", map[string]string{"/etc/sysctl.d/a.sh": "#!/bin/sh\nsysctl -w " + q + "=17001\n"}, "/etc/sysctl.d/a.sh:2", "does not end in .conf", both},
		{"sysctl.conf", map[string]string{"/etc/sysctl.conf": q + "=17001\n"}, "/etc/sysctl.conf:1", "systemd-sysctl does not read /etc/sysctl.conf", []Loader{Systemd}},
		{"sysctl.conf, linked", map[string]string{"/etc/sysctl.conf": q + "=17001\n", "/etc/sysctl.d/99-sysctl.conf": "-> ../sysctl.conf"}, "/etc/sysctl.conf:1", "", nil},
		{"a comment", map[string]string{"/etc/sysctl.d/a.conf": "# " + q + "=17001\n"}, "/etc/sysctl.d/a.conf:1", "", nil},
		{"a longer name", map[string]string{"/etc/sysctl.d/a.conf": "x." + q + "_x = 17001\n"}, "/etc/sysctl.d/a.conf:1", "", nil},
		{"another key without .conf", map[string]string{"/etc/sysctl.d/99-a": "vm.swappiness=1\n"}, "/etc/sysctl.d/99-a:1", "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := plant(t, c.files)
			for _, loader := range Loaders {
				b, err := Read(root, loader, key)
				if err != nil {
					t.Fatal(err)
				}
				v := b.Resolve(key)
				if v.Winner != nil && v.Winner.String() == c.at && slices.Contains(c.loaders, loader) {
					t.Errorf("%s: the line wins", loader)
				}
				i := slices.IndexFunc(v.Others, func(s Setting) bool { return s.String() == c.at && s.Disposition == NoEffect })
				if found := i >= 0; found != slices.Contains(c.loaders, loader) {
					t.Errorf("%s: shown as ineffective: %v in %+v", loader, found, v.Others)
				} else if found && !strings.Contains(v.Others[i].Reason, c.reason) {
					t.Errorf("%s: the reason is %q, want %q", loader, v.Others[i].Reason, c.reason)
				}
			}
		})
	}
}

// TestMaskedByNull: the reader learns that the file of the same name is a link to
// /dev/null.
func TestMaskedByNull(t *testing.T) {
	root := plant(t, map[string]string{"/etc/sysctl.d/a.conf": "-> /dev/null", "/usr/lib/sysctl.d/a.conf": q + "=17001\n"})
	for _, loader := range Loaders {
		b, err := Read(root, loader, key)
		if err != nil {
			t.Fatal(err)
		}
		v := b.Resolve(key)
		if len(v.Others) != 1 || v.Others[0].Disposition != Masked || !strings.Contains(v.Others[0].Reason, "/dev/null") {
			t.Errorf("%s: %+v", loader, v)
		}
	}
}

func TestUTF16(t *testing.T) {
	text := []byte{0xff, 0xfe}
	for _, c := range []byte(q + "=17001\r\n") {
		text = append(text, c, 0)
	}
	root := plant(t, map[string]string{"/etc/sysctl.d/a.conf": string(text)})
	for _, loader := range Loaders {
		b, err := Read(root, loader, key)
		if err != nil {
			t.Fatal(err)
		}
		if v := b.Resolve(key); v.Winner != nil || len(b.Problems) == 0 || !strings.Contains(b.Problems[0].Problem, "UTF-16") {
			t.Errorf("%s: %+v, %v", loader, v, b.Problems)
		}
	}
}

// TestCommands: lines of start scripts and cloud-init that name the key.
func TestCommands(t *testing.T) {
	root := plant(t, map[string]string{
		"/var/lib/cloud/instance/user-data.txt": "#cloud-config\nruncmd:\n  - sysctl -w " + q + "=17001\n",
		"/etc/rc.local":                         "#!/bin/sh\n# " + q + "\necho 17001 >/proc/sys/fs/inotify/max_queued_events\n",
		"/etc/systemd/system/x.service":         "[Service]\nExecStart=/sbin/sysctl -w fs/inotify/max_queued_events=17001\n",
		"/etc/systemd/system/x.service.d/o":     q + "\n",
		"/etc/cloud/cloud.cfg.d/90-x.txt":       q + "\n",
		"/etc/cron.d/x":                         "@reboot root sysctl -w " + q + "=17001\n",
		"/etc/ufw/sysctl.conf":                  "; " + q + "=1\nfs/inotify/max_queued_events=17001\n",
		"/etc/credstore/sysctl.extra":           q + "=17001\n",
	})
	var got []string
	for _, s := range Commands(root, key) {
		got = append(got, s.String())
	}
	want := []string{"/var/lib/cloud/instance/user-data.txt:3", "/etc/rc.local:3", "/etc/systemd/system/x.service:2", "/etc/cron.d/x:1", "/etc/ufw/sysctl.conf:2", "/etc/credstore/sysctl.extra:1"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := Commands(root, "fs/nr_open"); got != nil {
		t.Errorf("a key that no file names: %v", got)
	}
}

// FuzzWhyIneffective: a line that sets the key needs no reason, and a reason is
// only given for a line that mentions it.
func FuzzWhyIneffective(f *testing.F) {
	f.Add("sysctl -w " + q + "=1")
	f.Add("# x\r" + q + "=1")
	f.Fuzz(func(t *testing.T, text string) {
		for _, loader := range Loaders {
			a, ok, _ := loader.parseLine(text)
			why := loader.whyIneffective(text, ok, key)
			if why != "" && !mentions(text, key) {
				t.Errorf("%s: %q: %s", loader, text, why)
			}
			if ok && a.sets(key) && !isGlob(a.name) && a.name == key && !strings.ContainsAny(text, "\r") && mentions(text, key) && strings.TrimSpace(text)[0] == '#' {
				t.Errorf("%s: a comment sets the key: %q", loader, text)
			}
		}
	})
}
