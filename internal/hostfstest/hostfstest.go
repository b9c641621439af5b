// Package hostfstest has a host of files in memory, for tests of what reads the
// configuration of a host.
package hostfstest

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nodetune/nodetune/internal/hostfs"
)

// MakeFile writes s to file, and makes the directory where it is missing.
func MakeFile(t *testing.T, file, s string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(s), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Files is a host's configuration: path to content.
type Files map[string]string

func (f Files) read(p string) ([]byte, error) {
	if s, ok := f[p]; ok {
		return []byte(s), nil
	}
	return nil, &os.PathError{Op: "open", Path: p, Err: os.ErrNotExist}
}

func (f Files) list(dir string) ([]string, error) {
	var names []string
	for p := range f {
		if rel, ok := hostfs.Below(p, dir); ok && rel != "" {
			name, _, _ := strings.Cut(rel, "/")
			names = append(names, name)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if names == nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: os.ErrNotExist}
	}
	return names, nil
}

// kind knows directories by what lies below them.
func (f Files) kind(p string) (fs.FileMode, error) {
	if _, ok := f[p]; ok {
		return 0, nil
	}
	for name := range f {
		if strings.HasPrefix(name, path.Join(p, "x")[:len(path.Join(p, "x"))-1]) {
			return fs.ModeDir, nil
		}
	}
	return 0, &os.PathError{Op: "open", Path: p, Err: os.ErrNotExist}
}

// Files returns the functions that read configuration files from f.
func (f Files) Files() hostfs.HostFiles {
	return hostfs.HostFiles{Read: f.read, List: f.list, Kind: f.kind}
}

// KubeletHead is how a configuration file of the kubelet begins.
const KubeletHead = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"

// Cmdline returns a command line as /proc/PID/cmdline has it.
func Cmdline(s string) []byte { return []byte(strings.ReplaceAll(s, " ", "\x00") + "\x00") }
