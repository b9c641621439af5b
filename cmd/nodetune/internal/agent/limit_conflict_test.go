package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nodetune/nodetune/sysctl"
)

func TestWhoAsks(t *testing.T) {
	root := t.TempDir()
	rule := sysctl.Rule{Key: sysctl.MaxUserInstances, Op: sysctl.AtLeast, Want: 8192}
	ask := func(want ...string) {
		t.Helper()
		e := conflictEvidence{rootfs: root}
		got := e.about(rule, "", time.Now())
		if with := e.about(rule, "lowered once by x[1]", time.Now()); !strings.HasPrefix(with, "lowered once by x[1]") || strings.Contains(with, "look for an init container") || strings.Contains(with, "; ") != strings.Contains(got, "sets it to") {
			t.Errorf("with a writer: %q", with)
		}
		for _, w := range want {
			if strings.Count(got, w) != 1 {
				t.Errorf("got %q, want %q once", got, w)
			}
		}
	}
	ask("no sysctl.d file or TuneD profile")
	writeFile(t, filepath.Join(root, "etc/sysctl.d/10-more.conf"), "fs.inotify.max_user_instances = 9000\n")
	ask("no sysctl.d file or TuneD profile") // it satisfies the rule
	writeFile(t, filepath.Join(root, "etc/sysctl.d/99-collector.conf"), "# from a blog\nfs.inotify.max_user_instances = 128\n")
	ask("/etc/sysctl.d/99-collector.conf:2 sets it to 128")
	writeFile(t, filepath.Join(root, "etc/tuned/active_profile"), "ours\n")
	writeFile(t, filepath.Join(root, "etc/tuned/ours/tuned.conf"), "[sysctl]\nfs.inotify.max_user_instances=256\n")
	ask("/etc/sysctl.d/99-collector.conf:2 sets it to 128", "/etc/tuned/ours/tuned.conf:2 sets it to 256 (TuneD profile ours)")
	// A profile that only raises is not blamed.
	if err := os.WriteFile(filepath.Join(root, "etc/tuned/ours/tuned.conf"), []byte("[sysctl]\nfs.inotify.max_user_instances=>256\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := settersOf(root, rule); strings.Contains(got, "TuneD") {
		t.Errorf("a profile that only raises is blamed: %q", got)
	}
}

func TestEvidenceIsKeptForAWhile(t *testing.T) {
	e := conflictEvidence{rootfs: t.TempDir()}
	rule := sysctl.Rule{Key: sysctl.MaxUserInstances, Op: sysctl.AtLeast, Want: 8192}
	now := time.Now()
	first := e.about(rule, "", now)
	writeFile(t, filepath.Join(e.rootfs, "etc/sysctl.d/99.conf"), "fs.inotify.max_user_instances=1\n")
	if got := e.about(rule, "", now.Add(time.Minute)); got != first {
		t.Errorf("looked again after a minute: %s", got)
	}
	if got := e.about(rule, "", now.Add(evidenceMaxAge)); !strings.Contains(got, "99.conf:1") {
		t.Errorf("after %v still %s", evidenceMaxAge, got)
	}
}

func writeFile(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
