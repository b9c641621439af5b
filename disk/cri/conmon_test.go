package cri

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/nodetune/nodetune/disk/containerlog"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/privtest"
	"github.com/nodetune/nodetune/internal/workload"
)

// CRI-O's order, with the monitor that writes its containers' logs and without
// CRI-O itself, which Debian does not have: the test renames the log,
// and asks conmon through its ctl FIFO, as CRI-O does. conmon then renames a new file
// to where the log was.
func TestRotateThroughConmon(t *testing.T) {
	privtest.Root(t)
	root := t.TempDir()
	bundle, cgroup := filepath.Join(root, "bundle"), fmt.Sprint("nodetune-conmon-", os.Getpid())
	log := "/var/log/pods/default_web_" + podUID + "/web/0.log"
	c := &container{dir: filepath.Join(root, filepath.Dir(log))}
	for _, dir := range []string{c.dir, filepath.Join(root, "run"), filepath.Join(bundle, "rootfs/bin"), filepath.Join(bundle, "rootfs/tmp"), filepath.Join(root, "exits"), filepath.Join(root, "sockets")} {
		must(t, os.MkdirAll(dir, 0o755))
	}
	busybox, err := os.ReadFile("/bin/busybox")
	must(t, err)
	must(t, os.WriteFile(filepath.Join(bundle, "rootfs/bin/busybox"), busybox, 0o755))
	for _, applet := range []string{"sh", "seq", "sleep"} {
		must(t, os.Symlink("busybox", filepath.Join(bundle, "rootfs/bin", applet)))
	}
	writeSpec(t, bundle, "/"+cgroup, endless(20_000, "0"))
	t.Cleanup(func() { removeCgroups(cgroup) })
	output := filepath.Join(root, "conmon.out")
	isolated(t, output, `mount --bind "$1/run" /run || exit
		conmon --api-version 1 --cid web --cuuid web --name web --runtime "$(command -v runc)" --bundle "$1/bundle" --container-pidfile "$1/pid" \
			--exit-dir "$1/exits" --socket-dir-path "$1/sockets" --log-path "$2" || exit
		until [ -s "$1/pid" ]; do sleep 0.1; done
		runc start web && exec sleep 1000000`, root, filepath.Join(root, log))
	live := filepath.Join(root, log)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if st, err := os.Stat(live); err == nil && st.Size() > 0 {
			break
		}
		if time.Now().After(deadline) {
			out, _ := os.ReadFile(output)
			t.Fatalf("the container writes nothing: %s", out)
		}
	}

	reopen := func(ctx context.Context) error {
		ctl, err := os.OpenFile(filepath.Join(bundle, "ctl"), os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		const reopenLogs = "2 0 0\n" // internal/oci/runtime_oci.go
		_, err = ctl.WriteString(reopenLogs)
		return errors.Join(err, ctl.Close())
	}
	b, err := containerlog.New("/proc", root, kubelet(256<<10), 0, func(context.Context, workload.Log, string) (containerlog.Runtime, error) {
		return containerlog.Runtime{Replaces: true, Reopen: func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			if err := reopen(ctx); err != nil {
				return err
			}
			// CRI-O returns when the log is there again.
			for ctx.Err() == nil {
				if _, err := os.Stat(live); err == nil {
					return nil
				}
				time.Sleep(time.Millisecond)
			}
			return ctx.Err()
		}}, nil
	})
	must(t, err)
	acts := rotateUntil(t, b, func(rotations int) bool { return rotations >= 20 })
	must(t, os.WriteFile(filepath.Join(bundle, "rootfs/tmp/stop"), nil, 0o644))
	c.awaitLive(t)
	lines, parts := c.complete(t, numbered)
	t.Logf("%d lines, %d rotations, %d archives compressed meanwhile, %d parts", lines, count(acts, logdir.ActionRotate), count(acts, logdir.ActionCompress), parts)

	// What the order is for.
	must(t, reopen(t.Context()))
	await(t, "a conmon that is asked without a rename throws the log away", func() bool {
		st, err := os.Stat(live)
		return err == nil && st.Size() == 0
	})
}

// writeSpec writes the bundle's config.json: that of `runc spec`, for a script.
func writeSpec(t *testing.T, bundle, cgroup, script string) {
	t.Helper()
	if out, err := exec.Command("runc", "spec", "--bundle", bundle).CombinedOutput(); err != nil {
		t.Fatalf("runc spec: %v: %s", err, out)
	}
	file := filepath.Join(bundle, "config.json")
	b, err := os.ReadFile(file)
	must(t, err)
	var spec map[string]any
	must(t, json.Unmarshal(b, &spec))
	process := spec["process"].(map[string]any)
	process["terminal"], process["args"] = false, []string{"/bin/sh", "-c", script}
	process["env"] = []string{"PATH=/bin"}
	spec["linux"].(map[string]any)["cgroupsPath"] = cgroup
	b, err = json.Marshal(spec)
	must(t, err)
	must(t, os.WriteFile(file, b, 0o644))
}
