package cli

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/privtest"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/sysctl"
)

// proberUID is an account that no other test uses.
const proberUID = 70201

// untouched gives the machine the kernel's own limits.
func untouched(t *testing.T) {
	t.Helper()
	privtest.Host(t)
	privtest.Set(t, "fs.inotify.max_user_instances", "128")
	privtest.Set(t, "fs.inotify.max_user_watches", "8192")
	privtest.Set(t, "fs.inotify.max_queued_events", "16384")
}

// The README's first command, on the real limits.
func TestMakeRunRaisesTheLimits(t *testing.T) {
	untouched(t)
	if n := instances(t, proberUID); n != 128 {
		t.Fatalf("before: uid %d got %d instances, want 128", proberUID, n)
	}
	root := instances(t, 0)
	if root > 128 {
		t.Fatalf("before: root got %d instances, want 128 at most", root)
	}
	cmd := exec.Command("make", "-C", repository(t), "run")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("make run: %v\n%s", err, out)
	}
	t.Cleanup(func() { // the record in /run/nodetune
		if out, err := exec.Command(filepath.Join(repository(t), "bin/nodetune"), "restore").CombinedOutput(); err != nil {
			t.Errorf("restore: %v\n%s", err, out)
		}
		if n := instances(t, proberUID); n != 128 {
			t.Errorf("after restore: uid %d got %d instances, want 128", proberUID, n)
		}
	})
	if n := instances(t, proberUID); n != 8192 {
		t.Errorf("after: uid %d got %d instances, want 8192\n%s", proberUID, n, out)
	}
	// Another of root's, who follows a log, may have begun or ended meanwhile.
	if n, want := instances(t, 0), root+8192-128; n < want-8 || n > want+8 {
		t.Errorf("after: root got %d instances, want %d", n, want)
	}
}

// A collector that cannot start, and starts after apply with no other change.
func TestInotifywaitRunsAfterApply(t *testing.T) {
	untouched(t)
	holder := greedy(t, 0)
	file := filepath.Join(t.TempDir(), "app.log")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	wait := func() (string, int) {
		cmd := exec.Command("inotifywait", "--timeout", "1", "--event", "modify", file)
		out, err := cmd.CombinedOutput()
		if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
			t.Fatalf("inotifywait: %v", exit)
		}
		return string(out), cmd.ProcessState.ExitCode()
	}
	for try := 1; ; try++ {
		holder.takeAll() // and what another of root's has given back
		out, code := wait()
		if code == 1 && strings.Contains(out, "Too many open files") {
			break
		}
		if try == 5 {
			t.Fatalf("before: inotifywait exits with %d:\n%s\nwant 1 and errno 24", code, out)
		}
	}
	applyHere(t, 0)
	// 2 is inotifywait's code for a watch on which nothing happened.
	if out, code := wait(); code != 2 || !strings.Contains(out, "Watches established") {
		t.Errorf("after: inotifywait exits with %d:\n%s\nwant 2", code, out)
	}
}

// applyHere runs apply on this machine with a store of its own.
func applyHere(t *testing.T, want int, args ...string) reporter.Document {
	t.Helper()
	var out, errs strings.Builder
	args = append([]string{"apply", "-o", "json", "--path.rootfs", t.TempDir()}, args...)
	if code := run(args, strings.NewReader(""), &out, &errs); code != want {
		t.Fatalf("%q: exit code %d, want %d\n%s%s", args, code, want, out.String(), errs.String())
	}
	return reportOf(t, out.String())
}

func reportOf(t *testing.T, text string) reporter.Document {
	t.Helper()
	var doc reporter.Document
	if err := json.Unmarshal([]byte(text), &doc); err != nil || doc.Sysctl == nil {
		t.Fatalf("%v: %s", err, text)
	}
	return doc
}

func ruleOf(t *testing.T, doc reporter.Document, k sysctl.Key) sysctl.Status {
	t.Helper()
	for _, s := range doc.Sysctl.Rules {
		if s.Key == k {
			return s
		}
	}
	t.Fatalf("no rule for %s in %+v", k, doc.Sysctl)
	return sysctl.Status{}
}

func minimal(t *testing.T, rules string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "config.yaml")
	text := "apiVersion: nodetune.io/v1alpha1\nkind: Configuration\nprofile: minimal\nsysctl:\n  rules: " + rules + "\n"
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestApplyIsIdempotentOnTheRealKernel(t *testing.T) {
	untouched(t)
	first := applyHere(t, exitOK)
	if s := ruleOf(t, first, sysctl.MaxUserInstances); !s.Changed || s.Before != 128 || s.Value != 8192 {
		t.Errorf("first run: %+v", s)
	}
	// Two names of one variable are shown with one value.
	if s := ruleOf(t, first, sysctl.UserMaxInstances); s.Value != 8192 || s.Changed {
		t.Errorf("its second name: %+v", s)
	}
	for _, s := range applyHere(t, exitOK).Sysctl.Rules {
		if s.Changed {
			t.Errorf("the second run has changed %s", s.Key)
		}
	}
}

func TestTheKernelRefuses(t *testing.T) {
	privtest.Host(t)
	privtest.Keep(t, "kernel.pid_max")
	// 301 is the least that kernel.pid_max takes (RESERVED_PIDS + 1).
	doc := applyHere(t, exitUnmet, "--config", minimal(t, "[{key: kernel.pid_max, exactly: 5, allowLower: true}]"))
	s := ruleOf(t, doc, "kernel.pid_max")
	if s.Outcome != sysctl.Refused || !strings.Contains(s.Reason, "out of this kernel's range") || s.Changed {
		t.Errorf("%+v", s)
	}
	if s := ruleOf(t, doc, sysctl.MaxUserInstances); s.Outcome != sysctl.InForce {
		t.Errorf("the key beside it: %+v", s)
	}
}

