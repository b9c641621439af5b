package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/inotifytest"
	"github.com/nodetune/nodetune/internal/privtest"
	"github.com/nodetune/nodetune/reporter/diagnosis"
	"github.com/nodetune/nodetune/sysctl"
)

// sections are those of a Report that count holders.
type sections struct {
	Sysctl  *sysctl.PassResult
	Inotify *inotify.Usage
}

// document runs a command that prints a Report.
func document(t *testing.T, args ...string) (int, sections) {
	t.Helper()
	code, stdout, stderr := nodetune(append(args, "-o", "json")...)
	var d sections
	if err := json.Unmarshal([]byte(stdout), &d); err != nil {
		t.Fatalf("%q: exit %d: %v\n%s%s", args, code, err, stdout, stderr)
	}
	if d.Inotify == nil {
		t.Fatalf("%q: no .inotify in\n%s%s", args, stdout, stderr)
	}
	return code, d
}

// check and top say what is true, about users and about processes.
func TestCheckAndTopTellTheTruth(t *testing.T) {
	privtest.Host(t)
	privtest.Set(t, "fs.inotify.max_user_instances", "128")
	specs := []inotifytest.Spec{
		{Kind: inotifytest.Plain, Processes: 3, UID: 70201, Instances: 4, Watches: 5},
		{Kind: inotifytest.Fork, Processes: 2, UID: 70202, Instances: 3, Watches: 2, Copies: 4},
		{Kind: inotifytest.Dup, Processes: 2, UID: 70203, Instances: 2, Watches: 7, Copies: 3},
		{Kind: inotifytest.Thread, Processes: 2, UID: 70204, Instances: 5, Watches: 1},
		{Kind: inotifytest.Plain, Processes: 1, UID: 70205, Instances: 110},
	}
	holders := inotifytest.New(t, 7).Start(specs...)
	rootfs := "--path.rootfs=" + t.TempDir()
	code, check := document(t, "check", rootfs)
	if code != 1 {
		t.Errorf("check: exit %d, want 1: uid 70205 uses 110 of 128 instances", code)
	}
	_, top := document(t, "top", "--once", rootfs)
	for name, u := range map[string]*inotify.Usage{"check": check.Inotify, "top": top.Inotify} {
		for i, s := range specs {
			a := inotify.Account{}
			for _, b := range u.Accounts {
				if int(b.UID) == s.UID {
					a = b
				}
			}
			n, w := int64(s.Processes*s.Instances), int64(s.Processes*s.Instances*s.Watches)
			if a.Instances != n || a.Watches != w || a.InstancesLimit != 128 {
				t.Errorf("%s: uid %d has %d of %d instances and %d watches, want %d of 128 and %d", name, s.UID, a.Instances, a.InstancesLimit, a.Watches, n, w)
			}
			for _, h := range holders[i] {
				p, ok := u.Process(h.PID)
				if !ok || p.Instances != int64(s.Instances) || p.Watches != int64(s.Instances*s.Watches) || int(p.UID) != s.UID || p.Comm != "holder" || p.NOFILESoft < 1 {
					t.Errorf("%s: process %d of uid %d: %+v", name, h.PID, s.UID, p)
				}
			}
		}
	}
	_, table, _ := nodetune("check", rootfs)
	want := fmt.Sprintf("pressure: uid 70205 has 110 of 128 (85%%) inotify instances, most of them holder[%d]", holders[4][0].PID)
	if !strings.Contains(table, want) {
		t.Errorf("%q is not in\n%s", want, table)
	}
}

// diagnose runs why.
func diagnose(t *testing.T, args ...string) (int, diagnosis.Diagnosis) {
	t.Helper()
	code, stdout, stderr := nodetune(append([]string{"why", "-o", "json"}, args...)...)
	var d diagnosis.Diagnosis
	if err := json.Unmarshal([]byte(stdout), &d); err != nil {
		t.Fatalf("why %q: exit %d: %v\n%s%s", args, code, err, stdout, stderr)
	}
	return code, d
}

