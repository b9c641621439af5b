package alerts_test

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nodetune/nodetune/e2e/cluster"
)

// A check is one look, which cannot see that a collector stands still. The agent that runs
// on the host can, and check ends with what it says.
func TestCheckAsksTheAgent(t *testing.T) {
	s := newScene(t)
	cluster.Eventually(t, "check ends with the stalled collector", func(ctx context.Context) error {
		out, _ := exec.CommandContext(ctx, filepath.Join(s.dir, "nodetune"), "check", "--config", filepath.Join(s.dir, "nodetune.yaml"), "--path.rootfs", filepath.Join(s.dir, "root")).Output()
		for _, want := range []string{"\nagent: shop/cart-1 has stopped reading with ", "    fluent-bit[", "\nA log collector is stalled. "} {
			if !strings.Contains(string(out), want) {
				return fmt.Errorf("it has no %q:\n%s", want, out)
			}
		}
		if lines := strings.Split(strings.TrimSpace(string(out)), "\n"); !strings.HasSuffix(lines[len(lines)-1], " Next: sudo nodetune disk") {
			return fmt.Errorf("it ends with %q", lines[len(lines)-1])
		}
		return nil
	})
}
