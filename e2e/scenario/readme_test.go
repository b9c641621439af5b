package scenario

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nodetune/nodetune/e2e/cluster"
)

// installTime is how long an installation may take, with the clone and until the agent is
// Ready.
const installTime = time.Minute

// From nothing to a tuned cluster with what the README says, word for word. Git
// takes the repository of this checkout for the one on GitHub. make e2e-up ends with the
// same commands.
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
	const github = "https://github.com/nodetune/nodetune"
	if len(commands) != 3 || !strings.HasPrefix(commands[0], "git clone "+github+" ") {
		t.Fatalf("the README has %q, want a clone and two commands", commands)
	}
	up, err := os.ReadFile("../main.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range commands[1:] {
		c, _, _ = strings.Cut(c, "#")
		if want := "  e2e/bin/e2e exec " + strings.TrimSpace(c) + "\n"; !strings.Contains(string(up), want) {
			t.Errorf("make e2e-up does not end with %q", want)
		}
	}
	top, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	work := t.TempDir()
	git := filepath.Join(work, "gitconfig")
	// A checkout of another user is what sudo finds.
	text := fmt.Sprintf("[url %q]\n\tinsteadOf = %s\n[safe]\n\tdirectory = *\n", "file://"+top, github)
	if err := os.WriteFile(git, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}

	holdKernel(t)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), cluster.Patience)
		defer cancel()
		if _, err := node.Kubectl(ctx, "delete", "-k", filepath.Join(deploy, "overlays", "default"), "--ignore-not-found"); err != nil {
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
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", strings.Join(commands, "\n"))
	cmd.Dir = work
	cmd.Env = append(os.Environ(), "KUBECONFIG="+node.Kubeconfig, "PATH="+bin+":"+os.Getenv("PATH"), "GIT_CONFIG_GLOBAL="+git)
	began := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	waitAgent(t)
	took := time.Since(began)
	t.Logf("installed, with a Ready agent, in %s", took.Round(100*time.Millisecond))
	if took > installTime {
		t.Errorf("the README's commands took %s until the agent was Ready, want %s at most", took, installTime)
	}
	if got := get(t, maxInstances); got != "8192" {
		t.Errorf("%s is %s after the README's commands, want 8192", maxInstances, got)
	}
}
