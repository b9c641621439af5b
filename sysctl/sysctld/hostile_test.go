package sysctld

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestHostile: each of these is one clear problem, holds up nothing, and hides
// no other file.
func TestHostile(t *testing.T) {
	junk := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{}).Read(junk)
	cases := []struct {
		name      string
		make      func(path string) error
		problem   string // in the first problem
		uncertain bool
	}{
		{"binary", func(p string) error { return os.WriteFile(p, junk, 0o644) }, notText, true},
		{"a line of 10 MB", func(p string) error {
			return os.WriteFile(p, []byte("fs.file-max="+strings.Repeat("1", 10<<20)), 0o644)
		}, "", true},
		{"10 MB of lines", func(p string) error {
			return os.WriteFile(p, []byte(strings.Repeat("fs.file-max=1\n", 10<<20/14)), 0o644)
		}, "larger than 4 MiB", true},
		{"a FIFO", func(p string) error { return syscall.Mkfifo(p, 0o644) }, "FIFO", true},
		{"a socket", func(p string) error { return syscall.Mknod(p, syscall.S_IFSOCK|0o644, 0) }, "socket", true},
		{"a directory", func(p string) error { return os.Mkdir(p, 0o755) }, "directory", true},
		{"a loop", func(p string) error { return os.Symlink(filepath.Base(p), p) }, "symbolic links", true},
		{"a link to nothing", func(p string) error { return os.Symlink("/nowhere", p) }, "link to nothing", false},
		{"a link that climbs", func(p string) error { return os.Symlink("../../../../../../../../../../etc/hostname", p) }, "link to nothing", false},
		{"a link to /proc", func(p string) error { return os.Symlink("/proc/self/environ", p) }, "link to nothing", false},
		{"a bad line", func(p string) error { return os.WriteFile(p, []byte("hello\n"), 0o644) }, "not an assignment", false},
		{"no key", func(p string) error { return os.WriteFile(p, []byte("= 1\n"), 0o644) }, "has no key", false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			root := plant(t, map[string]string{"/etc/sysctl.d/z.conf": q + "=17001\n"})
			if err := c.make(filepath.Join(root, "/etc/sysctl.d/50-x.conf")); err != nil {
				t.Fatal(err)
			}
			for _, loader := range Loaders {
				b, err := Read(root, loader, key)
				if err != nil {
					t.Fatal(err)
				}
				if len(b.Problems) == 0 {
					t.Fatalf("%s: no problem", loader)
				}
				uncertain := false
				for _, p := range b.Problems {
					uncertain = uncertain || p.Uncertain
					if p.File != "/etc/sysctl.d/50-x.conf" || len(p.String()) > 200 {
						t.Errorf("%s: %s", loader, p)
					}
				}
				if p := b.Problems[0]; !strings.Contains(p.Problem, c.problem) || uncertain != c.uncertain {
					t.Errorf("%s: %s (uncertain: %v), want %q (%v)", loader, p, uncertain, c.problem, c.uncertain)
				}
				if v := b.Resolve(key); v.Winner == nil || v.Winner.File != "/etc/sysctl.d/z.conf" {
					t.Errorf("%s: %+v wins, want the file beside", loader, v.Winner)
				}
			}
		})
	}
}

// TestNoRoot: a root that is not there hides every file, and is no empty root.
func TestNoRoot(t *testing.T) {
	root := filepath.Join(t.TempDir(), "no")
	for _, loader := range Loaders {
		b, err := Read(root, loader, key)
		if err != nil || len(b.Problems) != 1 || !b.Problems[0].Uncertain || b.Problems[0].File != root {
			t.Errorf("%s: %+v, %v", loader, b, err)
		}
	}
	if _, err := Read("/dev/null", Systemd, key); err == nil {
		t.Error("a root that is no directory is no error")
	}
	p, err := PlanPersist(root, procfs(t, ""), floor8192, machine, running)
	if err != nil || len(p.Uncertain()) == 0 {
		t.Errorf("a plan below a root that is not there: %+v, %v", p, err)
	}
}

// TestHostRoot reads this machine's own files, where the root is / and links
// resolve without openat2.
func TestHostRoot(t *testing.T) {
	for _, loader := range Loaders {
		b, err := Read("/", loader, key)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range b.Files {
			if _, err := os.Lstat(f.Path); err != nil {
				t.Error(err)
			}
		}
	}
}
