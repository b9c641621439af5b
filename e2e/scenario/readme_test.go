package scenario

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nodetune/nodetune/e2e/cluster"
)

// From nothing to a tuned cluster with what the README says, but for the clone.
func TestReadme(t *testing.T) {
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(b), "\n## In a cluster\n")
	if !ok {
		t.Fatal("the README has no section In a cluster")
	}
	_, block, _ := strings.Cut(section, "```sh\n")
	block, _, _ = strings.Cut(block, "```")
	commands := strings.Split(strings.TrimSpace(block), "\n")
	if len(commands) != 3 || !strings.HasPrefix(commands[0], "git clone ") {
		t.Fatalf("the README has %q, want a clone and two commands", commands)
	}

	holdKernel(t)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), cluster.Patience)
		defer cancel()
		if _, err := node.Kubectl(ctx, "delete", "-k", filepath.Join(deploy, "base"), "--ignore-not-found"); err != nil {
			t.Error(err)
		}
		if err := cleanConditions(ctx); err != nil {
			t.Error(err)
		}
	})
	bin, err := filepath.Abs("../bin")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", strings.Join(commands[1:], "\n"))
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "KUBECONFIG="+node.Kubeconfig, "PATH="+bin+":"+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := get(t, maxInstances); got != "8192" {
		t.Errorf("%s is %s after the README's commands, want 8192", maxInstances, got)
	}
}
