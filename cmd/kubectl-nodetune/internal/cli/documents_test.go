package cli

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nodetune/nodetune/internal/goldentest"
	"github.com/nodetune/nodetune/internal/shelltest"
)

// parses reports why the plugin would refuse args. Without whole an argument may be missing.
func parses(args []string, whole bool) error {
	cmd, rest, err := newRoot(io.Discard).Find(args)
	if err != nil {
		return err
	}
	if err := cmd.ParseFlags(rest); err != nil || !whole {
		return err
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}

// Each `kubectl nodetune` of a document is a command of the plugin, with flags that it takes.
func TestDocumentCommandsParse(t *testing.T) {
	root := goldentest.Root(t)
	out, err := exec.Command("git", "-C", root, "ls-files", "--cached", "--others", "--exclude-standard", "*.md").Output()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for name := range strings.FieldsSeq(string(out)) {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range shelltest.Scripts(string(text), "kubectl", "kubectl-nodetune") {
			if !strings.Contains(s.Text, "nodetune ") {
				continue
			}
			for _, command := range shelltest.Commands(t, s.Text) {
				switch {
				case command[0] == "kubectl-nodetune":
					command = command[1:]
				case len(command) > 2 && command[0] == "kubectl" && command[1] == "nodetune":
					command = command[2:]
				default:
					continue
				}
				n++
				if err := parses(command, !s.Inline); err != nil && command[0] != "__complete" && command[0] != "completion" {
					t.Errorf("%s: kubectl nodetune %q: %v", name, command, err)
				}
			}
		}
	}
	if n < 10 {
		t.Errorf("found %d commands", n)
	}
	for _, wrong := range [][]string{{"chek"}, {"check"}, {"check", "a", "b"}, {"status", "--wat"}, {"why"}} {
		if parses(wrong, true) == nil {
			t.Errorf("kubectl nodetune %q parses", wrong)
		}
	}
}
