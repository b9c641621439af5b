package disk

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

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
		return filepath.Join(logs, log+"."+stamp(old.Add(time.Duration(i)*time.Hour))+ending)
	}
	for i := range 4 {
		disktest.Fill(t, stamped("a.log", i, ".gz"), 10, old.Add(time.Duration(i)*time.Hour))
	}
	disktest.Fill(t, stamped("b.log", 0, ".gz"), 10, old)
	disktest.Fill(t, stamped("b.log", 1, ""), 20, old)
	disktest.Fill(t, stamped("new.log", 0, ".gz"), 5, now)
	disktest.Fill(t, stamped("new.log", 1, ".gz"), 5, now)
	disktest.Fill(t, filepath.Join(logs, "syslog.2.gz"), 10, old)
	disktest.Fill(t, filepath.Join(logs, "syslog.3.gz"), 10, old)
	held, err := os.Open(stamped("a.log", 0, ".gz"))
	disktest.Must(t, err)
	t.Cleanup(func() { held.Close() })

	r := reclaimer(t, root, policy)
	before, err := space(r.host.rootfs, "/var/log")
	disktest.Must(t, err)
	goal := Goal{AvailBytes: before.AvailBytes + 25<<20}
	plan, err := r.Reclaim(t.Context(), "/var/log", goal, nothingSeen(), true, now, nil)
	disktest.Must(t, err)
	if len(plan.Steps) != 3 || len(plan.Acts) != 0 {
		t.Errorf("the plan: %+v", plan.Steps)
	}
	if after, _ := space(r.host.rootfs, "/var/log"); after.AvailBytes != before.AvailBytes {
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

// Of a deleted log that is still read, what has been read goes and the rest
// stays byte for byte.
func TestPunchDeletedForReal(t *testing.T) {
	privtest.Root(t)
	if !disktest.EveryProcessSeen(t) {
		return
	}
	root, policy := disktest.LogDisk(t, 200<<20), DefaultPolicy()
	policy.Reclaim.Classes = []Class{ClassDeleted}
	file := filepath.Join(root, "var/log/app.log")
	var content bytes.Buffer
	for i := 0; content.Len() < 60<<20; i++ {
		fmt.Fprintf(&content, "%09d\n", i)
	}
	disktest.Must(t, os.WriteFile(file, content.Bytes(), 0o640))
	reader, err := os.Open(file)
	disktest.Must(t, err)
	t.Cleanup(func() { reader.Close() })
	disktest.Must(t, os.Remove(file))
	const read = 41 << 20
	_, err = io.CopyN(io.Discard, reader, read)
	disktest.Must(t, err)
	pos, err := reader.Seek(0, io.SeekCurrent)
	disktest.Must(t, err)

	o := observer(t, root, policy)
	u := observe(t, o, time.Now())
	if len(u.Deleted) != 1 {
		t.Fatalf("deleted: %+v", u.Deleted)
	}
	// As it looks where /var/log is the host's.
	u.Deleted[0].Path = "/var/log/app.log"
	r := newReclaimer(t, root, policy)
	before, err := space(hostRoot(disktest.OpenRoot(t, root)), "/var/log")
	disktest.Must(t, err)
	got, err := r.Reclaim(t.Context(), "/var/log", Goal{AvailBytes: before.SizeBytes}, u.ReclaimInput(), false, time.Now(), nil)
	disktest.Must(t, err)
	if len(got.Acts) != 1 || got.Acts[0].Err != nil || got.Freed < 39<<20 || got.Freed > 40<<20 {
		t.Errorf("%+v", got)
	}
	rest, err := io.ReadAll(reader)
	disktest.Must(t, err)
	if sha256.Sum256(rest) != sha256.Sum256(content.Bytes()[pos:]) {
		t.Error("the reader did not get what it had not read yet")
	}

	// Mapped somewhere, an offset says nothing.
	m, err := unix.Mmap(int(reader.Fd()), 0, 4096, unix.PROT_READ, unix.MAP_SHARED)
	disktest.Must(t, err)
	t.Cleanup(func() { _ = unix.Munmap(m) })
	u = observe(t, o, time.Now())
	u.Deleted[0].Path = "/var/log/app.log"
	got, err = r.Reclaim(t.Context(), "/var/log", Goal{AvailBytes: before.SizeBytes}, u.ReclaimInput(), false, time.Now(), nil)
	disktest.Must(t, err)
	for _, a := range got.Acts {
		if a.Verb != ActRefuse {
			t.Errorf("a mapped file: %+v", a)
		}
	}
}

// The logs of a pod that is gone go when nobody has them open, and only what
// the kubelet puts there.
func TestRemoveOrphanForReal(t *testing.T) {
	privtest.Root(t)
	root, policy := host(t, 64<<20)
	policy.Reclaim.Classes = []Class{ClassOrphans}
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
	before, err := space(r.host.rootfs, "/var/log")
	disktest.Must(t, err)
	got, err := r.Reclaim(t.Context(), "/var/log", Goal{AvailBytes: before.SizeBytes}, u, false, time.Now(), nil)
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
