package reclaim

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nodetune/nodetune/internal/disktest"
)

// What may not go never stands in a plan, and what stands in it is in order.
func TestLadder(t *testing.T) {
	old := disktest.Noon.Add(-48 * time.Hour)
	all := []Candidate{
		{Class: ClassUnread, Path: "/l/a.1", Bytes: 1, At: old, Log: "/l/a"},
		{Class: ClassCores, Path: "/c/core", Bytes: 1, At: old},
		{Class: ClassCores, Path: "/c/core.new", Bytes: 1, At: disktest.Noon.Add(-time.Hour)},
		{Class: ClassArchives, Path: "/l/a.2", Bytes: 1, At: old.Add(1), Log: "/l/a"},
		{Class: ClassArchives, Path: "/l/a.1", Bytes: 1, At: old, Log: "/l/a"},
		{Class: ClassArchives, Path: "/l/a.3", Bytes: 1, At: old.Add(2), Log: "/l/a"},
		{Class: ClassArchives, Path: "/l/b.1", Bytes: 1, At: old, Log: "/l/b"}, // its only one
		{Class: ClassArchives, Path: "/l/c.2", Bytes: 1, At: disktest.Noon.Add(-time.Minute), Log: "/l/c"},
		{Class: ClassArchives, Path: "/l/c.1", Bytes: 1, At: disktest.Noon.Add(-2 * time.Minute), Log: "/l/c"}, // in its grace
		{Class: ClassRotated, Path: "/l/a.4", Bytes: 100, At: old, Log: "/l/a"},
		{Class: ClassOrphans, Path: "/p/new", Bytes: 1, At: disktest.Noon.Add(-time.Minute)},
		{Class: ClassOrphans, Path: "/p/old", Bytes: 1, At: old},
		{Class: ClassJournal, Path: "/j/1", Bytes: 40 << 20, At: old},
		{Class: ClassJournal, Path: "/j/2", Bytes: 40 << 20, At: old.Add(1)},
		{Class: ClassJournal, Path: "/j/3", Bytes: 40 << 20, At: old.Add(2)},
		{Class: ClassDeleted, Path: "/l/gone", Bytes: 4},
		{Class: ClassActiveLogs, Path: "/l/small", Bytes: 5, At: disktest.Noon},
		{Class: ClassActiveLogs, Path: "/l/large", Bytes: 7, At: disktest.Noon},
		{Class: ClassActiveLogs, Path: "/l/ours", Bytes: 6, At: disktest.Noon, rule: true},
		{Class: ClassBallast, Path: "/l/.nodetune-ballast", Bytes: 64 << 20, At: old},
	}
	paths := func(steps []Step) string {
		var s []string
		for _, x := range steps {
			s = append(s, x.Path)
		}
		return strings.Join(s, " ")
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	steps := Plan(all, DefaultPolicy(), false, disktest.Noon)
	if got, want := paths(steps), "/l/a.1 /l/a.2 /l/a.3 /l/a.4 /p/old /j/1 /l/gone /l/large /l/ours /l/small /c/core"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, s := range steps {
		if want := s.Class == ClassArchives || s.Class == ClassRotated || s.Path == "/l/ours"; s.Allowed != want {
			t.Errorf("%s: allowed %v without being named", s.Class, s.Allowed)
		}
	}
	if got, want := paths(Plan(all, DefaultPolicy(), true, disktest.Noon)),
		"/l/.nodetune-ballast /l/a.1 /l/a.2 /l/a.3 /l/a.4 /p/old /j/1 /l/gone /l/large /l/ours /l/small /c/core /l/a.1"; got != want {
		t.Errorf("critical: got  %s\nwant %s", got, want)
	}
	if got := paths(planned(steps, 50)); got != "/l/a.1 /l/a.2 /l/a.3 /l/a.4" {
		t.Errorf("50 bytes: %s", got)
	}
}

func TestClassOf(t *testing.T) {
	const pod = "/var/log/pods/default_web-0_11111111-2222-3333-4444-555555555555/web"
	for _, c := range []struct {
		dir, name string
		want      Class
	}{
		{"/var/log", "syslog", ""},
		{"/var/log", "syslog.1", ClassOtherArchives}, // where logrotate's configuration names syslog
		{"/var/log/kubernetes", "audit.log.2.gz", ""},
		{"/var/log", "btmp.1", ""},
		{"/var/log/backup", "customers-20261101.gz", ""},
		{"/var/log/shop/crash", "service.log", ""},
		{"/var/log/shop/journal", "orders@1.journal", ""},
		{"/var/log", "syslog.2.gz", ClassOtherArchives},
		{"/var/log", "app.log.20260131-110000000000.gz", ClassArchives},
		{"/var/log", "app.log.20260131-110000000000", ClassRotated},
		{"/var/log/audit", "audit.log.2.gz", ""},
		{"/var/log", "backup.tar.gz", ""}, // compressed, but nothing says that it is a log's
		{pod, "0.log", ""},
		{pod, "0.log.20260131-110000", ""},
		{pod, "0.log.20260131-110000.gz", ClassOtherArchives},
		{"/var/log/journal/x", "system.journal", ""},
		{"/var/log/journal/x", "system@0-1-2.journal", ClassJournal},
		{"/var/log/journal/x", "system.journal~", ClassJournal},
		{pod, "core.123", ""},
		{"/var/lib/systemd/coredump", "core.x.zst", ClassCores},
		{"/var/log", ballastName, ClassBallast},
	} {
		if got, _ := classOf(placeOf(c.dir, "/var/log/pods"), c.name); got != c.want {
			t.Errorf("%s/%s is %q, want %q", c.dir, c.name, got, c.want)
		}
	}
}

// Nothing outside of the names that are known to be archives ever becomes a
// candidate.
func FuzzClassOf(f *testing.F) {
	f.Add("/var/log", "syslog.2.gz")
	f.Add("/var/log/journal/x", "system@1.journal")
	f.Fuzz(func(t *testing.T, dir, name string) {
		c, log := classOf(placeOf(dir, "/var/log/pods"), name)
		switch c {
		case ClassArchives, ClassRotated, ClassOtherArchives:
			if log == "" || strings.HasSuffix(log, name) || strings.HasSuffix(name, ".log") || slices.Contains(Classes[4:], c) {
				t.Errorf("%q in %q: %q of %q", name, dir, c, log)
			}
		}
	})
}
