package rotate

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/field"
)

// A directory of many logs, each with its archives, and nothing due: it is listed again
// only when it changed.
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
	time.Sleep(coarsestTimestamp + 100*time.Millisecond) // until a change shows in the directory's times
	done := disktest.CPUTime(b)
	defer done()
	for b.Loop() {
		if acts := r.Pass(b.Context(), rules, false, time.Now()); len(acts) != 0 {
			b.Fatalf("%+v", acts[0])
		}
	}
}

// 500 logs of 100 kB that no process has open, rotated and compressed, by logrotate and
// by this package. Compare cpu-ns/op.
func BenchmarkRotateMany(b *testing.B) {
	const logs = 500
	random := make([]byte, 75_000)
	rand.NewChaCha8([32]byte{}).Read(random)
	text := []byte(base64.StdEncoding.EncodeToString(random))
	write := func(b *testing.B, dir string) (files []string) {
		b.Helper()
		for i := range logs {
			files = append(files, filepath.Join(dir, fmt.Sprintf("a%d.log", i)))
			disktest.WriteFile(b, files[i], string(text))
		}
		return files
	}
	check := func(b *testing.B, dir string) {
		b.Helper()
		if n, _ := filepath.Glob(dir + "/*.gz"); len(n) != logs {
			b.Fatalf("%d archives", len(n))
		}
	}
	run := func(name string, do func(b *testing.B, dir string, files []string)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			cpu := time.Duration(0)
			for range b.N {
				b.StopTimer()
				dir := b.TempDir()
				files := write(b, dir)
				before := cpuTime(b)
				b.StartTimer()
				do(b, dir, files)
				b.StopTimer()
				cpu += cpuTime(b) - before
				check(b, dir)
				b.StartTimer()
			}
			b.ReportMetric(float64(cpu)/float64(b.N), "cpu-ns/op")
		})
	}
	run("logrotate", func(b *testing.B, dir string, _ []string) {
		conf := filepath.Join(b.TempDir(), "conf")
		disktest.WriteFile(b, conf, dir+"/*.log {\n su root root\n rotate 5\n size 1\n create\n compress\n}\n")
		disktest.Run(b, "logrotate", "-f", "-s", conf+".state", conf)
	})
	run("nodetune", func(b *testing.B, dir string, files []string) {
		r := newRotator(b, dir)
		all := make([]Log, len(files))
		for i, f := range files {
			all[i] = Log{f, Options{Compress: archive.Gzip, Archives: 5}}
		}
		for _, x := range r.RotateAll(b.Context(), all, time.Now()) {
			disktest.Must(b, x.Err)
		}
		for _, x := range r.FinishAll(b.Context(), all, time.Now()) {
			disktest.Must(b, x.Err)
		}
	})
}

func cpuTime(b *testing.B) (sum time.Duration) {
	b.Helper()
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var r unix.Rusage
		disktest.Must(b, unix.Getrusage(who, &r))
		sum += time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	return sum
}
