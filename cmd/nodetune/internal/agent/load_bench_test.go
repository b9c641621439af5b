package agent

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/accounting"
	"github.com/nodetune/nodetune/cmd/nodetune/internal/host"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/inotify/bpf"
	"github.com/nodetune/nodetune/internal/privtest"
	"github.com/nodetune/nodetune/sysctl"
	"github.com/nodetune/nodetune/sysctl/guard"
)

// BenchmarkLoadPrograms is the processor time that the agent takes to load its BPF
// programs at the start: each kind alone, and all of them.
func BenchmarkLoadPrograms(b *testing.B) {
	privtest.Host(b)
	roots := host.Roots{Procfs: "/proc", Sysfs: "/sys", Rootfs: "/"}
	policy := inotify.DefaultPolicy()
	kinds := []struct {
		name string
		load func() error
	}{
		{"guard", func() error {
			types := bpf.NewTypes()
			defer types.Close()
			g, err := guard.Open(guard.Options{Procfs: "/proc", Cgroupfs: "/sys/fs/cgroup", BTF: types.Cache(), Floors: map[sysctl.Key]sysctl.Value{sysctl.MaxQueuedEvents: 1}})
			if err != nil {
				return err
			}
			return g.Close()
		}},
		{"accounts+walk", func() error {
			h, err := accounting.Open(roots, policy)
			if err == nil {
				h.Close()
			}
			return err
		}},
		{"failures", func() error {
			r, err := accounting.OpenFailureTracer(roots, policy, &inotify.RecentFailures{})
			if err != nil {
				b.Log(err) // no way that is free
				return nil
			}
			r.Close()
			return nil
		}},
	}
	all := func() error {
		for _, k := range kinds {
			if err := k.load(); err != nil {
				return err
			}
		}
		return nil
	}
	for _, k := range append(kinds, struct {
		name string
		load func() error
	}{"all", all}) {
		b.Run(k.name, func(b *testing.B) {
			began := processorTime(b)
			for b.Loop() {
				if err := k.load(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric((processorTime(b)-began).Seconds()*1000/float64(b.N), "cpu-ms/op")
		})
	}
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
