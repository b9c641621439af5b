package scenario

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nodetune/nodetune/e2e/sandbox"
	"github.com/nodetune/nodetune/internal/shelltest"
)

// runbookCommands runs each kubectl of a runbook on the cluster, with an agent in the
// place of the pods of a page. What changes something is a dry run.
func runbookCommands(t *testing.T) {
	pod := waitAgent(t).Name
	words := strings.NewReplacer("NODE", sandbox.Hostname, "worker-3", sandbox.Hostname, "POD", pod, "nodetune-x7k2p", pod, "cart-1", pod, "pod/", "")
	spaces := []string{"shop", "logging"} // of the pages' workloads
	files, err := filepath.Glob("../../docs/runbooks/*.md")
	if err != nil {
		t.Fatal(err)
	}
	ran := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, script := range shelltest.Scripts(string(text), "kubectl") {
			if script.Inline && strings.HasSuffix(strings.TrimSpace(script.Text), " -f") {
				continue // the name of a command
			}
			for _, command := range shelltest.Commands(t, strings.ReplaceAll(script.Text, "$POD", "POD")) {
				if command[0] != "kubectl" || command[1] == "nodetune" {
					continue
				}
				args := command[1:]
				for i := range args {
					args[i] = words.Replace(args[i])
					switch {
					case i > 0 && args[i-1] == "-n" && slices.Contains(spaces, args[i]):
						args[i] = namespace
					case i > 0 && args[i-1] == "-c":
						args[i] = "nodetune"
					}
				}
				if slices.ContainsFunc(args, func(s string) bool { return s == "drain" || s == "delete" || s == "cordon" }) {
					args = append(args, "--dry-run=server")
				}
				line := strings.Join(args, " ")
				if ran[line] {
					continue
				}
				ran[line] = true
				forward := slices.Contains(args, "port-forward")
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				if forward { // it runs until it is ended
					ctx, cancel = context.WithTimeout(t.Context(), 2*time.Second)
				}
				out, err := node.Kubectl(ctx, args...)
				cancel()
				switch {
				case forward && err != nil && (ctx.Err() != nil && !strings.Contains(err.Error(), "rror: ")):
				case err != nil && slices.Contains(args, "--previous") && strings.Contains(err.Error(), "previous terminated container"):
				case err != nil && slices.Contains(args, "/nodetune") && strings.Contains(err.Error(), "exit code 1"): // something is not as wanted
				case err != nil:
					t.Errorf("%s: kubectl %s: %v", filepath.Base(file), line, err)
				default:
					t.Logf("%s: kubectl %s: %d bytes", filepath.Base(file), line, len(out))
				}
			}
		}
	}
	if len(ran) < 10 {
		t.Errorf("only %d commands ran", len(ran))
	}
}