// Of a process that may not be read why knows the descriptors' number, and does
// not say that it holds no instance.
func TestWhyOfWhatMayNotBeRead(t *testing.T) {
	privtest.Root(t)
	bin, v := build(t), newVictim(t, 0, someFiles, 1024)
	cmd := exec.Command(bin, "why", v.String(), "-o", "json")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.Output()
	var d diagnosis.Diagnosis
	if err := errors.Join(err, json.Unmarshal(out, &d)); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if d.Process.PID != v.pid || d.Process.Quality != inotify.Unknown || d.Process.WatchesQuality != inotify.Unknown || d.Limits[0].Quality != inotify.Unknown {
		t.Errorf("want it unknown:\n%s", out)
	}
}

// For each limit a real process is refused by the kernel, and why names that
// limit, as reached, and what helps against it; and with that help it is not
// refused any more.
func TestWhyNamesTheLimit(t *testing.T) {
	rootfs := "--path.rootfs=" + t.TempDir()
	t.Run("instances", func(t *testing.T) {
		privtest.Host(t)
		privtest.Set(t, "fs.inotify.max_user_instances", "128")
		holder := inotifytest.New(t, 0).Start(inotifytest.Spec{Kind: inotifytest.Plain, Processes: 1, UID: 70211, Instances: 128})[0][0].PID
		v := newVictim(t, 70211, someInstances, 1024)
		if _, errno := v.take(1); errno != 24 {
			t.Fatalf("the kernel returned %d, want 24", errno)
		}
		code, d := diagnose(t, v.String(), "--errno=24", "--probe", rootfs)
		l := d.Limits[0]
		if code != 1 || d.Limit != inotify.Instances || !d.Reached || l.Used != 128 || l.Limit != 128 || l.Quality != inotify.Exact {
			t.Errorf("exit %d: %s: %+v", code, d.Summary, l)
		}
		if len(l.TopConsumers) == 0 || l.TopConsumers[0].PID != holder || l.TopConsumers[0].Used != 128 {
			t.Errorf("held by %+v, want %d", l.TopConsumers, holder)
		}
		if l.Apply == nil || l.Apply.From != 128 || l.Apply.To < 8192 {
			t.Fatalf("apply would do %+v", l.Apply)
		}
		privtest.Set(t, string(l.Apply.Key), l.Apply.To.String())
		if _, errno := v.take(1); errno != 0 {
			t.Errorf("with the value of apply the kernel still says %d", errno)
		}
		if code, d := diagnose(t, v.String(), "--errno=24", "--probe", rootfs); code != 0 || d.Reached {
			t.Errorf("afterwards: exit %d: %s", code, d.Summary)
		}
	})
	// A pod with hostUsers: false has no quota of its own.
	t.Run("instances of a user namespace", func(t *testing.T) {
		privtest.Host(t)
		privtest.Set(t, "fs.inotify.max_user_instances", "128")
		pid := inotifytest.New(t, 0).Start(inotifytest.Spec{Kind: inotifytest.UserNS, Processes: 1, UID: 70212, Instances: 128, Other: 70312})[0][0].PID
		code, d := diagnose(t, strconv.Itoa(pid), "--errno=24", rootfs)
		if code != 1 || d.Limit != inotify.Instances || !strings.Contains(d.Summary, "uid 70212, the owner of the user namespace, uses 128 of 128") {
			t.Errorf("exit %d: %s", code, d.Summary)
		}
		if inner := d.Limits[0]; inner.Setting != "user.max_inotify_instances" || inner.Owner.UID != 70312 || inner.Used != 128 || inner.Reached {
			t.Errorf("inside of the namespace: %+v", inner)
		}
	})
	t.Run("NOFILE", func(t *testing.T) {
		privtest.Root(t)
		v := newVictim(t, 0, someFiles, 64)
		if _, errno := v.take(100); errno != 24 {
			t.Fatalf("the kernel returned %d, want 24", errno)
		}
		code, d := diagnose(t, v.String(), rootfs)
		if code != 1 || d.Limit != inotify.NOFILE || !d.Reached || d.Process.FDs < 64 || d.Process.NOFILESoft != 64 || d.Process.NOFILEHard != 4096 {
			t.Errorf("exit %d: %s: %+v", code, d.Summary, d.Process)
		}
		var cure string
		for _, a := range d.Advice {
			if _, after, ok := strings.Cut(a, "now, without a restart: "); ok {
				cure, _, _ = strings.Cut(after, " (")
			}
		}
		args := strings.Fields(cure)
		if len(args) == 0 || args[0] != "prlimit" {
			t.Fatalf("no command in %q", d.Advice)
		}
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", cure, err, out)
		}
		if _, errno := v.take(100); errno != 0 {
			t.Errorf("after %q the kernel still says %d", cure, errno)
		}
		if code, d := diagnose(t, v.String(), rootfs, "--errno=24"); code != 0 || d.Reached {
			t.Errorf("after %q: exit %d: %s", cure, code, d.Summary)
		}
	})
	t.Run("file-max", func(t *testing.T) {
		privtest.Host(t)
		used := openFiles(t)
		v := newVictim(t, 70213, someFiles, 1024)
		privtest.Set(t, "fs.file-max", strconv.Itoa(used/2))
		_, errno := v.take(1)
		code, d := diagnose(t, v.String(), rootfs)
		of1, exempt := diagnose(t, strconv.Itoa(os.Getpid()), "--errno=23", rootfs)
		privtest.Set(t, "fs.file-max", strconv.Itoa(used*4)) // at once: others open files too
		if errno != 23 {
			t.Fatalf("the kernel returned %d, want 23", errno)
		}
		if code != 1 || d.Limit != inotify.OpenFiles || !d.Reached || len(d.Limits) != 4 || d.Limits[2].Apply == nil {
			t.Errorf("exit %d: %s: %+v", code, d.Summary, d.Limits)
		}
		if of1 != 0 || exempt.Limits[0].Exempt == "" {
			t.Errorf("root with CAP_SYS_ADMIN: exit %d: %+v", of1, exempt.Limits)
		}
		if _, errno := v.take(1); errno != 0 {
			t.Errorf("with a higher fs.file-max the kernel still says %d", errno)
		}
	})
	t.Run("watches", func(t *testing.T) {
		privtest.Host(t)
		const n = 8192
		privtest.Set(t, "fs.inotify.max_user_watches", strconv.Itoa(n))
		holder := inotifytest.New(t, n).Start(inotifytest.Spec{Kind: inotifytest.Plain, Processes: 1, UID: 70214, Instances: 1, Watches: n})[0][0].PID
		watch := exec.Command("inotifywait", "-t", "1", "/etc/passwd")
		watch.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 70214, Gid: 70214}}
		if out, err := watch.CombinedOutput(); err == nil || !strings.Contains(string(out), "upper limit on inotify watches") {
			t.Fatalf("inotifywait returned %v: %s", err, out)
		}
		code, d := diagnose(t, strconv.Itoa(holder), "--errno=ENOSPC", rootfs)
		if code != 1 || d.Limit != inotify.Watches || !d.Reached || d.Limits[0].Used != n || d.Limits[0].Apply == nil {
			t.Errorf("exit %d: %s: %+v", code, d.Summary, d.Limits)
		}
	})
}

