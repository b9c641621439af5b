package guard

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/privtest"
)

// openAndReport opens a guard and reports what is known of the write that
// follows. "own" makes a write of its own before, and "drop" gives up all
// capabilities but two.
func openAndReport(arg string) error {
	how, dir, _ := strings.Cut(arg, " ")
	o := options(Hold, 8192)
	o.Cgroupfs = dir
	if how == "drop" {
		runtime.LockOSThread()
		var sets [2]unix.CapUserData
		for _, c := range []uint{unix.CAP_BPF, unix.CAP_NET_ADMIN} {
			sets[c/32].Effective |= 1 << (c % 32)
			sets[c/32].Permitted |= 1 << (c % 32)
		}
		if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &sets[0]); err != nil {
			return err
		}
	}
	g, err := Open(o)
	if err != nil {
		if !errors.Is(err, errors.ErrUnsupported) {
			return fmt.Errorf("not an ErrUnsupported: %w", err)
		}
		return err
	}
	defer g.Close()
	if how == "own" {
		if err := os.WriteFile("/proc/sys/"+key.Path(), []byte("5000"), 0); err != nil {
			return err
		}
	}
	fmt.Fprintln(os.Stdout, "opened", g.Limits())
	if _, err := io.ReadAll(os.Stdin); err != nil { // until the writer has written
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	w, err := g.Read(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stdout, "read %s->%s by %s of uid %d in %q\n", w.Old, w.New, w.Process(), w.UID, w.Cgroup)
	return nil
}

// as runs a command as a user with these capabilities alone.
func as(uid int, caps string) []string {
	set := "-all" + caps
	return []string{
		"setpriv", fmt.Sprint("--reuid=", uid), fmt.Sprint("--regid=", uid), "--clear-groups",
		"--inh-caps=" + set, "--ambient-caps=" + set, "--bounding-set=" + set,
	}
}

// TestLacking: what the documentation says it needs is enough, and without it
// the error or the limits name what is missing.
func TestLacking(t *testing.T) {
	privtest.Host(t)
	const uid = 70397
	none := t.TempDir()
	hide := []string{"unshare", "--mount", "sh", "-c", `mount -t tmpfs none /sys/kernel/btf && exec "$0"`}
	for _, c := range []struct {
		name, arg string
		run       []string
		want      []string
		not       string
	}{
		{"everything", "open " + cgroupfs, nil, []string{"opened []", "by w[", "uid 0 in \"/"}, ""},
		{"three capabilities", "open " + cgroupfs, as(uid, ",+bpf,+net_admin,+perfmon"), []string{"opened []", "by w["}, ""},
		{"no CAP_PERFMON", "open " + cgroupfs, as(uid, ",+bpf,+net_admin"), []string{"opened [not known: ", "writer's cgroup", "CAP_PERFMON is missing", "read 9000->128 by ", "uid 0"}, ""},
		{"no CAP_NET_ADMIN", "open " + cgroupfs, as(uid, ",+bpf,+perfmon"), []string{"needs CAP_NET_ADMIN: "}, "CAP_BPF"},
		{"no CAP_BPF", "open " + cgroupfs, as(uid, ",+net_admin,+perfmon"), []string{"needs CAP_BPF: "}, "CAP_NET_ADMIN"},
		{"no capability", "open " + cgroupfs, as(0, ""), []string{"needs CAP_BPF and CAP_NET_ADMIN: "}, ""},
		{"CAP_SYS_ADMIN alone", "open " + cgroupfs, as(uid, ",+sys_admin"), []string{"opened []", "by w["}, ""},
		{"a user namespace", "open " + cgroupfs, []string{"unshare", "--user", "--map-root-user"}, []string{"unavailable", "initial user namespace"}, ""},
		{"no cgroup v2, and no CAP_SYS_ADMIN", "open " + none, as(uid, ",+bpf,+net_admin,+perfmon"), []string{"needs cgroup v2, which is not mounted", "CAP_SYS_ADMIN"}, ""},
		{"no BTF", "open " + cgroupfs, hide, []string{"opened [not known: ", "CONFIG_DEBUG_INFO_BTF", "by w["}, "the writer's name"},
		{"another pid namespace", "own " + cgroupfs, []string{"unshare", "--pid", "--fork", "--mount-proc"}, []string{"opened []", "read 5000->128 by w["}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			set(t, key, 9000)
			out := openAs(t, c.arg, c.run)
			for _, want := range c.want {
				if !strings.Contains(out, want) {
					t.Errorf("got %swant %q", out, want)
				}
			}
			if c.not != "" && strings.Contains(out, c.not) {
				t.Errorf("got %s, want no %q", out, c.not)
			}
			t.Log(out)
		})
	}
}

// openAs opens a guard in another process, run by a command, has a third one
// write below the floor, and returns what the guard has to report.
func openAs(t *testing.T, arg string, run []string) string {
	t.Helper()
	args := append(run, executable(t))
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env, cmd.Dir = append(os.Environ(), roleEnv+"=open "+arg), "/"
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out := &bytes.Buffer{}
	opened := make(chan bool, 1)
	cmd.Stdout = &firstWrite{out, opened}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-opened:
	case <-time.After(60 * time.Second):
		t.Error("neither opened nor failed within a minute")
	}
	newWriter(t, "w", nil).write(key, "128\n")
	in.Close()
	_ = cmd.Wait()
	return out.String()
}

// TestDrop: without CAP_PERFMON it holds and records what it knows. It needs no
// other program, for e2e/kernel.
func TestDrop(t *testing.T) {
	privtest.Host(t)
	set(t, key, 9000)
	out := openAs(t, "drop "+cgroupfs, nil)
	t.Log(out)
	for _, want := range []string{"opened [not known: ", "CAP_PERFMON is missing", "read 9000->128 by ", "uid 0"} {
		if !strings.Contains(out, want) {
			t.Errorf("got %swant %q", out, want)
		}
	}
	if got := get(t, key); got < 8192 {
		t.Errorf("the key holds %s, below the floor", got)
	}
}

// firstWrite reports the first write.
type firstWrite struct {
	io.Writer
	first chan bool
}

func (f *firstWrite) Write(b []byte) (int, error) {
	n, err := f.Writer.Write(b)
	select {
	case f.first <- true:
	default:
	}
	return n, err
}
