package reclaim

import (
	"bytes"
	"debug/elf"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/disk/rotate"
	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/hostfs"
)

// coreFile is the beginning of an ELF core dump.
func coreFile() string {
	b := make([]byte, 64)
	copy(b, elf.ELFMAG)
	b[elf.EI_CLASS], b[elf.EI_DATA], b[16] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.ET_CORE)
	return string(b)
}

func zstdOf(s string) string {
	var b bytes.Buffer
	w, _ := zstd.NewWriter(&b)
	_, _ = w.Write([]byte(s))
	_ = w.Close()
	return b.String()
}

// What a file is, its place, its content and what is beside it decide together.
func TestCandidatesByContent(t *testing.T) {
	const (
		pod     = "/var/log/pods/shop_web-0_11111111-2222-3333-4444-555555555555/"
		line    = "a line of a log\n"
		journal = "LPKSHHRH and more"
		stamp   = ".20260131-110000000000"
	)
	own, unread := func(f *os.File) { archive.SetOwn(f, true) }, func(f *os.File) { archive.SetUnread(f, true) }
	neverRead := func(f *os.File) {
		old := time.Now().Add(-72 * time.Hour)
		disktest.Must(t, os.Chtimes(f.Name(), old.Add(-time.Hour), old))
	}
	for _, c := range []struct {
		path, content string
		beside        string // a log beside it
		mark          func(*os.File)
		want          Class
	}{
		{path: pod + "crash/0.log", content: line},
		{path: pod + "crash/core.123", content: coreFile()},
		{path: pod + "journal/system@1.journal", content: journal},
		{path: pod + "web/0.log.20260131-110000.gz", content: "x"}, // within its budget
		{path: "/var/log/pods/core.1", content: coreFile()},
		{path: "/var/log/data/shop_web-0_11111111-2222-3333-4444-555555555555/crash/core.1", content: coreFile()},
		{path: "/var/log/shop/crash/service.log", content: line},
		{path: "/var/log/shop/crash/handler.out", content: line},
		{path: "/var/log/crash/postmortem.md", content: line},
		{path: "/var/log/crash/core.md", content: line},
		{path: "/var/log/crash/core.4711", content: coreFile(), want: ClassCores},
		{path: "/var/log/shop/coredump/core", content: coreFile(), want: ClassCores},
		{path: "/var/log/shop/core.4711", content: coreFile()},
		{path: "/var/crash/notes.txt", content: line},
		{path: "/var/crash/_usr_bin_a.0.crash", content: "ProblemType: Crash\n", want: ClassCores},
		{path: "/var/crash/_usr_bin_b.0.crash", content: "what we did about it\n"},
		{path: "/var/crash/202601311100/vmcore", content: "KDUMP   x", want: ClassCores},
		{path: "/var/crash/202601311100/dmesg.txt", content: line},
		{path: "/var/lib/systemd/coredump/core.sh.0.x.4711.zst", content: zstdOf(coreFile()), want: ClassCores},
		{path: "/var/lib/systemd/coredump/core.sh.0.y.4711.zst", content: zstdOf(line)},
		{path: "/var/lib/systemd/coredump/core.sh.0.z.4711.zst", content: line},
		{path: "/var/lib/systemd/coredump/core.sh.0.x.4711.xz", content: "\xfd7zXZ\x00", want: ClassCores},
		{path: "/var/lib/systemd/coredump/README", content: line},
		{path: "/var/log/journal/x/system@0-1-2.journal", content: journal, want: ClassJournal},
		{path: "/var/log/journal/x/user@0-1-2.journal", content: line},
		{path: "/var/log/journal/x/system.journal", content: journal},
		{path: "/var/log/shop/journal/orders@2026-11-01.journal", content: journal},
		{path: "/var/log/shop/journal/ledger.journal~", content: journal},
		{path: "/var/log/app.log" + stamp + ".gz", content: "x", mark: own, want: ClassArchives},
		{path: "/var/log/app.log" + stamp, content: line, mark: own, want: ClassRotated},
		{path: "/var/log/ruled.log" + stamp + ".gz", content: "x", want: ClassArchives},
		{path: "/var/log/backup/db" + stamp + ".gz", content: "x"},
		{path: "/var/log/db" + stamp + ".gz", content: "x"},
		{path: "/var/log/db" + stamp, content: line},
		{path: "/var/log/apache/access.log" + stamp + ".gz", content: "x", beside: line, want: ClassOtherArchives},
		{path: "/var/log/apache/error.log.2.gz", content: "x", beside: line, want: ClassOtherArchives},
		{path: "/var/log/apache/empty.log.2.gz", content: "x", beside: " ", want: ClassOtherArchives},
		{path: "/var/log/apache/gone.log.2.gz", content: "x"},
		{path: "/var/log/apache/marked.log.2.gz", content: "x", beside: line, mark: unread},
		{path: "/var/log/apache/data.2.gz", content: "x", beside: "a\x00b"},
		{path: "/var/log/apache/other.log.1", content: line, beside: line},
		{path: "/var/log/backup/customers-20261101.gz", content: "x", beside: line},
		{path: "/var/log/shop/customers.sql-20261101.gz", content: "x", beside: line},
		{path: "/var/log/shop/etcd-snapshot-20261101.gz", content: "x", beside: line},
		{path: "/var/log/mysql/mysql-bin.000001", content: "\xfebin"},
		{path: "/var/log/audit/audit.log.2.gz", content: "x", beside: line},
		{path: "/var/log/kubernetes/audit.log.1.gz", content: "x", beside: line},
		{path: "/var/log/kubernetes/kube-apiserver-Audit-2026.log.1.gz", content: "x", beside: line},
		{path: "/var/log/audit/audit.log" + stamp + ".gz", content: "x", mark: own},
		{path: "/var/log/btmp.1.gz", content: "x", beside: line},
		{path: "/var/log/wtmp.2.gz", content: "x", beside: line},
		{path: "/var/log/messages.1", content: line, beside: line, want: ClassOtherArchives},
		{path: "/var/log/secure.1", content: line, beside: line, mark: neverRead, want: ClassOtherArchives},
		{path: "/var/log/mail.1", content: line}, // its log is gone
		{path: "/var/log/deep/" + ballastName, content: "", want: ClassBallast},
	} {
		t.Run(strings.ReplaceAll(strings.TrimPrefix(c.path, "/"), "/", "|"), func(t *testing.T) {
			root := t.TempDir()
			write := func(p, s string) string {
				at := filepath.Join(root, p)
				disktest.Must(t, os.MkdirAll(filepath.Dir(at), 0o755))
				disktest.WriteFile(t, at, s)
				return at
			}
			disktest.Must(t, os.MkdirAll(filepath.Join(root, "var/log"), 0o755))
			write("/etc/logrotate.d/syslog", "/var/log/messages /var/log/secure /var/log/mail {\nweekly\n}\n")
			at := write(c.path, c.content)
			if c.beside != "" {
				base, _ := archive.ParseName([]byte(path.Base(c.path)))
				write(path.Join(path.Dir(c.path), string(base)), strings.TrimSpace(c.beside)+"\n")
			}
			if c.mark != nil {
				f, err := os.Open(at)
				disktest.Must(t, err)
				c.mark(f)
				disktest.Must(t, f.Close())
			}
			config := reclaimConfig()
			config.Rotations = []rotate.Rule{{Paths: []string{"/var/log/ruled.log"}}}
			r := reclaimer(t, root, config)
			mounts, err := filesystem.ReadHostMounts("/proc", r.host.Rootfs)
			disktest.Must(t, err)
			all, err := r.candidates(nothingSeen(), filesystem.Device(r.host.Rootfs, "/var/log", mounts), mounts)
			disktest.Must(t, err)
			var got []Class
			for _, x := range all {
				if x.Path == c.path && x.Class != ClassUnread {
					got = append(got, x.Class)
				}
			}
			if c.want == "" && len(got) > 0 || c.want != "" && !slices.Equal(got, []Class{c.want}) {
				t.Errorf("classes %v, want %q", got, c.want)
			}
			for _, s := range Plan(all, config.Policy, true, time.Now().Add(96*time.Hour)) {
				if s.Path == "/var/log/secure.1" {
					t.Error("the last archive of a log goes, and nothing has read it")
				}
			}
		})
	}
}