// A process in the cgroup of a pod is found by the pod's name and is shown with
// it, with no API to ask: the names come from the log directories.
func TestPodsHaveNames(t *testing.T) {
	privtest.Root(t)
	const uid = "0e7b1c7e-9a52-4b0d-8d0c-6f6a4f1d2c3b"
	id := strings.Repeat("0123456789abcdef", 4)
	root := t.TempDir()
	for _, dir := range []string{"var/log/pods/logging_collector-x7k2p_" + uid + "/main", "var/log/containers"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/nowhere", filepath.Join(root, "var/log/containers", "collector-x7k2p_logging_main-"+id+".log")); err != nil {
		t.Fatal(err)
	}
	pid := watcher(t, "nt-collector")
	inCgroup(t, pid, "kubepods/burstable/pod"+uid+"/"+id)

	_, d := diagnose(t, "logging/collector-x7k2p:main", "--path.rootfs="+root)
	if d.Process.PID != pid || d.Process.Instances != 1 || d.Process.Container != "main" {
		t.Errorf("why: %+v, want process %d with one instance", d.Process, pid)
	}
	_, doc := document(t, "top", "--path.rootfs="+root)
	p, _ := doc.Inotify.Process(pid)
	if p.Namespace != "logging" || p.Pod != "collector-x7k2p" || p.Container != "main" || p.Unit != "" {
		t.Errorf("top: %+v", p)
	}
	if _, table, _ := nodetune("top", "--rows", "0", "--path.rootfs="+root); !strings.Contains(table, "logging/collector-x7k2p:main") {
		t.Errorf("the pod is not in\n%s", table)
	}
}

