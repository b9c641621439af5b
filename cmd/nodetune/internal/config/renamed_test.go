package config

import (
	"strings"
	"testing"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/disk/reclaim"
)

func TestOldWords(t *testing.T) {
	for _, test := range []struct {
		text, warning, err string
		ok                 func(Config) bool
	}{
		{"disk: {mode: exclusive}", "", "", func(c Config) bool { return c.Disk.Mode == disk.Own }},
		{"disk: {mode: own}", "x.yaml:3: disk.mode: own is the old name of exclusive: write exclusive", "", func(c Config) bool { return c.Disk.Mode == disk.Own }},
		{"disk: {mode: owned}", "", `x.yaml:3: disk.mode: "owned" is not a mode: write observe, assist or exclusive`, nil},
		{"disk: {readers: {excludePods: [a/b]}}", "", "", func(c Config) bool { return c.Disk.Readers.Excludes("a", "b") }},
		{"disk: {readers: {uncollected: [a/b]}}", "x.yaml:3: disk.readers.uncollected is the old name of disk.readers.excludePods", "", func(c Config) bool { return c.Disk.Readers.Excludes("a", "b") }},
		{"disk: {readers: {uncollected: [a/b], excludePods: [a/b]}}", "", "x.yaml:3: disk.readers.excludePods: is there twice", nil},
		{"disk: {readers: {uncollected: [ab]}}", "", `x.yaml:3: disk.readers.excludePods[0]: "ab" is not NAMESPACE/POD`, nil},
		{"disk: {reclaim: {classes: [active-logs, other-archives]}}", "", "", func(c Config) bool {
			return c.Disk.Reclaim.Has(reclaim.ClassActiveLogs) && c.Disk.Reclaim.Has(reclaim.ClassOtherArchives)
		}},
		{"disk: {reclaim: {classes: [live]}}", "x.yaml:3: disk.reclaim.classes[0]: live is the old name of active-logs", "", func(c Config) bool { return c.Disk.Reclaim.Has(reclaim.ClassActiveLogs) }},
		{"disk: {reclaim: {classes: [rotated, foreign-archives]}}", "x.yaml:3: disk.reclaim.classes[1]: foreign-archives is the old name of other-archives", "", func(c Config) bool {
			return c.Disk.Reclaim.Has(reclaim.ClassOtherArchives) && c.Disk.Reclaim.Has(reclaim.ClassRotated)
		}},
		{"sysctl: {rules: [{key: fs.inotify.max_user_instance, atLeast: 5}]}", "", "; did you mean fs.inotify.max_user_instances?", nil},
		{"sysctl: {rules: [{key: fs/inotify/max_user_wathces, atLeast: 5}]}", "", "; did you mean fs.inotify.max_user_watches?", nil},
		{"sysctl: {rules: [{key: user.max_inotify_watch, atLeast: 5}]}", "x.yaml:3: sysctl.rules[0].key: nodetune knows no key \"user.max_inotify_watch\"; did you mean user.max_inotify_watches?", "", func(Config) bool { return true }},
		{"sysctl: {rules: [{key: user.max_something_else, atLeast: 5}]}", "", "", func(Config) bool { return true }},
		{"disk: {logpath: [/var/log]}", "", "x.yaml:3: disk.logpath: is not a field here: want one of mode, logPaths, ", nil},
		{"disk: {logpath: [/var/log]}", "", "; did you mean logPaths?", nil},
	} {
		t.Run(test.text, func(t *testing.T) {
			c, err := parse([]byte(head+test.text+"\n"), "x.yaml")
			switch {
			case test.err != "":
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("error %v, want %s", err, test.err)
				}
				return
			case err != nil || !test.ok(c):
				t.Fatalf("%v: %+v", err, c.Disk)
			}
			got := strings.Join(c.Warnings, "\n")
			if test.warning == "" && got != "" || !strings.HasPrefix(got, test.warning) || len(c.Warnings) > 1 {
				t.Errorf("warnings %q, want %q", c.Warnings, test.warning)
			}
			if err := validateSchema(schema(t), head+test.text+"\n"); err != nil {
				t.Errorf("the schema refuses it: %v", err)
			}
		})
	}
}

func TestReclaimClassOfAFlag(t *testing.T) {
	for _, test := range []struct {
		in, warning, err string
		want             reclaim.Class
	}{
		{"archives", "", "", reclaim.ClassArchives},
		{"active-logs", "", "", reclaim.ClassActiveLogs},
		{"live", "--class: live is the old name of active-logs", "", reclaim.ClassActiveLogs},
		{"other-archives", "", "", reclaim.ClassOtherArchives},
		{"foreign-archives", "--class: foreign-archives is the old name of other-archives", "", reclaim.ClassOtherArchives},
		{"activelogs", "", "; did you mean active-logs?", ""},
		{"", "", `--class: "" is not a class: write one of ballast, archives, other-archives, rotated, orphans, journal, deleted, active-logs, cores, unread`, ""},
	} {
		c, warning, err := ReclaimClass("--class", test.in)
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%q: error %v, want %s", test.in, err, test.err)
			}
		} else if err != nil || c != test.want || !strings.HasPrefix(warning, test.warning) || test.warning == "" && warning != "" {
			t.Errorf("%q: %q, %q, %v", test.in, c, warning, err)
		}
	}
}

func TestLogPaths(t *testing.T) {
	for path, ok := range map[string]bool{
		"/var/log":                          true,
		"/var/log/pods":                     true,
		"/var/lib/docker/containers":        true,
		"/var/snap/microk8s/common/var/log": true,
		"/var/logs":                         false,
		"/var/lib":                          false,
		"/var/lib/docker":                   false,
		"/var/lib/kubelet/pods":             false,
		"/etc":                              false,
		"/home/app/log":                     false,
		"/srv/var/log":                      false,
	} {
		_, err := parse([]byte(head+"disk: {logPaths: ["+path+"]}\n"), "x.yaml")
		if ok != (err == nil) || err != nil && !strings.Contains(err.Error(), "x.yaml:3: disk.logPaths[0]: \""+path+"\" is outside of the directories of logs") {
			t.Errorf("%s: %v", path, err)
		}
		if _, err := parse([]byte(head+"disk: {allowOtherLogPaths: true, logPaths: ["+path+"]}\n"), "x.yaml"); err != nil {
			t.Errorf("%s, allowed: %v", path, err)
		}
	}
}

func TestSuggest(t *testing.T) {
	names := []string{"atLeast", "ceiling", "exactly", "allowLower", "reportOnly", "memoryPercent"}
	for word, want := range map[string]string{
		"atleast": "atLeast", "at_least": "atLeast", "celing": "ceiling", "exactlly": "exactly", "memorypercnet": "memoryPercent",
		"reportonly": "reportOnly", "xyz": "", "": "", "a": "", strings.Repeat("atLeast", 100): "", "minimum": "",
	} {
		if got := Suggest(word, names); got != want {
			t.Errorf("%.20q: %q, want %q", word, got, want)
		}
	}
}
