package containerlog

import (
	"context"
	"fmt"
	"testing"

	"github.com/nodetune/nodetune/disk/hostconfig"
	"github.com/nodetune/nodetune/internal/disktest"
)

// A pass over 1,000 logs of which none has grown.
func BenchmarkBurstsIdle(b *testing.B) {
	root := b.TempDir()
	for i := range 1000 {
		_, file := disktest.PodLog(b, root, fmt.Sprintf("c%d", i))
		disktest.WriteFile(b, file, "x\n")
	}
	x, err := New("/proc", root, hostconfig.DefaultKubelet(), 0, nil)
	disktest.Must(b, err)
	b.Cleanup(func() { x.Close() })
	now := disktest.Noon
	x.Pass(context.Background(), false, now)
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(PollInterval)
		if acts := x.Pass(context.Background(), false, now); len(acts) != 0 {
			b.Fatal(acts)
		}
	}
	b.ReportMetric(1000, "logs")
}