// A floor that the machine has outgrown is raised by what is in use: check says
// so, and apply does it.
func TestFloorsFollowUse(t *testing.T) {
	privtest.Host(t)
	privtest.Set(t, "fs.inotify.max_user_instances", "400")
	inotifytest.New(t, 0).Start(inotifytest.Spec{Kind: inotifytest.Plain, Processes: 3, UID: 70221, Instances: 100})
	dir := t.TempDir()
	cfg := filepath.Join(dir, "config.yaml")
	const small = `apiVersion: nodetune.io/v1alpha1
kind: Configuration
sysctl:
  rules:
  - {key: fs.inotify.max_user_instances, atLeast: 200}
`
	if err := os.WriteFile(cfg, []byte(small), 0o644); err != nil {
		t.Fatal(err)
	}
	args := []string{"--config=" + cfg, "--path.rootfs=" + dir}
	instances := func(d sections) sysctl.Status {
		for _, s := range d.Sysctl.Rules {
			if s.Key == sysctl.MaxUserInstances {
				return s
			}
		}
		return sysctl.Status{}
	}
	_, d := document(t, append(args, "check")...)
	const want = 429 // 300 are 70 % of it
	if s := instances(d); s.Want != want || s.Outcome != sysctl.Drifted {
		t.Errorf("check wants %v and says %s, want %d and Drifted", s.Want, s.Outcome, want)
	}
	if code, stdout, stderr := nodetune(append(args, "apply")...); code != 0 {
		t.Errorf("apply: exit %d\n%s%s", code, stdout, stderr)
	}
	if got := privtest.Get(t, "fs.inotify.max_user_instances"); got != strconv.Itoa(want) {
		t.Errorf("apply left %s, want %d", got, want)
	}
}

// inCgroup moves a process into a cgroup of its own for the test: where memory
// is charged, below a directory that no runtime uses.
func inCgroup(t *testing.T, pid int, path string) {
	t.Helper()
	mount := "/sys/fs/cgroup/memory" // v1
	if _, err := os.Stat(mount); err != nil {
		mount = "/sys/fs/cgroup"
	}
	top := filepath.Join(mount, fmt.Sprintf("nodetune-test-%d", os.Getpid()))
	dir := filepath.Join(top, path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(filepath.Join(mount, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
			t.Errorf("move %d back: %v", pid, err)
		}
		for d := dir; d != mount; d = filepath.Dir(d) {
			if err := os.Remove(d); err != nil {
				t.Errorf("remove the cgroup: %v", err)
			}
		}
	})
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
		t.Fatal(err)
	}
}
