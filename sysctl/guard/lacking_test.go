package guard

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nodetune/nodetune/internal/privtest"
)

// openAndReport opens a guard and reports what is known of the write that
// follows. "own" makes a write of its own before.
func openAndReport(arg string) error {
	how, dir, _ := strings.Cut(arg, " ")
	o := options(Hold, 8192)
	o.Cgroupfs = dir
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
		{"no BTF", "open " + cgroupfs, hide, []string{"opened [not known: ", "CONFIG_DEBUG_INFO_BTF", "by w["}, "name"},
		{"another pid namespace", "own " + cgroupfs, []string{"unshare", "--pid", "--fork", "--mount-proc"}, []string{"opened []", "read 5000->128 by w["}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			set(t, key, 9000)
			args := append(c.run, executable(t))
			cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
			cmd.Env, cmd.Dir = append(os.Environ(), roleEnv+"=open "+c.arg), "/"
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
			case <-time.After(20 * time.Second):
				t.Error("neither opened nor failed within 20 s")
			}
			newWriter(t, "w", nil).write(key, "128\n")
			in.Close()
			_ = cmd.Wait()
			for _, want := range c.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("got %swant %q", out, want)
				}
			}
			if c.not != "" && strings.Contains(out.String(), c.not) {
				t.Errorf("got %s, want no %q", out, c.not)
			}
			t.Logf("%s", bytes.TrimSpace(out.Bytes()))
		})
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
