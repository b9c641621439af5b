package sysctl

import (
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkPass is what a pass in force costs an agent, beside reading the same
// keys by name.
func BenchmarkPass(b *testing.B) {
	var rules []Rule
	for _, r := range DefaultPolicy().For(Machine{MemoryBytes: 1 << 30}) {
		rules = append(rules, Rule{Key: r.Key, Op: Report, Want: Unknown, Ceiling: Unknown, Why: r.Why})
	}
	b.Run("pass", func(b *testing.B) {
		tree, err := OpenTree("/proc")
		if err != nil {
			b.Fatal(err)
		}
		defer tree.Close()
		p := Pass{Procfs: "/proc", Tree: tree, Store: NewStore(b.TempDir()), Rules: rules, Act: true}
		b.ReportAllocs()
		for b.Loop() {
			if o := p.Run(b.Context()); len(o.Unsatisfied()) > 0 {
				b.Fatalf("%+v", o)
			}
		}
	})
	b.Run("os.ReadFile", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for _, r := range rules {
				if _, err := os.ReadFile(filepath.Join("/proc/sys", r.Key.Path())); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}
