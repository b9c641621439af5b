package scenario

import (
	"context"
	"fmt"
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
	// stormKubelet is what a kubelet does without being told, but for how long it
	// goes on to call a disk full that is not any more: that is five minutes.
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
// happens, also while the collector stands still for a moment and the API server
// is away.
func TestLogStorm(t *testing.T) {
	begin := time.Now()
	phase := func(what string) {
		t.Logf("%5.1f s  %s", time.Since(begin).Seconds(), what)
		begin = time.Now()
	}
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
		// One pass is enough to tell: the disk would be full before a second.
		assist := node.MustKubectl(t, "", "kustomize", filepath.Join(deploy, "overlays/assist"))
		installText(t, strings.Replace(assist, "profile: default\n", "profile: default\n    reporter: {conditions: {enterPasses: 1}}\n", 1))
		waitCondition(t, "LogDiskPressure", corev1.ConditionFalse)
		phase("nodetune runs")
		ns := node.Namespace(t, nil)
		least := lowest(t)
		const lines = 5_000_000 // nearly twice the disk
		f := startStorm(t, ns, lines)

		back := withoutAPI(t)
		f.wait(t, lines/8)
		f.stalled.Store(true)
		for before := time.Now(); avail() > 45 && time.Since(before) < 20*time.Second; {
			time.Sleep(100 * time.Millisecond)
		}
		f.stalled.Store(false)
		phase(fmt.Sprintf("the collector stood still, until %.1f %% of the disk was available", avail()))

		files := f.opened()
		f.wait(t, lines*3/4)
		if n := f.opened() - files; n < 5 {
			t.Errorf("%d rotations while the API server was away", n)
		}
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

// startStorm starts the pod and a collector of its log.
func startStorm(t *testing.T, ns string, lines int) *follower {
	t.Helper()
	node.Create(t, storm(ns, lines))
	pod := node.WaitPod(t, ns, "storm", "runs", func(p *corev1.Pod) bool { return p.Status.Phase != corev1.PodPending })
	return follow(t, filepath.Join("/var/log/pods", ns+"_storm_"+string(pod.UID), "storm/0.log"), lines)
}

// withoutAPI stops the API server, which takes it up to half a minute, and
// returns what starts it again.
func withoutAPI(t *testing.T) (back func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		node.Server.Stop()
	}()
	back = sync.OnceFunc(func() {
		<-ended
		if err := node.Server.Start(context.Background()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(back)
	return back
}
