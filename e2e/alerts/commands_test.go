package alerts_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nodetune/nodetune/e2e/cluster"
)

// commandsAskTheAgent: a check is one look, which cannot see that a collector stands still,
// and top measures limits alone. The agent that runs on the host knows more: check ends with
// what it says, and top begins with its first sentence.
func commandsAskTheAgent(t *testing.T, s scene) {
	nodetune := func(ctx context.Context, args ...string) string {
		args = append(args, "--config", filepath.Join(s.dir, "nodetune.yaml"), "--path.rootfs", filepath.Join(s.dir, "root"))
		out, _ := exec.CommandContext(ctx, filepath.Join(s.dir, "nodetune"), args...).Output() // 1: something is wrong
		return string(out)
	}
	cluster.Eventually(t, "check ends with the stalled collector", func(ctx context.Context) error {
		out := nodetune(ctx, "check")
		for _, want := range []string{"\nagent: shop/cart-1 has stopped reading with ", "    fluent-bit[", "\nA log collector is stalled. "} {
			if !strings.Contains(out, want) {
				return fmt.Errorf("it has no %q:\n%s", want, out)
			}
		}
		if lines := strings.Split(strings.TrimSpace(out), "\n"); !strings.HasSuffix(lines[len(lines)-1], " Next: sudo nodetune disk") {
			return fmt.Errorf("it ends with %q", lines[len(lines)-1])
		}
		return nil
	})
	cluster.Eventually(t, "top begins with the agent's sentence", func(ctx context.Context) error {
		first, err := troubleOf(ctx, s.agent)
		if err != nil {
			return err
		}
		want := fmt.Sprintf("%s\ncause: %s\nnext:  %s\n\n", first.Summary, first.Cause, first.Next)
		if out := nodetune(ctx, "top", "--once"); !strings.HasPrefix(out, want) || !strings.Contains(first.Cause, "of shop/cart-1:app") {
			return fmt.Errorf("top begins with\n%s\nwant\n%s", out, want)
		}
		return nil
	})
}

type trouble struct{ Summary, Cause, Next string }

// troubleOf is the most urgent of what the agent reports.
func troubleOf(ctx context.Context, agent string) (trouble, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+agent+"/status.json", nil)
	if err != nil {
		return trouble{}, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return trouble{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	var status struct{ Troubles struct{ Rows []trouble } }
	if err := json.NewDecoder(resp.Body).Decode(&status); err != nil {
		return trouble{}, err
	}
	if len(status.Troubles.Rows) == 0 {
		return trouble{}, fmt.Errorf("%s reports no trouble", agent)
	}
	return status.Troubles.Rows[0], nil
}
