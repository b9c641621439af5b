package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// buildDir is where the released nodetune is, if a test has asked for it.
var buildDir string

// built removes it after the tests.
type built struct{ *testing.M }

func (b built) Run() int {
	defer func() { _ = os.RemoveAll(buildDir) }()
	return b.M.Run()
}

var buildOnce = sync.OnceValues(func() (bin string, err error) {
	if buildDir, err = os.MkdirTemp("", "nodetune-test-"); err != nil {
		return "", err
	}
	if err := os.Chmod(buildDir, 0o755); err != nil {
		return "", err
	}
	bin = filepath.Join(buildDir, "nodetune")
	cmd := exec.Command("go", "build", "-trimpath", "-o", bin, "github.com/nodetune/nodetune/cmd/nodetune")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return bin, nil
})

// build returns a nodetune as it is released, which any uid can run.
func build(t testing.TB) string {
	t.Helper()
	bin, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// repository returns the directory of go.mod.
func repository(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no directory above the tests has a go.mod")
		}
		dir = filepath.Dir(dir)
	}
}
