package reclaim

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/privtest"
)

// A disk is brought to its goal by the steps of the ladder, in its order and no
// further; what is open, new, the last of its log or not switched on stays.
func TestReclaimForReal(t *testing.T) {
	privtest.Root(t)
	root, policy := host(t, 200<<20)
	logs := filepath.Join(root, "var/log")
	now := time.Now()
	old := now.Add(-24 * time.Hour)
	stamped := func(log string, i int, ending string) string {
		return filepath.Join(logs, log+"."+archive.TimestampSuffix(old.Add(time.Duration(i)*time.Hour))+ending)
	}
	for i := range 4 {
		disktest.Fill(t, stamped("a.log", i, ".gz"), 10, old.Add(time.Duration(i)*time.Hour))
	}
	disktest.Fill(t, stamped("b.log", 0, ".gz"), 10, old)
	disktest.Fill(t, stamped("b.log", 1, ""), 20, old)
	disktest.Fill(t, stamped("new.log", 0, ".gz"), 5, now)
	disktest.Fill(t, stamped("new.log", 1, ".gz"), 5, now)
	made, err := filepath.Glob(filepath.Join(logs, "*.log.*"))
	disktest.Must(t, err)
	for _, p := range made {
		f, err := os.Open(p)
		disktest.Must(t, err)
		archive.SetOwn(f, true)
		disktest.Must(t, f.Close())
	}
	disktest.Fill(t, filepath.Join(logs, "syslog.2.gz"), 10, old)
	disktest.Fill(t, filepath.Join(logs, "syslog.3.gz"), 10, old)
	held, err := os.Open(stamped("a.log", 0, ".gz"))
	disktest.Must(t, err)
	t.Cleanup(func() { held.Close() })

	r := reclaimer(t, root, policy)
	before, err := filesystem.Stat(r.host.Rootfs, "/var/log")
	disktest.Must(t, err)
	goal := filesystem.Goal{AvailBytes: before.AvailBytes + 25<<20}
	plan, err := r.Reclaim(t.Context(), "/var/log", goal, nothingSeen(), true, now, nil)
	disktest.Must(t, err)
	if len(plan.Steps) != 3 || len(plan.Acts) != 0 {
		t.Errorf("the plan: %+v", plan.Steps)
	}
	if after, _ := filesystem.Stat(r.host.Rootfs, "/var/log"); after.AvailBytes != before.AvailBytes {
		t.Error("a dry run has freed space")
	}
	got, err := r.Reclaim(t.Context(), "/var/log", goal, nothingSeen(), false, now, nil)
	disktest.Must(t, err)
	// The oldest of a.log is open; so the next three go, and no more.
	var did []string
	for _, a := range got.Acts {
		if a.Err != nil {
			t.Error(a.Err)
		}
		did = append(did, a.Verb+" "+filepath.Base(a.Path))
	}
	want := fmt.Sprintf("remove %s,remove %s,remove %s", filepath.Base(stamped("b.log", 0, ".gz")),
		filepath.Base(stamped("a.log", 1, ".gz")), filepath.Base(stamped("a.log", 2, ".gz")))
	if strings.Join(did, ",") != want || !got.Met || got.Skipped != 1 {
		t.Errorf("did %v, want %s; met %v, skipped %d", did, want, got.Met, got.Skipped)
	}
	if got.Freed < 25<<20 || got.Freed > 40<<20 {
		t.Errorf("freed %d bytes", got.Freed)
	}
	for _, p := range []string{stamped("a.log", 0, ".gz"), stamped("new.log", 0, ".gz"), filepath.Join(logs, "syslog.3.gz")} {
		if _, err := os.Stat(p); err != nil {
			t.Error(err)
		}
	}
}

// nodetune removes the logs of a pod that is gone when no process has them open, and
// only the files that the kubelet puts there.
func TestRemoveOrphanForReal(t *testing.T) {
	privtest.Root(t)
	root, policy := host(t, 64<<20)
	policy.Policy.Classes = []Class{ClassOrphans}
	pods := filepath.Join(root, "var/log/pods")
	outside := filepath.Join(root, "outside")
	disktest.Must(t, os.MkdirAll(outside, 0o755))
	disktest.WriteFile(t, filepath.Join(outside, "precious"), "x")
	old := time.Now().Add(-48 * time.Hour)
	for i, name := range []string{"gone", "open", "strange", "linked"} {
		dir := filepath.Join(pods, fmt.Sprintf("default_%s_11111111-2222-3333-4444-55555555555%d", name, i))
		disktest.Fill(t, filepath.Join(dir, "web/0.log"), 1, old)
		disktest.Fill(t, filepath.Join(dir, "web/0.log.20260131-110000.gz"), 1, old)
		switch name {
		case "open":
			f, err := os.Open(filepath.Join(dir, "web/0.log"))
			disktest.Must(t, err)
			t.Cleanup(func() { f.Close() })
		case "strange":
			disktest.Must(t, os.MkdirAll(filepath.Join(dir, "web/volume"), 0o755))
		case "linked":
			disktest.Must(t, os.Symlink(outside, filepath.Join(dir, "db")))
		}
	}
	disktest.Must(t, filepath.WalkDir(pods, func(p string, _ os.DirEntry, _ error) error {
		return unix.UtimesNanoAt(unix.AT_FDCWD, p, []unix.Timespec{{Sec: old.Unix()}, {Sec: old.Unix()}}, unix.AT_SYMLINK_NOFOLLOW)
	}))
	disktest.Must(t, os.MkdirAll(filepath.Join(root, "var/lib/kubelet/pods"), 0o755))
	disktest.Must(t, os.WriteFile(filepath.Join(root, "var/lib/kubelet/config.yaml"), []byte("kind: KubeletConfiguration\n"), 0o600))

	r := reclaimer(t, root, policy)
	u := nothingSeen()
	for i, name := range []string{"gone", "open", "strange", "linked"} {
		u.Orphans = append(u.Orphans, Orphan{
			Path:  fmt.Sprintf("/var/log/pods/default_%s_11111111-2222-3333-4444-55555555555%d", name, i),
			Bytes: 2 << 20, Modified: old,
		})
	}
	before, err := filesystem.Stat(r.host.Rootfs, "/var/log")
	disktest.Must(t, err)
	got, err := r.Reclaim(t.Context(), "/var/log", filesystem.Goal{AvailBytes: before.SizeBytes}, u, false, time.Now(), nil)
	disktest.Must(t, err)
	for _, a := range got.Acts {
		if strings.Contains(a.Path, "gone") != (a.Err == nil) {
			t.Errorf("%+v", a)
		}
	}
	left := strings.Join(disktest.List(t, pods), " ")
	if strings.Contains(left, "gone") || !strings.Contains(left, "open") || !strings.Contains(left, "strange") || !strings.Contains(left, "linked") {
		t.Errorf("left: %s", left)
	}
	if disktest.ReadFile(t, filepath.Join(outside, "precious")) != "x" {
		t.Error("it followed a link")
	}
}
