package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/nodetune/nodetune/reporter/diagnosis"
	"github.com/nodetune/nodetune/sysctl/sysctld"
)

func explainJSON(t *testing.T, h hostDir, args ...string) (diagnosis.Explanation, int) {
	t.Helper()
	code, stdout, stderr := h.run(append([]string{"explain", "-o", "json"}, args...)...)
	var doc diagnosis.Explanation
	if err := json.Unmarshal([]byte(stdout), &doc); err != nil {
		t.Fatalf("%v: code %d\n%s%s", err, code, stdout, stderr)
	}
	return doc, code
}

func TestExplainKey(t *testing.T) {
	h := newHost(t)
	h.put(t, "root/usr/lib/sysctl.d/50-a.conf", "fs.inotify.max_user_instances = 64\n")
	h.put(t, "root/etc/sysctl.d/60-b.conf", "# b\nfs/inotify/max_user_instances = 256\n")
	h.put(t, "root/etc/sysctl.conf", "fs.inotify.max_user_instances = 16384\n")
	doc, code := explainJSON(t, h, "fs/inotify/max_user_instances")
	if code != exitOK || doc.Kind != "Explanation" || len(doc.Keys) != 1 {
		t.Fatalf("code %d, %+v", code, doc)
	}
	k := doc.Keys[0]
	if k.Key != "fs.inotify.max_user_instances" || k.Value != 128 || k.Want != 8192 || k.KernelDefault != 128 || k.Why == "" || !strings.Contains(k.Breaks, "errno=24") {
		t.Errorf("got %+v", k)
	}
	for i, want := range []diagnosis.BootValue{
		{Resolution: sysctld.Resolution{Loader: sysctld.Systemd}, Value: 256, By: "/etc/sysctl.d/60-b.conf:2"},
		{Resolution: sysctld.Resolution{Loader: sysctld.Procps}, Value: 16384, By: "/etc/sysctl.conf:1", Satisfied: true},
	} {
		got := k.Boot[i]
		if got.Loader != want.Loader || got.Value != want.Value || got.By != want.By || got.Satisfied != want.Satisfied || len(got.Others) == 0 {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

// TestExplainSources: the kernel command line, TuneD, start scripts, and a value
// that no known source gives.
func TestExplainSources(t *testing.T) {
	h := newHost(t)
	h.put(t, "proc/cmdline", "ro sysctl.fs.inotify.max_user_watches=2097152 sysctl/fs/inotify/max_queued_events=131072\n")
	h.put(t, "proc/sys/fs/inotify/max_user_instances", "70000\n")
	h.put(t, "root/etc/tuned/active_profile", "p\n")
	h.put(t, "root/etc/tuned/p/tuned.conf", "[sysctl]\nfs.inotify.max_queued_events = >${n}\n[variables]\nn=200000\n")
	h.put(t, "root/etc/rc.local", "sysctl -w fs.inotify.max_user_instances=70000\n")
	h.put(t, "root/etc/sysctl.d/a.conf", "fs.inotify.max_queued_events = 5\n")
	for _, c := range []struct {
		key  string
		want []string
	}{
		{"fs.inotify.max_user_watches", []string{
			"next boot, procps          2097152, no file sets it: the kernel command line, sysctl.fs.inotify.max_user_watches=2097152\n",
			"command line               /proc/cmdline:1: sysctl.fs.inotify.max_user_watches = 2097152 (wins)\n",
		}},
		{"fs.inotify.max_queued_events", []string{
			"next boot, procps          5, set by /etc/sysctl.d/a.conf:1; short of the rule\n",
			"= 131072 (overridden by /etc/sysctl.d/a.conf:1)\n",
			"the active profile p raises it to 200000 and never lowers it: /etc/tuned/p/tuned.conf:2\n",
		}},
		{"fs.inotify.max_user_instances", []string{
			"/etc/rc.local:1: sysctl -w fs.inotify.max_user_instances=70000 (rc.local, at each boot)\n",
			"source                     no known source gives the running value",
		}},
	} {
		code, stdout, stderr := h.run("explain", c.key)
		for _, want := range c.want {
			if code != exitOK || !strings.Contains(stdout, want) {
				t.Errorf("code %d, want %q in\n%s%s", code, want, stdout, stderr)
			}
		}
	}
	// nodetune's own raise is no unknown source.
	if code, stdout, _ := h.run("apply"); code != exitOK {
		t.Fatalf("code %d\n%s", code, stdout)
	}
	doc, _ := explainJSON(t, h, "fs.epoll.max_user_watches")
	if doc.Keys[0].SourceUnknown {
		t.Errorf("%+v", doc.Keys[0])
	}
}

func TestExplainAllKeys(t *testing.T) {
	h := newHost(t)
	code, stdout, stderr := h.run("explain")
	if code != exitOK || !strings.Contains(stdout, "fs.inotify.max_user_watches") || !strings.Contains(stdout, "NEXT BOOT") {
		t.Errorf("code %d\n%s%s", code, stdout, stderr)
	}
	// systemd's number is there before any file, and no float rounds it.
	doc, _ := explainJSON(t, h, "fs.file-max")
	for _, b := range doc.Keys[0].Boot {
		if b.Value.String() != "9223372036854775807" || !b.Satisfied || !strings.Contains(b.By, "systemd") {
			t.Errorf("fs.file-max: %+v", b)
		}
	}
}

func TestExplainMemory(t *testing.T) {
	doc, _ := explainJSON(t, newHost(t), "fs.inotify.max_user_watches")
	var got []int64
	for _, c := range doc.Keys[0].Memory {
		if c.Units != 524288 || c.Bytes != 524288*c.UnitBytes {
			t.Errorf("got %+v", c)
		}
		got = append(got, c.UnitBytes)
	}
	if len(got) != 4 || got[0] != 1224 || got[3] != 3473 {
		t.Errorf("costs of %v bytes", got)
	}
}

func TestExplainWhatItCannot(t *testing.T) {
	h := newHost(t)
	for key, want := range map[string]struct {
		code int
		text string
	}{
		"net.ipv4.ip_forward": {exitUsage, "net.*"},
		"fs..file-max":        {exitUsage, "empty component"},
		"fs/../../etc/passwd": {exitUsage, "leave /proc/sys"},
		"fs.file\nmax":        {exitUsage, "0x0a"},
		"vm.max_map_count":    {exitOK, "no such"},
		"kernel.pid_max":      {exitOK, "no rule"},
	} {
		code, stdout, stderr := h.run("explain", key)
		if code != want.code || !strings.Contains(stdout+stderr, want.text) {
			t.Errorf("%q: code %d, want %d and %q\n%s%s", key, code, want.code, want.text, stdout, stderr)
		}
	}
}

func TestExplainHostile(t *testing.T) {
	h := newHost(t)
	h.put(t, "root/etc/sysctl.d/50-\x1b[31m.conf", "\x00\x01\x02\n")
	code, stdout, _ := h.run("explain", "fs.file-max")
	if code != exitUnreadable || !strings.Contains(stdout, "is not text") || strings.Contains(stdout, "\x1b[31m") {
		t.Errorf("code %d\n%q", code, stdout)
	}
}

func TestExplainTuned(t *testing.T) {
	h := newHost(t)
	h.put(t, "root/etc/tuned/active_profile", "mine\n")
	h.put(t, "root/etc/tuned/mine/tuned.conf", "[sysctl]\nfs.file-max=1000\n")
	code, stdout, _ := h.run("explain", "fs.file-max")
	if code != exitOK || !strings.Contains(stdout, "/etc/tuned/mine/tuned.conf:2") {
		t.Errorf("code %d\n%s", code, stdout)
	}
}

func TestExplainCompletion(t *testing.T) {
	var stdout, stderr bytes.Buffer
	code := run([]string{"__complete", "explain", "fs.inotify."}, strings.NewReader(""), &stdout, &stderr)
	if code != exitOK || !strings.Contains(stdout.String(), "fs.inotify.max_user_instances\n") {
		t.Errorf("code %d\n%s%s", code, &stdout, &stderr)
	}
}
