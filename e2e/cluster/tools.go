package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// tool returns the path of a program that `make e2e-tools` built.
func tool(name string) (string, error) {
	_, file, _, _ := runtime.Caller(0)
	path := filepath.Join(filepath.Dir(file), "..", "bin", name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%w: build the cluster's programs with `make e2e-tools`", err)
	}
	return path, nil
}
