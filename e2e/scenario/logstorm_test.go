package scenario

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/nodetune/nodetune/e2e/cluster"
)

const (
	// A disk that one pod fills in seconds, so that the kubelet comes too late
	// on a slow machine, too.
	diskBytes = 256 << 20
	// stormKubelet is a kubelet's default configuration. Only the time for which it
	// reports pressure after the disk has space again is shorter: the default is five minutes.
	stormKubelet = `evictionHard:
  memory.available: 50Mi
  nodefs.available: 10%
  nodefs.inodesFree: 5%
evictionPressureTransitionPeriod: 10s
`
	// watermark is what assist keeps available: 15 %, five points above what
	// the kubelet evicts below.
	watermark = 15
)

// storm is a pod that prints so many numbered lines as fast as it can. They
// compress badly, as lines full of identifiers do.
func storm(ns string, lines int) *corev1.Pod {
	return cluster.Shell(ns, "storm", fmt.Sprintf("base64 -w 120 /dev/urandom | cat -n | head -n %d", lines))
}

// avail is the share of the disk that is available, as the kubelet reckons, in
// percent.
func avail() float64 {
	var st syscall.Statfs_t
	if err := syscall.Statfs("/var/log", &st); err != nil || st.Blocks == 0 {
		return -1
	}
	return 100 * float64(st.Bavail) / float64(st.Blocks)
}

// lowest looks at the disk ten times a second; the returned function ends that
// and returns the least that was available.
func lowest(t *testing.T) (stop func() float64) {
	least, end, ended := avail(), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-end:
				return
			case <-time.After(100 * time.Millisecond):
				least = min(least, avail())
			}
		}
	}()
	stop = sync.OnceValue(func() float64 { close(end); <-ended; return least })
	t.Cleanup(func() { stop() })
	return stop
}

// A pod writes as fast as it can where the kubelet's files and the logs share a
// small disk. The kubelet's own rotation comes too late: it evicts the pod, and
// with the pod go the lines that no collector has read. With assist neither
// happens, also while the collector is stopped for a moment and the API server
// is away.
func TestLogStorm(t *testing.T) {
	begin := time.Now()
	phase := func(what string) {
		t.Logf("%5.1f s  %s", time.Since(begin).Seconds(), what)
		begin = time.Now()
	}
	holdKernel(t) // nodetune puts its floors in force
	node.OwnDisk(t, diskBytes, stormKubelet)
	phase("the node has a disk of its own")
	t.Run("without nodetune", func(t *testing.T) {
		ns := node.Namespace(t, nil)
		least := lowest(t)
		f := startStorm(t, ns, 50_000_000) // more than fits, however it is rotated
		waitCondition(t, corev1.NodeDiskPressure, corev1.ConditionTrue)
		node.WaitPod(t, ns, "storm", "is evicted", func(p *corev1.Pod) bool { return p.Status.Reason == "Evicted" })
		f.stop()
		phase(fmt.Sprintf("evicted, with %.1f %% of the disk available at last and %d lines collected", least(), f.count))
	})
	waitCondition(t, corev1.NodeDiskPressure, corev1.ConditionFalse)
	phase("the disk is free again")
	t.Run("with assist", func(t *testing.T) {
		// One pass must be enough: the disk would be full before a second. And a
		// single node needs not be spread among others.
		assist := node.MustKubectl(t, "", "kustomize", filepath.Join(deploy, "overlays/assist"))
		installText(t, strings.Replace(assist, "profile: default\n", "profile: default\n    reporter: {conditions: {enterPasses: 1, jitter: 0s}}\n", 1))
		waitCondition(t, "LogDiskPressure", corev1.ConditionFalse)
		agent := waitAgent(t)
		phase("nodetune runs")
		ns := node.Namespace(t, nil)
		least := lowest(t)
		const lines = 5_000_000 // three times the disk
		f := startStorm(t, ns, lines)

		f.wait(t, lines/8)
		f.stalled.Store(true)
		back := withoutAPI(t)
		for before := time.Now(); avail() > 60 && time.Since(before) < 20*time.Second; {
			time.Sleep(100 * time.Millisecond)
		}
		f.stalled.Store(false)
		phase(fmt.Sprintf("the collector stood still, until %.1f %% of the disk was available", avail()))

		files := f.opened()
		cluster.Eventually(t, "it rotates and sees the pressure without the API server", func(ctx context.Context) error {
			seen, err := agentSees(ctx, agent, `nodetune_condition{type="LogDiskPressure"} 1`)
			if n := f.opened() - files; err == nil && (n < 5 || !seen) {
				err = fmt.Errorf("%d rotations, pressure %v", n, seen)
			}
			return err
		})
		phase("without the API server")
		back()
		pressure := waitCondition(t, "LogDiskPressure", corev1.ConditionTrue)
		phase("the API server is back, and hears of " + pressure.Reason + ": " + pressure.Message)
		pod := node.WaitPod(t, ns, "storm", "ends", cluster.PodDone)
		f.stop()
		if pod.Status.Phase != corev1.PodSucceeded {
			t.Errorf("the pod %s: %s %s", pod.Status.Phase, pod.Status.Reason, pod.Status.Message)
		}
		phase("the storm is over")
		collected := f.count
		names := f.onDisk(t, filepath.Dir(f.name))
		phase(fmt.Sprintf("%d of %d lines were collected from %d files, and %d more are in %v; at least %.1f %% of the disk was available",
			collected, lines, len(f.parts), f.count-collected, names, least()))
		if f.count != lines {
			t.Errorf("%d of %d lines are lost: %v", lines-f.count, lines, f.missing(lines))
			out, err := node.Kubectl(t.Context(), "-n", namespace, "logs", "daemonset/nodetune")
			t.Logf("nodetune's log: %v\n%s", err, out)
		}
		if a := least(); a < watermark {
			t.Errorf("only %.1f %% of the disk was available", a)
		}
		if c, err := condition(t.Context(), corev1.NodeDiskPressure); err != nil || c.Status != corev1.ConditionFalse {
			t.Errorf("the kubelet says %+v, %v", c, err)
		}
		waitCondition(t, "LogDiskPressure", corev1.ConditionFalse)
		phase("LogDiskPressure is over")
	})
}

// startStorm starts the pod and a collector of its log, which looks for it before
// it is there.
func startStorm(t *testing.T, ns string, lines int) *follower {
	t.Helper()
	pod := node.Create(t, storm(ns, lines))
	f := follow(t, filepath.Join("/var/log/pods", ns+"_storm_"+string(pod.UID), "storm/0.log"), lines)
	node.WaitPod(t, ns, "storm", "runs", func(p *corev1.Pod) bool { return p.Status.Phase != corev1.PodPending })
	return f
}

// withoutAPI kills the API server, and returns what starts it again.
func withoutAPI(t *testing.T) (back func()) {
	node.Server.Kill()
	back = sync.OnceFunc(func() {
		if err := node.Server.Start(context.Background()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(back)
	return back
}

// agentSees reports whether the agent's metrics have a line, without asking the
// API server.
func agentSees(ctx context.Context, agent *corev1.Pod, line string) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+agent.Status.PodIP+":9409/metrics", nil)
	if err != nil {
		return false, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return strings.Contains(string(b), line+"\n"), err
}
