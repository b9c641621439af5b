package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/internal/disktest"
)

// Docker keeps a container's log under its id. The link that the kubelet makes names
// the container.
func TestDockerProducer(t *testing.T) {
	host := t.TempDir()
	id := strings.Repeat("0123456789abcdef", 4)
	disktest.Append(t, filepath.Join(host, "var/lib/docker/containers", id, id+"-json.log"), 5000)
	disktest.Append(t, filepath.Join(host, "var/lib/docker/containers", id, id+"-json.log.1"), 5000)
	disktest.Append(t, filepath.Join(host, "var/log/syslog"), 1)
	links := filepath.Join(host, "var/log/containers")
	if err := os.MkdirAll(links, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/nowhere", filepath.Join(links, "web-7d4b9_prod_app-"+id+".log")); err != nil {
		t.Fatal(err)
	}
	u := observe(t, observer(t, host, DefaultPolicy()), time.Now())
	for _, p := range u.Producers {
		if p.Kind == logs.KindContainer && p.Pod == "web-7d4b9" && p.Container == "app" && p.Files == 2 && p.Archives == 1 {
			return
		}
	}
	t.Errorf("producers %+v", u.Producers)
}

// BenchmarkIdlePass is what a pass of the agent costs when nothing happens: a
// walk of /proc of this machine and 250 pods.
func BenchmarkIdlePass(b *testing.B) {
	host := b.TempDir()
	for i := range 250 {
		dir := filepath.Join(host, "var/log/pods", fmt.Sprintf("ns_pod-%d_00000000-0000-0000-0000-%012d", i, i), "app")
		disktest.Append(b, filepath.Join(dir, "0.log"), 1000)
		disktest.Append(b, filepath.Join(dir, "0.log.20260101-000000.gz"), 100)
	}
	o := observer(b, host, DefaultPolicy())
	now := time.Now()
	observe(b, o, now)
	b.ReportAllocs()
	defer disktest.CPUTime(b)()
	for b.Loop() {
		now = now.Add(10 * time.Second)
		observe(b, o, now)
	}
}
