package rotate

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/privtest"
)

// filesystem is one kind of filesystem that logs may lie on, and what the table
// in the package's documentation says of it.
type filesystem struct {
	kind     string
	size     int64
	exchange bool // RENAME_EXCHANGE
	collapse bool // FALLOC_FL_COLLAPSE_RANGE
}

var everyFilesystem = []filesystem{
	{"ext4", 256 << 20, true, true},
	{"ext3", 256 << 20, true, false},
	{"xfs", 320 << 20, true, true},
	{"btrfs", 256 << 20, true, false},
	{"tmpfs", 256 << 20, true, false},
	{"overlay", 256 << 20, true, true}, // on an ext4
	{"fuse", 256 << 20, false, false},  // the ext4 of fuse2fs(1)
}

// mount makes a new filesystem and returns where it is.
func (f filesystem) mount(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	unmounted := func(dir string) {
		t.Cleanup(func() {
			if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
				t.Errorf("unmount %s: %v", dir, err)
			}
		})
	}
	image := func(kind string, mkfs ...string) string {
		p := filepath.Join(t.TempDir(), "image")
		disktest.Must(t, os.WriteFile(p, nil, 0o600))
		disktest.Must(t, os.Truncate(p, f.size))
		disktest.Run(t, "mkfs."+kind, append(mkfs, "-q", p)...)
		return p
	}
	switch f.kind {
	case "tmpfs":
		disktest.Must(t, unix.Mount("none", dir, "tmpfs", 0, fmt.Sprint("mode=755,size=", f.size)))
	case "overlay":
		disktest.Ext4(t, dir, f.size)
		for _, d := range []string{"lower", "upper", "work", "merged"} {
			disktest.Must(t, os.Mkdir(filepath.Join(dir, d), 0o755))
		}
		merged := filepath.Join(dir, "merged")
		disktest.Must(t, unix.Mount("none", merged, "overlay", 0, fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", dir)))
		dir = merged
	case "fuse":
		disktest.Run(t, "fuse2fs", image("ext4"), dir)
	default:
		disktest.Run(t, "mount", "-o", "loop", "-t", f.kind, image(f.kind), dir)
	}
	unmounted(dir)
	return dir
}

// What a rotation is built from is there or not, as the documentation says: with
// it and without it no line is lost, and the new log and the archive have
// everything that the old log had beside its lines.
func TestRotateOnEveryFilesystem(t *testing.T) {
	privtest.Root(t)
	for _, f := range everyFilesystem {
		t.Run(f.kind, func(t *testing.T) {
			dir := f.mount(t)
			t.Run("documented", func(t *testing.T) { f.isAsDocumented(t, dir) })
			for _, inPlace := range []bool{false, true} {
				name := map[bool]string{false: "exchange", true: "in place"}[inPlace]
				t.Run("attributes, "+name, func(t *testing.T) { keepsAttributes(t, disktest.Subdir(t, dir), inPlace) })
				t.Run("lines, "+name, func(t *testing.T) {
					lost := losesLines(t, disktest.Subdir(t, dir), inPlace)
					if lost > 0 && (f.collapse || !inPlace) {
						t.Errorf("%d lines are missing", lost)
					}
				})
			}
		})
	}
}

func (f filesystem) isAsDocumented(t *testing.T, dir string) {
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	disktest.Must(t, os.WriteFile(a, make([]byte, 1<<20), 0o600))
	disktest.Must(t, os.WriteFile(b, nil, 0o600))
	defer func() { _, _ = os.Remove(a), os.Remove(b) }()
	err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
	if f.exchange != (err == nil) || err != nil && !errors.Is(err, unix.EINVAL) {
		t.Errorf("RENAME_EXCHANGE: %v", err)
	}
	for _, file := range []string{a, b} {
		ro, err := os.Open(file)
		disktest.Must(t, err)
		defer ro.Close()
		if got, err := logdir.Probe(int(ro.Fd())); got != logdir.Unused || err != nil {
			t.Errorf("a lease of a file that no process has open: %v, %v", got, err)
		}
		rw, err := os.OpenFile(file, os.O_RDWR, 0)
		disktest.Must(t, err)
		defer rw.Close()
		if got, err := logdir.Probe(int(ro.Fd())); got != logdir.UsedByWriter || err != nil {
			t.Errorf("a lease of what is written: %v, %v", got, err)
		}
		if st, _ := rw.Stat(); st.Size() == 0 {
			continue
		}
		err = unix.Fallocate(int(rw.Fd()), unix.FALLOC_FL_COLLAPSE_RANGE, 0, 64<<10)
		if f.collapse != (err == nil) || err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
			t.Errorf("COLLAPSE_RANGE: %v", err)
		}
		if err := unix.Fallocate(int(rw.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 64<<10); err != nil {
			t.Errorf("PUNCH_HOLE: %v", err)
		}
	}
}

// attributes is what others say of a file, beside its name and content.
func attributes(t *testing.T, file string) string {
	t.Helper()
	return disktest.Run(t, "stat", "-c", "%u:%g %a", file) +
		disktest.Run(t, "getfacl", "--omit-header", "--numeric", "--absolute-names", file) +
		strings.Join(strings.Split(disktest.Run(t, "getfattr", "--dump", "-m", "^user|^security", "--absolute-names", file), "\n")[1:], "\n")
}

func keepsAttributes(t *testing.T, dir string, inPlace bool) {
	r := newRotator(t, dir)
	// A new file in this directory would let user 3333 in, and has another mode.
	disktest.Run(t, "setfacl", "--default", "--modify", "u:3333:rwx", dir)
	for name, acl := range map[string]bool{"acl.log": true, "plain.log": false} {
		file := filepath.Join(dir, name)
		disktest.Must(t, os.WriteFile(file, []byte(strings.Repeat("a line\n", 20_000)), 0o600))
		disktest.Run(t, "setfacl", "--remove-all", file)
		disktest.Must(t, os.Chown(file, 1234, 2345))
		disktest.Must(t, os.Chmod(file, 0o640))
		if acl {
			disktest.Run(t, "setfacl", "--modify", "u:1111:rw,g:2222:r", file)
		}
		// Without an LSM that knows it, the label is an attribute like others,
		// which takes CAP_SYS_ADMIN.
		disktest.Must(t, unix.Setxattr(file, "security.selinux", []byte("system_u:object_r:var_log_t:s0\x00"), 0))
		disktest.Must(t, unix.Setxattr(file, "user.team", []byte("blue"), 0))
		want := attributes(t, file)
		for _, part := range []string{"1234:2345 6", "var_log_t", `user.team="blue"`} {
			if !strings.Contains(want, part) {
				t.Fatalf("there is no %s in\n%s", part, want)
			}
		}
		if strings.Contains(want, "user:1111:rw") != acl {
			t.Fatalf("the ACL is\n%s", want)
		}
		how := Options{Compress: archive.Gzip, InPlace: inPlace}
		archiveName := rotate(t, r, file, how, disktest.Noon)
		finish(t, r, file, how)
		for _, p := range []string{file, archiveName + ".gz"} {
			got := strings.Replace(attributes(t, p), "user.nodetune.archive=\"\"\n", "", 1) // an archive has its mark
			if got != want {
				t.Errorf("%s has\n%s\nwant\n%s", p, got, want)
			}
		}
	}
	if got := disktest.List(t, dir); len(got) != 4 {
		t.Errorf("left: %v", got)
	}
}

// losesLines rotates under a writer and returns how many lines are missing.
func losesLines(t *testing.T, dir string, inPlace bool) int {
	file := filepath.Join(dir, "app.log")
	env := []string{"LINES=5000", "RATE=10000"}
	if !inPlace {
		env = append(env, "REOPEN=1")
	}
	w := disktest.StartWriter(t, file, env...)
	r := newRotator(t, dir)
	how := Options{Reopen: Reopen{PID: w.Cmd.Process.Pid}, Compress: archive.Gzip, InPlace: inPlace}
	for rotations := 0; ; time.Sleep(40 * time.Millisecond) {
		select {
		case n := <-w.Done:
			finish(t, r, file, how)
			got := disktest.Count(t, dir, "app.log", n)
			t.Logf("%v, %d rotations", got, rotations)
			if rotations == 0 || n != 5000 || got.Duplicated+got.Garbled > 0 {
				t.Errorf("%v, %d rotations", got, rotations)
			}
			return got.Missing
		default:
		}
		archiveName, err := r.Rotate(t.Context(), file, how, time.Now())
		if refusal := (*logdir.SkippedError)(nil); err != nil && !errors.As(err, &refusal) && w.Cmd.ProcessState == nil {
			t.Error(err)
		}
		if archiveName != "" {
			rotations++
		}
		if _, err := r.FinishRotation(t.Context(), file, how, time.Now()); err != nil {
			t.Error(err)
		}
	}
}

// A run that is killed between the two renames of a filesystem that cannot
// exchange has left a log without a name: it comes back as it was, and its
// writer with it.
func TestRotateKilledWithoutExchange(t *testing.T) {
	privtest.Root(t)
	dir := disktest.Subdir(t, filesystem{kind: "fuse", size: 256 << 20}.mount(t))
	file := filepath.Join(dir, "app.log")
	w := disktest.StartWriter(t, file, "RATE=10000", "REOPEN=1")
	disktest.Must(t, os.Chmod(file, 0o604))
	exe, err := os.Executable()
	disktest.Must(t, err)
	nameless := 0
	for when := 1; when <= 4; when++ {
		cmd := exec.Command("strace", "-f", "-o", "/dev/null", "-e", "trace=renameat",
			"-e", fmt.Sprintf("inject=renameat:signal=KILL:when=%d", when), exe, "-test.run=^TestHelperOnce$")
		cmd.Env = append(os.Environ(), "NODETUNE_TEST_HELPER=TestHelperOnce", "FILE="+file, fmt.Sprint("PID=", w.Cmd.Process.Pid))
		_ = cmd.Run()
		if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
			nameless++
		}
		rule := Rule{Paths: []string{filepath.Join(dir, "*.log")}, MaxAge: 1 << 60, Compress: archive.Gzip, Grace: 1}
		r := newRotator(t, dir)
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			all, err := r.match(listings{map[string]*listing{}, r.remembered}, rule.Paths[0], time.Now())
			disktest.Must(t, err)
			if len(all) != 1 || all[0].path != file {
				t.Fatalf("killed at renameat %d: the log is not found among %v", when, disktest.List(t, dir))
			}
			how := rule.Options()
			how.Reopen.PID = w.Cmd.Process.Pid
			if _, err := r.FinishRotation(t.Context(), file, how, time.Now()); err != nil {
				t.Fatal(err)
			}
			st, err := os.Stat(file)
			if err == nil && st.Size() > 0 {
				if st.Mode() != 0o604 {
					t.Errorf("killed at renameat %d: the log has mode %v", when, st.Mode())
				}
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("killed at renameat %d: no process writes the log: %v", when, disktest.List(t, dir))
			}
		}
	}
	if nameless == 0 {
		t.Error("no run was killed between the two renames: this proves nothing")
	}
	t.Logf("the log had no name %d times", nameless)
	disktest.Must(t, w.Cmd.Process.Signal(unix.SIGTERM))
	n := <-w.Done
	finish(t, newRotator(t, dir), file, Options{Compress: archive.Gzip})
	if got := disktest.Count(t, dir, "app.log", n); got.Missing+got.Duplicated+got.Garbled != 0 || n <= 0 {
		t.Errorf("%v: %v", got, disktest.List(t, dir))
	}
}
