package cri

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/nodetune/nodetune/internal/privtest"
	"github.com/nodetune/nodetune/internal/workload"
)

// A real containerd answers; a container that it does not run is not found, and
// is not reopened.
func TestContainerd(t *testing.T) {
	privtest.Root(t)
	dir := t.TempDir()
	socket := filepath.Join(dir, "containerd.sock")
	config := filepath.Join(dir, "config.toml")
	text := "version = 2\nroot = \"" + dir + "/root\"\nstate = \"" + dir + "/state\"\n[grpc]\naddress = \"" + socket + "\"\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("containerd", "--config", config)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	var c *Client
	for deadline := time.Now().Add(30 * time.Second); c == nil; time.Sleep(100 * time.Millisecond) {
		var err error
		if c, err = Dial(context.Background(), "/", socket); err != nil && time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	defer c.Close()
	if c.Name != "containerd" || c.Replaces {
		t.Errorf("the runtime is %q, replaces %v", c.Name, c.Replaces)
	}
	l := workload.Log{Workload: workload.Workload{PodUID: "11111111-2222-3333-4444-555555555555", Container: "web"}}
	if id, err := c.Container(context.Background(), l, "/var/log/pods/x/web/0.log"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("found %q, %v", id, err)
	}
	if err := c.Reopen(context.Background(), "no-container"); err == nil {
		t.Error("it reopened the log of no container")
	}
}

func TestDialNoSocket(t *testing.T) {
	if _, err := Dial(context.Background(), t.TempDir(), ""); !errors.Is(err, ErrNoSocket) {
		t.Errorf("got %v", err)
	}
}