// fs.pipe-max-size rounds up to a power of two. Mounted over a key of ours it
// is a kernel that keeps another value than was written.
func TestTheKernelClamps(t *testing.T) {
	privtest.Host(t)
	privtest.Keep(t, "fs.pipe-max-size")
	h := newHost(t)
	key := filepath.Join(h.dir, "proc/sys/fs/aio-max-nr")
	h.put(t, "proc/sys/fs/aio-max-nr", "")
	if err := unix.Mount("/proc/sys/fs/pipe-max-size", key, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(key, unix.MNT_DETACH) })
	code, stdout, stderr := h.run("apply", "-o", "json", "--config", minimal(t, "[{key: fs.aio-max-nr, exactly: 5000, allowLower: true}]"))
	if code != exitUnmet {
		t.Fatalf("exit code %d, want %d\n%s%s", code, exitUnmet, stdout, stderr)
	}
	s := ruleOf(t, reportOf(t, stdout), "fs.aio-max-nr")
	if s.Outcome != sysctl.Refused || s.Value != 8192 || !strings.Contains(s.Reason, "kept 8192") {
		t.Errorf("%+v", s)
	}
}

// Without privilege, and with a read-only /proc/sys, it says what to do.
func TestApplySaysWhatIsMissing(t *testing.T) {
	untouched(t)
	bin := build(t)
	for name, test := range map[string]struct {
		command []string
		want    string
	}{
		"another uid": {
			[]string{"setpriv", "--reuid", strconv.Itoa(proberUID), "--regid", strconv.Itoa(proberUID), "--clear-groups", "--"},
			"permission denied: it needs uid 0 of the initial user namespace",
		},
		"read-only /proc/sys": {
			[]string{"unshare", "--mount", "sh", "-c", `mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && exec "$@"`, "sh"},
			"/proc/sys is mounted read-only here: run nodetune on the host, or",
		},
		"root of a user namespace": {
			[]string{"setpriv", "--reuid", strconv.Itoa(proberUID), "--regid", strconv.Itoa(proberUID), "--clear-groups", "--", "unshare", "--user", "--map-root-user"},
			"permission denied: it needs uid 0 of the initial user namespace",
		},
	} {
		t.Run(name, func(t *testing.T) {
			args := append(test.command, bin, "apply", "-o", "json", "--path.rootfs", "/nonexistent")
			cmd := exec.Command(args[0], args[1:]...)
			cmd.Dir = "/"
			out, err := cmd.Output()
			if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != exitUnmet {
				t.Fatalf("%v, want exit code %d\n%s", err, exitUnmet, out)
			}
			s := ruleOf(t, reportOf(t, string(out)), sysctl.MaxUserInstances)
			if s.Outcome != sysctl.Failed || s.Changed || !strings.Contains(s.Reason, test.want) {
				t.Errorf("%+v\nwant the reason to contain %q", s, test.want)
			}
			if privtest.Get(t, "fs.inotify.max_user_instances") != "128" {
				t.Error("the value has changed")
			}
		})
	}
}

// What the kernel did not take is not on record: if the value appears later,
// another program has set it.
func TestWhatTheKernelDoesNotTakeIsNotRecorded(t *testing.T) {
	privtest.Host(t)
	privtest.Keep(t, "kernel.pid_max")
	root := t.TempDir()
	privtest.Set(t, "fs.inotify.max_user_instances", "128")
	applyHere(t, exitUnmet, "--path.rootfs", root, "--config", minimal(t, "[{key: kernel.pid_max, exactly: 5, allowLower: true}]"))
	b, err := os.ReadFile(filepath.Join(root, "run/nodetune/originals.json"))
	if err != nil || strings.Contains(string(b), "pid_max") || !strings.Contains(string(b), "fs.inotify.max_user_instances") {
		t.Errorf("the record is %s (%v): want the key that was written and not the other", b, err)
	}
}

// uid 0 without any capability suffices (test_perm in fs/proc/proc_sysctl.c).
func TestApplyNeedsNoCapability(t *testing.T) {
	untouched(t)
	bin := build(t)
	out, err := exec.Command("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "--",
		"sh", "-c", `grep -q '^CapEff:\s0*$' /proc/self/status || { echo "capabilities are left" >&2; exit 9; }; exec "$@"`, "sh",
		bin, "apply", "--path.rootfs", t.TempDir()).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if n := instances(t, proberUID); n != 8192 {
		t.Errorf("uid %d got %d instances, want 8192", proberUID, n)
	}
}

// Of many runs at once each value is written by one.
func TestRunsAtOnceSerialise(t *testing.T) {
	privtest.Root(t)
	bin := build(t)
	h := newHost(t)
	const runs = 8
	outs := make([]string, runs)
	var wg sync.WaitGroup
	for i := range runs {
		wg.Go(func() {
			out, err := exec.Command(bin, append([]string{"apply", "-o", "json"}, h.flags()...)...).Output()
			if err != nil {
				t.Errorf("run %d: %v", i, err)
			}
			outs[i] = string(out)
		})
	}
	wg.Wait()
	writers := make(map[sysctl.Key]int)
	for _, out := range outs {
		for _, s := range reportOf(t, out).Sysctl.Rules {
			if s.Changed {
				writers[s.Key]++
			}
			if s.Outcome != sysctl.InForce && s.Outcome != sysctl.Absent {
				t.Errorf("%+v", s)
			}
		}
	}
	for _, k := range []sysctl.Key{sysctl.MaxUserInstances, sysctl.MaxUserWatches} {
		if writers[k] != 1 {
			t.Errorf("%d runs wrote %s, want 1", writers[k], k)
		}
	}
}
