package sysctld

import (
	"slices"
	"strings"
	"testing"
)

func TestTuned(t *testing.T) {
	root := plant(t, map[string]string{
		"/etc/tuned/active_profile": "node extra\n",
		"/etc/tuned/node/tuned.conf": `[main]
summary=ours
include=base, loop
[sysctl]
# ` + q + `=1
` + q + `=20001
kernel.pid_max=4194304
`,
		"/usr/lib/tuned/node/tuned.conf":          "[sysctl]\n" + q + "=1\n",
		"/usr/lib/tuned/profiles/base/tuned.conf": "[sysctl]\nfs/inotify/max_queued_events = \"20000\"\n[vm]\n" + q + "=2\n",
		"/usr/lib/tuned/loop/tuned.conf":          "[main]\ninclude=node\n",
		"/usr/lib/tuned/extra/tuned.conf":         "[main]\ninclude=../../../../etc/secret\n",
	})
	got, err := ReadTuned(root, key)
	if err != nil || got == nil {
		t.Fatal(got, err)
	}
	want := []Setting{
		{Place{"/usr/lib/tuned/profiles/base/tuned.conf", 2}, "fs/inotify/max_queued_events", "20000", Overridden, "/etc/tuned/node/tuned.conf:6"},
		{Place{"/etc/tuned/node/tuned.conf", 6}, q, "20001", Wins, ""},
	}
	if got.Profile != "node extra" || !slices.Equal(got.Lines, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, err := ReadTuned(root, "fs/nr_open"); got != nil || err != nil {
		t.Errorf("a key of which it says nothing: %+v, %v", got, err)
	}
	if got, err := ReadTuned(plant(t, nil), key); got != nil || err != nil {
		t.Errorf("without TuneD: %+v, %v", got, err)
	}
}

// FuzzParseTuned: every line found stands in the file, under its number.
func FuzzParseTuned(f *testing.F) {
	f.Add("[sysctl]\n" + q + "=1\n[main]\ninclude=a,b")
	f.Fuzz(func(t *testing.T, content string) {
		lines := strings.Split(content, "\n")
		_, found := parseTuned(strings.NewReader(content), "f", key)
		for _, s := range found {
			if l := lines[s.Line-1]; !strings.Contains(l, s.Key) || !strings.Contains(l, s.Value) {
				t.Errorf("line %d is %q, not %q = %q", s.Line, l, s.Key, s.Value)
			}
		}
	})
}
