package cli

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/nodetune/nodetune/internal/privtest"
)

// demoOf runs the released nodetune demo as credential, in the same user
// namespace where wrap is empty.
func demoOf(t *testing.T, credential *syscall.Credential, wrap ...string) (code int, stdout, stderr string) {
	t.Helper()
	args := append(wrap, build(t), "demo")
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = "/"
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if credential != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
	}
	err := cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// wantDemo checks the whole demo: both errors are real, the diagnosis names the
// limit of the namespace, and the same call succeeds in the end.
func wantDemo(t *testing.T, code int, stdout, stderr string) {
	t.Helper()
	if code != exitOK || stderr != "" {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	rest := stdout
	for _, want := range []string{
		`Process \d+ \(demo-collector\) runs in a user namespace of its own`,
		`inotify_init1, 4 times +ok`,
		`inotify_init1 +errno 24, EMFILE: "too many open files"`,
		`\$ nodetune why \d+ --errno 24`,
		`it is user.max_inotify_instances: uid \d+ in user namespace \d+ uses (at most |about )?4 of 4`,
		`The cure\n  write user.max_inotify_instances = 8 +ok\n  inotify_init1 +ok\n`,
		`inotify_add_watch, 16 times +ok`,
		`inotify_add_watch +errno 28, ENOSPC: "no space left on device"`,
		`it is user.max_inotify_watches: uid \d+ in user namespace \d+ uses (at most |about )?16 of 16`,
		`The cure\n  write user.max_inotify_watches = 32 +ok\n  inotify_add_watch +ok\n`,
	} {
		at := regexp.MustCompile(want).FindStringIndex(rest)
		if at == nil {
			t.Fatalf("no %q, in this order, in\n%s", want, stdout)
		}
		rest = rest[at[1]:]
	}
}

func TestDemo(t *testing.T) {
	code, stdout, stderr := demoOf(t, nil)
	wantDemo(t, code, stdout, stderr)
}

// As an ordinary user, and as root, it changes no limit of the host and leaves
// no process.
func TestDemoLeavesTheHostAlone(t *testing.T) {
	privtest.Host(t)
	limits := func() (all string) {
		for _, key := range []string{"fs.inotify.max_user_instances", "fs.inotify.max_user_watches", "user.max_inotify_instances", "user.max_inotify_watches", "user.max_user_namespaces"} {
			all += key + " " + privtest.Get(t, key) + "\n"
		}
		return all
	}
	before := limits()
	for _, credential := range []*syscall.Credential{nil, {Uid: 65534, Gid: 65534}} {
		code, stdout, stderr := demoOf(t, credential)
		wantDemo(t, code, stdout, stderr)
		pid := regexp.MustCompile(`Process (\d+) `).FindStringSubmatch(stdout)
		if comm, err := os.ReadFile("/proc/" + pid[1] + "/comm"); err == nil && strings.HasPrefix(string(comm), "demo-") {
			t.Errorf("process %s still runs", pid[1])
		}
	}
	if after := limits(); after != before {
		t.Errorf("limits before\n%safter\n%s", before, after)
	}
}

// A kernel that refuses the namespace: exit code 2, and the setting. The limit is
// that of a namespace made for the test.
func TestDemoRefused(t *testing.T) {
	code, stdout, stderr := demoOf(t, nil, "unshare", "--user", "--map-root-user", "sh", "-c",
		`echo 0 >/proc/sys/user/max_user_namespaces && exec "$0" "$@"`)
	if code != exitUsage || stdout != "" || !strings.Contains(stderr, "user.max_user_namespaces is 0") {
		t.Errorf("exit code %d, want %d\n%s%s", code, exitUsage, stdout, stderr)
	}
}

func TestDemoArguments(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"demo", "now"}, `takes no arguments, got "now"`},
		{[]string{"demo", "-o", "json"}, "demo has no document"},
		{[]string{"demo", "--config", "/nonexistent"}, "no such file"},
	} {
		code, stdout, stderr := nodetune(c.args...)
		if code == exitOK || stdout != "" || !strings.Contains(stderr, c.want) {
			t.Errorf("%q: exit code %d\n%s%s, want %q", c.args, code, stdout, stderr, c.want)
		}
	}
}
