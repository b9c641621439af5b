package rotate

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nodetune/nodetune/internal/field"
)

// A directory of many logs, each with its archives, and nothing due: it is listed once.
func BenchmarkPassNothingDue(b *testing.B) {
	root := b.TempDir()
	dir := filepath.Join(root, "var/log/apps")
	for _, p := range []string{dir, filepath.Join(root, "etc")} {
		if err := os.MkdirAll(p, 0o755); err != nil {
			b.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "etc/logrotate.conf"), nil, 0o644); err != nil {
		b.Fatal(err)
	}
	for i := range 2000 {
		log := filepath.Join(dir, fmt.Sprintf("app%d.log", i))
		for n := range 15 {
			name := log
			if n > 0 {
				name = fmt.Sprintf("%s.202601%02d-120000000000.gz", log, n)
			}
			if err := os.WriteFile(name, []byte("line\n"), 0o600); err != nil {
				b.Fatal(err)
			}
		}
	}
	r, err := New("/proc", root, []string{"/var/log"})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	rules := []Rule{{Paths: []string{"/var/log/apps/*.log"}, MaxSize: field.Bytes(1 << 30), Archives: 14}}
	for b.Loop() {
		if acts := r.Pass(b.Context(), rules, false, time.Now()); len(acts) != 0 {
			b.Fatalf("%+v", acts[0])
		}
	}
}
