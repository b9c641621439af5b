package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/nodetune/nodetune/internal/privtest"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/sysctl/sysctld"
)

// hostDir is a directory that looks like a machine: plain files for /proc, and an
// empty root.
type hostDir struct{ dir string }

func newHost(t *testing.T) hostDir {
	t.Helper()
	h := hostDir{t.TempDir()}
	h.put(t, "proc/meminfo", "MemTotal:        8388608 kB\n")
	h.put(t, "proc/cmdline", "BOOT_IMAGE=/vmlinuz ro\n")
	h.put(t, "proc/sys/kernel/random/boot_id", "6d6a5ad2-3d5a-4b5e-9a5e-0d3f0d8f7c11\n")
	for key, value := range map[string]string{
		"inotify/max_user_instances": "128", "inotify/max_user_watches": "65536", "inotify/max_queued_events": "16384",
		"file-max": "9223372036854775807", "nr_open": "1048576", "epoll/max_user_watches": "1867000",
	} {
		h.put(t, "proc/sys/fs/"+key, value+"\n")
	}
	h.put(t, "root/etc/hostname", "test\n")
	return h
}

func (h hostDir) put(t *testing.T, name, content string) {
	t.Helper()
	path := filepath.Join(h.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (h hostDir) read(name string) string {
	b, _ := os.ReadFile(filepath.Join(h.dir, name))
	return string(b)
}

// flags point a command at h.
func (h hostDir) flags() []string {
	return []string{"--path.procfs", filepath.Join(h.dir, "proc"), "--path.rootfs", filepath.Join(h.dir, "root")}
}

// run runs a command line on h.
func (h hostDir) run(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(append(args, h.flags()...), strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

const persisted = "root" + sysctld.PersistFile

func TestApplyPersist(t *testing.T) {
	h := newHost(t)
	code, stdout, stderr := h.run("apply", "--persist", "--dry-run")
	if code != exitUnmet || h.read(persisted) != "" || !strings.Contains(stdout, "fs.inotify.max_user_instances = 8192") {
		t.Errorf("dry run: code %d, file %q\n%s%s", code, h.read(persisted), stdout, stderr)
	}
	for _, want := range []reporter.FileOutcome{reporter.FileWritten, reporter.FileUnchanged} {
		code, stdout, stderr := h.run("apply", "--persist", "-o", "json")
		var doc reporter.Document
		if err := json.Unmarshal([]byte(stdout), &doc); err != nil {
			t.Fatalf("%v\n%s%s", err, stdout, stderr)
		}
		if code != exitOK || doc.Persist == nil || doc.Persist.Outcome != want {
			t.Errorf("code %d, %+v, want %s\n%s", code, doc.Persist, want, stderr)
		}
	}
	file := h.read(persisted)
	if !strings.Contains(file, "\nfs.inotify.max_user_watches = 524288\n") || strings.Contains(file, "file-max") {
		t.Errorf("the file is\n%s", file)
	}
	if code, stdout, stderr := h.run("restore", "--persist", "--dry-run"); code != exitOK && code != exitUnmet || h.read(persisted) == "" {
		t.Errorf("a dry restore: code %d, file %q\n%s%s", code, h.read(persisted), stdout, stderr)
	}
	if code, stdout, stderr := h.run("restore", "--persist"); code != exitOK || h.read(persisted) != "" || !strings.Contains(stdout, "removed") {
		t.Errorf("restore: code %d, file %q\n%s%s", code, h.read(persisted), stdout, stderr)
	}
	if got := h.read("proc/sys/fs/inotify/max_user_instances"); !strings.HasPrefix(got, "128\n") {
		t.Errorf("restore left %q", got)
	}
}

func TestApplyPersistNamesTheWinner(t *testing.T) {
	h := newHost(t)
	h.put(t, "root/etc/sysctl.d/99-z.conf", "# mine\nfs.inotify.max_user_instances = 256\n")
	code, stdout, _ := h.run("apply", "--persist")
	if code != exitUnmet || !strings.Contains(stdout, "/etc/sysctl.d/99-z.conf:2 sets it to 256 and wins") {
		t.Errorf("code %d\n%s", code, stdout)
	}
}

func TestApplyPersistPaused(t *testing.T) {
	h := newHost(t)
	h.put(t, "root/run/nodetune/pause", "")
	code, stdout, _ := h.run("apply", "--persist")
	if code != exitUnmet || h.read(persisted) != "" || !strings.Contains(stdout, "paused") {
		t.Errorf("code %d, file %q\n%s", code, h.read(persisted), stdout)
	}
	if code, _, stderr := h.run("restore", "--persist"); code != exitUnmet || !strings.Contains(stderr, "paused") {
		t.Errorf("restore: code %d\n%s", code, stderr)
	}
}

// TestApplyPersistHostile: where a file may hide a line, nothing at all is
// written, neither to the disk nor to the kernel.
func TestApplyPersistHostile(t *testing.T) {
	for name, make := range map[string]func(path string) error{
		"binary":  func(p string) error { return os.WriteFile(p, []byte("\x7fELF\x00\x01\x02\n\x00"), 0o644) },
		"10 MB":   func(p string) error { return os.WriteFile(p, bytes.Repeat([]byte("x"), 10<<20), 0o644) },
		"FIFO":    func(p string) error { return syscall.Mkfifo(p, 0o644) },
		"loop":    func(p string) error { return os.Symlink("50-x.conf", p) },
		"foreign": func(p string) error { return os.Mkdir(p, 0o755) },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.put(t, "root/etc/sysctl.d/a", "")
			if err := make(filepath.Join(h.dir, "root/etc/sysctl.d/50-x.conf")); err != nil {
				t.Fatal(err)
			}
			code, stdout, stderr := h.run("apply", "--persist")
			if code != exitUnreadable || !strings.Contains(stderr, "/etc/sysctl.d/50-x.conf") {
				t.Errorf("code %d\n%s%s", code, stdout, stderr)
			}
			if h.read(persisted) != "" || h.read("proc/sys/fs/inotify/max_user_instances") != "128\n" {
				t.Error("something was written")
			}
		})
	}
}

func TestApplyPersistForeignFile(t *testing.T) {
	h := newHost(t)
	h.put(t, persisted, "fs.file-max = 7\n")
	for _, command := range []string{"apply", "restore"} {
		code, stdout, _ := h.run(command, "--persist", "--dry-run")
		if code != exitUnmet || !strings.Contains(stdout, "not written by nodetune") {
			t.Errorf("%s --dry-run: code %d\n%s", command, code, stdout)
		}
	}
	code, stdout, _ := h.run("apply", "--persist")
	if code != exitUnmet || h.read(persisted) != "fs.file-max = 7\n" || !strings.Contains(stdout, "not written by nodetune") {
		t.Errorf("code %d, file %q\n%s", code, h.read(persisted), stdout)
	}
}

func TestRestorePersistDryRun(t *testing.T) {
	h := newHost(t)
	if code, stdout, _ := h.run("restore", "--persist", "--dry-run"); code != exitOK || !strings.Contains(stdout, persisted[len("root"):]+" unchanged") {
		t.Errorf("without a file: code %d\n%s", code, stdout)
	}
	if code, stdout, stderr := h.run("apply", "--persist"); code != exitOK {
		t.Fatalf("code %d\n%s%s", code, stdout, stderr)
	}
	if _, stdout, _ := h.run("restore", "--persist", "--dry-run"); !strings.Contains(stdout, "would be removed") || h.read(persisted) == "" {
		t.Errorf("with a file:\n%s", stdout)
	}
}

// TestPersistKilled kills apply --persist at every system call that changes a
// file. What is left is the old file or the new one, and the next run mends it.
func TestPersistKilled(t *testing.T) {
	privtest.Root(t)
	bin := build(t)
	reference := newHost(t)
	if code, stdout, stderr := reference.run("apply", "--persist"); code != exitOK {
		t.Fatalf("code %d\n%s%s", code, stdout, stderr)
	}
	complete := reference.read(persisted)
	old := strings.Replace(complete, "= 8192", "= 4096", 1)
	killed := 0
	for _, call := range []string{"write", "pwrite64", "fchmod", "fchmodat", "fsync", "renameat", "renameat2", "unlinkat", "mkdirat"} {
		for n := 1; ; n++ { // strace counts each call by itself
			h := newHost(t)
			h.put(t, persisted, old)
			args := append([]string{
				"-f", "-qq", "-o", "/dev/null", "-e", "trace=" + call,
				"-e", "inject=" + call + ":signal=SIGKILL:when=" + strconv.Itoa(n), bin, "apply", "--persist",
			}, h.flags()...)
			err := exec.Command("strace", args...).Run()
			if got := h.read(persisted); got != old && got != complete {
				t.Errorf("killed at %s %d the file is\n%s", call, n, got)
			}
			if err == nil {
				break
			}
			killed++
			if n > 100 {
				t.Fatalf("%s is called for ever", call)
			}
			if code, stdout, stderr := h.run("restore", "--dry-run"); code != exitOK && code != exitUnmet {
				t.Errorf("killed at %s %d the record is not valid: code %d\n%s%s", call, n, code, stdout, stderr)
			}
			if code, stdout, stderr := h.run("apply", "--persist"); code != exitOK || h.read(persisted) != complete {
				t.Errorf("after a kill at %s %d: code %d\n%s%s%s", call, n, code, stdout, stderr, h.read(persisted))
			}
			names, _ := os.ReadDir(filepath.Join(h.dir, "root/etc/sysctl.d"))
			if len(names) != 1 {
				t.Errorf("after a kill at %s %d and a run: %v", call, n, names)
			}
			if code, stdout, stderr := h.run("restore"); code != exitOK || !strings.HasPrefix(h.read("proc/sys/fs/inotify/max_user_instances"), "128\n") {
				t.Errorf("after a kill at %s %d and a run, restore: code %d\n%s%s", call, n, code, stdout, stderr)
			}
		}
	}
	// The originals and the file: a write, a mode, two fsyncs, a rename each.
	if killed < 10 {
		t.Errorf("killed %d times: want at every write, fsync and rename", killed)
	}
	t.Logf("killed %d times", killed)
}