// A deleted file is a log where it lay in a log directory of the host, whatever
// path a container has for it, and no audit log.
func TestDeletedFile(t *testing.T) {
	file := logs.Deleted{Path: "/var/log/app.log", InLogDir: true, Size: 64 << 20, Bytes: 64 << 20}
	read := []logdir.Opener{{PID: 1, LeastOffsetBytes: 32 << 20}}
	for name, c := range map[string]struct {
		change func(*logs.Deleted)
		want   bool
	}{
		"a log":              {func(*logs.Deleted) {}, true},
		"a volume":           {func(d *logs.Deleted) { d.InLogDir = false }, false},
		"an audit log":       {func(d *logs.Deleted) { d.Path = "/var/log/kubernetes/audit.log" }, false},
		"a writer":           {func(d *logs.Deleted) { d.Holders[0].Writes = true }, false},
		"nothing is read":    {func(d *logs.Deleted) { d.Holders[0].LeastOffsetBytes = 0 }, false},
		"no process has it":  {func(d *logs.Deleted) { d.Holders = nil }, false},
		"it has holes there": {func(d *logs.Deleted) { d.Bytes = 32 << 20 }, false},
	} {
		d := file
		d.Holders = slices.Clone(read)
		c.change(&d)
		if got, ok := deletedFile(d); ok != c.want || ok && got.Class != ClassDeleted {
			t.Errorf("%s: %+v, %v", name, got, ok)
		}
	}
}

