package manifests_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// systemd knows every directive of the units and finds nothing wrong with them.
func TestUnits(t *testing.T) {
	units, err := filepath.Glob(filepath.Join(deploy, "systemd", "*.service"))
	if err != nil || len(units) != 2 {
		t.Fatalf("found %q (%v), want two units", units, err)
	}
	dir := t.TempDir()
	var copies []string
	for _, unit := range units {
		b, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(b), "/usr/local/bin/nodetune", "/bin/true") // what ExecStart= names must exist
		if text == string(b) {
			t.Errorf("%s does not start nodetune", unit)
		}
		to := filepath.Join(dir, filepath.Base(unit))
		if err := os.WriteFile(to, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		copies = append(copies, to)
	}
	out, err := exec.Command("systemd-analyze", append([]string{"verify"}, copies...)...).CombinedOutput()
	if err != nil || len(strings.TrimSpace(string(out))) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}
