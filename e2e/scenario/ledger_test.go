package scenario

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/e2e/cluster"
	"github.com/nodetune/nodetune/e2e/sandbox"
)

// The kubelet rotates under a collector that reads a twentieth of what a pod writes, and
// leaves each rotated file a second later, as collectors do. What the loss ledger counts
// is what is really missing, within 1 %.
func TestLossLedger(t *testing.T) {
	holdKernel(t)
	rotateOften(t)
	installText(t, promptly(t, "default"))
	ns := node.Namespace(t, nil)
	const lines = 896_000 // 42 MB as the runtime writes them
	node.Create(t, cluster.Shell(ns, "writer", fmt.Sprintf(
		`until [ -e /tmp/go ]; do echo 0; sleep 0.2; done
		n=1; while [ $n -lt %d ]; do seq $n $((n+12799)); n=$((n+12800)); sleep 0.2; done; touch /tmp/done; exec sleep 1000`, lines)))
	pod := node.WaitPod(t, ns, "writer", "Ready", cluster.PodReady)
	c := startSlowCollector(t, fmt.Sprintf("/var/log/pods/%s_writer_%s/writer", ns, pod.UID))
	ofPod := fmt.Sprintf(`namespace="%s",[^}]*pod="writer"`, ns)
	cluster.Eventually(t, "the ledger knows the collector", func(context.Context) error {
		if sum(t, "nodetune_log_read_bytes_total", ofPod) == 0 {
			return errors.New("it has read nothing")
		}
		return nil
	})
	node.MustKubectl(t, "", "-n", ns, "exec", "writer", "--", "touch", "/tmp/go")
	node.MustKubectl(t, "", "-n", ns, "exec", "writer", "--", "sh", "-c", "until [ -e /tmp/done ]; do sleep 0.1; done")
	c.stop()
	rotated := sum(t, "nodetune_disk_unread_lost_bytes_total", ofPod+`[^}]*`, `cause="rotation"`)
	node.MustKubectl(t, "", "-n", ns, "delete", "pod", "writer", "--wait=true")
	c.close()

	missing := 0.0
	for n := 1; n <= lines; n++ {
		if !c.got[n] {
			missing += c.prefix() + float64(len(strconv.Itoa(n))+1)
		}
	}
	if c.files < 4 || missing < 20e6 || c.count < 10_000 {
		t.Fatalf("the collector read from %d files and missed %.0f bytes: it was not slow, or the kubelet did not rotate", c.files, missing)
	}
	var counted float64
	cluster.Eventually(t, "the ledger counts what is missing", func(context.Context) error {
		counted = sum(t, "nodetune_disk_unread_lost_bytes_total", ofPod)
		if off := math.Abs(counted-missing) / missing; off > 0.01 {
			return fmt.Errorf("it counts %.0f bytes of %.0f missing, %.2f %% off", counted, missing, 100*off)
		}
		return nil
	})
	t.Logf("%.0f bytes counted of %.0f missing, %.2f %% off; %.0f of them by rotation; %d files", counted, missing, 100*(counted-missing)/missing, rotated, c.files)
	if rotated == 0 {
		t.Error("nothing was counted as lost by the kubelet's rotation")
	}
}

// rotateOften makes the kubelet rotate every 3 seconds until t ends.
func rotateOften(t *testing.T) {
	t.Helper()
	config := filepath.Join(sandbox.Dir(), "cluster", "kubelet.yaml")
	was, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	configure := func(ctx context.Context, text []byte) error {
		if err := os.WriteFile(config, text, 0o600); err != nil {
			return err
		}
		return errors.Join(node.Kubelet.Restart(ctx), node.WaitReady(ctx))
	}
	t.Cleanup(func() {
		if err := configure(context.Background(), was); err != nil {
			t.Error(err)
		}
	})
	if err := configure(t.Context(), append(slices.Clone(was), "containerLogMaxSize: 2Mi\ncontainerLogMaxFiles: 3\ncontainerLogMonitorInterval: 3s\n"...)); err != nil {
		t.Fatal(err)
	}
}

// slowCollector reads a container's log at 160 kB a second, as a collector does whose
// backend is slow.
type slowCollector struct {
	dir   string
	got   map[int]bool
	files int
	bytes int64 // of whole lines
	text  int64 // without what the runtime writes before them
	count int64
	log   *os.File
	end   context.CancelFunc
	done  sync.WaitGroup
}

func startSlowCollector(t *testing.T, dir string) *slowCollector {
	t.Helper()
	watch, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.InotifyAddWatch(watch, dir, unix.IN_CREATE|unix.IN_MODIFY); err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	c := &slowCollector{dir: dir, got: map[int]bool{}, end: end}
	c.done.Go(func() { c.collect(ctx) })
	t.Cleanup(func() {
		c.stop()
		c.close()
		_ = unix.Close(watch)
	})
	return c
}

func (c *slowCollector) stop() { c.end(); c.done.Wait() }

func (c *slowCollector) close() { _ = c.log.Close() }

// prefix is the mean length of what the runtime writes before a line.
func (c *slowCollector) prefix() float64 { return float64(c.bytes-c.text) / float64(c.count) }

func (c *slowCollector) collect(ctx context.Context) {
	const chunk = 8 << 10
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var rest []byte
	var left time.Time // when the file was seen to be rotated
	b := make([]byte, chunk)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if c.log == nil || !left.IsZero() && time.Since(left) > time.Second {
			next, err := os.Open(filepath.Join(c.dir, "0.log"))
			if err != nil {
				continue
			}
			_ = c.log.Close()
			c.log, rest, left = next, nil, time.Time{}
			c.files++
		}
		n, _ := c.log.Read(b)
		if n > 0 {
			rest = c.take(append(rest, b[:n]...))
		}
		if left.IsZero() && c.rotated() {
			left = time.Now()
		}
	}
}

// rotated reports whether the file that is open has another name now.
func (c *slowCollector) rotated() bool {
	open, err := c.log.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(filepath.Join(c.dir, "0.log"))
	return err == nil && !os.SameFile(open, named)
}

// take notes whole lines, and returns the rest.
func (c *slowCollector) take(b []byte) []byte {
	for {
		line, after, ok := bytes.Cut(b, []byte("\n"))
		if !ok {
			return bytes.Clone(b)
		}
		number := line[bytes.LastIndexByte(line, ' ')+1:]
		if n, err := strconv.Atoi(string(number)); err == nil {
			c.got[n] = true
			c.bytes += int64(len(line))
			c.text += int64(len(number))
			c.count++
		}
		b = after
	}
}

// sum adds what the agent publishes of a metric, of the series whose labels match each of the
// expressions.
func sum(t *testing.T, metric string, labels ...string) (total float64) {
	t.Helper()
	for _, m := range regexp.MustCompile(`(?m)^`+metric+`\{([^}]*)\} (\S+)$`).FindAllStringSubmatch(metrics(t), -1) {
		all := true
		for _, l := range labels {
			all = all && regexp.MustCompile(l).MatchString(m[1])
		}
		if v, err := strconv.ParseFloat(m[2], 64); err == nil && all {
			total += v
		}
	}
	return total
}