// A reader of an archive that is removed unread comes to its end where it is: it
// gets no NULs.
func TestRemoveUnreadEndsAtTheReader(t *testing.T) {
	root := t.TempDir()
	const p = "/var/log/app.log.20260131-110000000000"
	at := filepath.Join(root, p)
	disktest.Must(t, os.MkdirAll(filepath.Dir(at), 0o755))
	disktest.WriteFile(t, at, strings.Repeat("a line\n", 10_000))
	r := reclaimer(t, root, reclaimConfig())
	reader, end := disktest.HoldOpen(t, at)
	defer end()
	_, err := reader.Seek(21_000, io.SeekStart)
	disktest.Must(t, err)
	var st unix.Stat_t
	disktest.Must(t, unix.Stat(at, &st))
	step := Step{Candidate: Candidate{Class: ClassUnread, Path: p, inode: hostfs.Inode{Dev: st.Dev, Ino: st.Ino}}}
	if a := r.execute(t.Context(), step, time.Now()); a.Err != nil || a.Unread != 49_000 {
		t.Fatalf("got %+v, want 49000 bytes unread", a)
	}
	if _, err := os.Stat(at); !os.IsNotExist(err) {
		t.Errorf("the archive is still there: %v", err)
	}
	left, err := io.ReadAll(reader)
	if err != nil || len(left) > 0 {
		t.Errorf("the reader gets %d bytes more, %v", len(left), err)
	}
}

// Where the readers could not be found in time, the archive goes nevertheless, since the
// disk is short, and all of it counts as unread.
func TestRemoveUnreadOpenersUnknown(t *testing.T) {
	root := t.TempDir()
	const p = "/var/log/app.log.20260131-110000000000"
	at := filepath.Join(root, p)
	disktest.Must(t, os.MkdirAll(filepath.Dir(at), 0o755))
	disktest.WriteFile(t, at, strings.Repeat("a line\n", 10_000))
	r := reclaimer(t, root, reclaimConfig())
	reader, end := disktest.HoldOpen(t, at)
	defer end()
	var st unix.Stat_t
	disktest.Must(t, unix.Stat(at, &st))
	now := disktest.Epoch
	r.host.Clock = func() time.Time { now = now.Add(time.Hour); return now }
	step := Step{Candidate: Candidate{Class: ClassUnread, Path: p, inode: hostfs.Inode{Dev: st.Dev, Ino: st.Ino}}}
	if a := r.execute(t.Context(), step, time.Now()); a.Err != nil || a.Unread != 70_000 {
		t.Fatalf("got %+v, want 70000 bytes unread", a)
	}
	if is, err := reader.Stat(); err != nil || is.Size() != 0 {
		t.Errorf("its reader keeps %d bytes, %v", is.Size(), err)
	}
}
