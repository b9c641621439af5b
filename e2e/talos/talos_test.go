// Package talos runs nodetune on a host like Talos Linux: / is read-only, state
// can be kept below /var only, and there is no systemd.
package talos

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/nodetune/nodetune/e2e/cluster"
	"github.com/nodetune/nodetune/e2e/sandbox"
)

var node *cluster.Cluster

func TestMain(m *testing.M) {
	os.Exit(cluster.Main(cluster.Options{}, sandbox.Options{ReadOnlyRoot: true}, func(c *cluster.Cluster) int {
		node = c
		return m.Run()
	}))
}

func TestReadOnlyHost(t *testing.T) {
	if err := os.Mkdir("/nodetune-e2e", 0o755); !errors.Is(err, syscall.EROFS) {
		t.Fatalf("the root is not read-only: %v", err)
	}
	if err := node.LoadArchive(t.Context(), "../bin/nodetune.tar"); err != nil { // make e2e-image
		t.Fatal(err)
	}
	release, err := sandbox.HoldKernel()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := release(); err != nil {
			t.Error(err)
		}
	})
	const key = "/proc/sys/fs/inotify/max_user_instances"
	if err := os.WriteFile(key, []byte("128"), 0); err != nil {
		t.Fatal(err)
	}
	const overlay = "../../deploy/overlays/talos"
	t.Cleanup(func() {
		if _, err := node.Kubectl(context.Background(), "delete", "-k", overlay, "--wait=true"); err != nil {
			t.Error(err)
		}
	})
	node.MustKubectl(t, "", "apply", "-k", overlay)
	node.MustKubectl(t, "", "-n", "nodetune", "rollout", "status", "daemonset/nodetune", "--timeout=3m")
	cluster.Eventually(t, "the floor holds", func(context.Context) error {
		b, err := os.ReadFile(key)
		if got := strings.TrimSpace(string(b)); err == nil && got != "8192" {
			err = fmt.Errorf("max_user_instances is %s, want 8192", got)
		}
		return err
	})
	if _, err := os.Stat("/var/lib/nodetune/originals.json"); err != nil {
		t.Errorf("the state is not kept below /var: %v", err)
	}
	if _, err := os.Stat("/run/nodetune"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("/run/nodetune was made, though the state is kept elsewhere: %v", err)
	}
}
