package guard

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/privtest"
	"github.com/nodetune/nodetune/sysctl"
)

// timed makes calls at a key in runs of a hundred, with a pause between two runs
// where there is one, and reports the nanoseconds of a call in the shortest runs:
// which nothing has interrupted.
func timed(arg string) error {
	var what, key string
	var runs, length int
	var pause time.Duration
	if _, err := fmt.Sscan(arg, &what, &key, &runs, &length, (*int64)(&pause)); err != nil {
		return err
	}
	fd, err := unix.Open("/proc/sys/"+sysctl.Key(key).Path(), unix.O_RDWR, 0)
	if err != nil {
		return err
	}
	buf := make([]byte, 32)
	call := func() (int, error) { return unix.Pread(fd, buf, 0) }
	if what != "read" {
		call = func() (int, error) { return unix.Pwrite(fd, []byte(what+"\n"), 0) }
	}
	all := make([]float64, runs)
	for i := range all {
		time.Sleep(pause)
		began := time.Now()
		for range length {
			if _, err := call(); err != nil {
				return err
			}
		}
		all[i] = float64(time.Since(began)) / float64(length)
	}
	slices.Sort(all)
	fmt.Fprintln(os.Stdout, all[len(all)/10])
	return nil
}

// BenchmarkGuard is what a read and a write of a key take another process,
// without a guard and with one in each mode. recorded is a write at less than a
// hundred a second, and flooded one at more, which is counted only. unmanaged is
// a write of a key that is not managed.
func BenchmarkGuard(b *testing.B) {
	privtest.Host(b)
	unmanaged := sysctl.Key("vm.max_map_count")
	privtest.Keep(b, string(unmanaged))
	bin := executable(b)
	for _, c := range []struct {
		name, what   string
		key          sysctl.Key
		runs, length int
		pause        time.Duration
	}{
		{"read", "read", key, 2000, 100, 0},
		{"write_unmanaged", "70000", unmanaged, 2000, 100, 0},
		{"write_recorded", "5000", key, 100, 1, 12 * time.Millisecond},
		{"write_flooded", "5000", key, 2000, 100, 0},
	} {
		b.Run(c.name, func(b *testing.B) {
			least := map[string]float64{}
			for range 3 * b.N {
				for _, mode := range []string{"off", "observe", "hold"} {
					privtest.Set(b, string(key), "16384")
					end := func() {}
					if mode != "off" {
						o := options(Observe, 8192)
						if mode == "hold" {
							o.Mode = Hold
						}
						g, err := Open(o)
						if err != nil {
							b.Fatal(err)
						}
						done := make(chan bool)
						go func() {
							defer close(done)
							for err := error(nil); err == nil; _, err = g.Read(b.Context()) {
							}
						}()
						end = func() { g.Close(); <-done }
					}
					cmd := exec.CommandContext(b.Context(), bin)
					cmd.Env = append(os.Environ(), fmt.Sprintf("%s=timed %s %s %d %d %d", roleEnv, c.what, c.key, c.runs, c.length, c.pause.Nanoseconds()))
					out, err := cmd.CombinedOutput()
					end()
					var took float64
					if _, err2 := fmt.Sscan(strings.TrimSpace(string(out)), &took); err != nil || err2 != nil {
						b.Fatalf("%v: %s", err, out)
					}
					if was, ok := least[mode]; !ok || took < was {
						least[mode] = took
					}
				}
			}
			b.ReportMetric(0, "ns/op")
			for mode, ns := range least {
				b.ReportMetric(ns, "ns-"+mode)
			}
		})
	}
}

// BenchmarkOpen is what opening and closing a guard takes, with the kernel's BTF
// decoded for it, or shared with other programs.
func BenchmarkOpen(b *testing.B) {
	privtest.Host(b)
	for _, shared := range []bool{false, true} {
		b.Run(map[bool]string{false: "alone", true: "shared"}[shared], func(b *testing.B) {
			o := options(Observe, 8192)
			if shared {
				o.BTF = btf.NewCache()
				if _, err := o.BTF.Kernel(); err != nil {
					b.Fatal(err)
				}
			}
			began := cpuTime(b)
			for b.Loop() {
				g, err := Open(o)
				if err != nil {
					b.Fatal(err)
				}
				g.Close()
			}
			b.ReportMetric(float64((cpuTime(b)-began).Microseconds())/1000/float64(b.N), "cpu-ms/op")
		})
	}
}

func cpuTime(b *testing.B) time.Duration {
	var use unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &use); err != nil {
		b.Fatal(err)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}
