package scenario

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/nodetune/nodetune/e2e/cluster"
)

const (
	maxWatches = "fs.inotify.max_user_watches"
	// fewWatches is the kernel's default before 5.11, and what images of nodes
	// still set.
	fewWatches = 8192
)

// tester is the user of the collector and of who takes its watches: no test of
// another user, or process of the machine, counts for it. Its group may read
// containers' logs.
var tester = &corev1.PodSecurityContext{RunAsUser: new(int64(7302)), RunAsGroup: new(int64(0))}

// rsyslog is a pod that follows the logs of all pods and writes what it reads to
// a file.
func rsyslog(ns, name string) *corev1.Pod {
	p := cluster.Shell(ns, name, "")
	p.Spec.SecurityContext = tester
	c := &p.Spec.Containers[0]
	c.Image, c.Command = syslogImage, []string{"/usr/sbin/rsyslogd", "-n", "-i", "/out/pid"}
	c.VolumeMounts = []corev1.VolumeMount{{Name: "out", MountPath: "/out"}, {Name: "log", MountPath: "/var/log", ReadOnly: true}}
	p.Spec.Volumes = []corev1.Volume{
		{Name: "out", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		{Name: "log", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/var/log"}}},
	}
	return p
}

// received is what a collector has written so far.
func received(t *testing.T, p *corev1.Pod) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/var/lib/kubelet/pods", string(p.UID), "volumes/kubernetes.io~empty-dir/out/received"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(b)
}

// app starts a pod that counts on its stdout.
func app(t *testing.T, ns, name string) *corev1.Pod {
	t.Helper()
	node.Create(t, cluster.Shell(ns, name, `i=0; while sleep 0.5; do i=$((i+1)); echo `+name+` $i.; done`))
	return node.WaitPod(t, ns, name, "Ready", cluster.PodReady)
}

// A user's watches run out, and rsyslog goes on alive and blind: it follows
// neither a log that it has open nor a new one. The conditions report it, also
// while nodetune is paused. nodetune raises the watches, and reports that rsyslog,
// which never tries again, needs a restart.
func TestSilentBlindness(t *testing.T) {
	holdKernel(t)
	set(t, maxWatches, fmt.Sprint(fewWatches))
	ns := node.Namespace(t, nil)
	useUpWatches(t, ns)
	app(t, ns, "app-before")
	node.Create(t, rsyslog(ns, "blind"))
	blind := node.WaitPod(t, ns, "blind", "Ready", cluster.PodReady)
	app(t, ns, "app-after")
	grown(t, ns, "app-after", 10)
	if got := received(t, blind); !strings.Contains(got, "app-before 1.") || strings.Contains(got, "app-after") {
		t.Fatalf("rsyslog is not blind, or more than blind; it received %q", got)
	}

	// It reports what it may not correct.
	pause(t)
	installText(t, promptly(t, "pod-demands"))
	pressure := waitCondition(t, "InotifyPressure", corev1.ConditionTrue)
	if pressure.Reason != "WatchesNearLimit" || !strings.Contains(pressure.Message, "most are held by "+ns+"/glutton:glutton") {
		t.Errorf("InotifyPressure says %s: %s", pressure.Reason, pressure.Message)
	}
	stalled := waitCondition(t, "LogCollectorStalled", corev1.ConditionTrue)
	if stalled.Reason != "CollectorStalled" || !strings.Contains(stalled.Message, ns+"/blind has stopped reading") || !strings.Contains(stalled.Message, "restart it") {
		t.Errorf("LogCollectorStalled says %s: %s", stalled.Reason, stalled.Message)
	}
	if got := get(t, maxWatches); got != fmt.Sprint(fewWatches) {
		t.Errorf("paused, and %s is %s", maxWatches, got)
	}

	resume(t)
	waitValue(t, maxWatches, "524288")
	waitCondition(t, "InotifyPressure", corev1.ConditionFalse)
	waitEvent(t, ns, "blind", "CollectorStalled", "restart it")
	waitEvent(t, ns, "blind", "LimitRaised", "fs.inotify.max_user_watches was too low; nodetune has raised it: a collector that does not ask again")
	before := strings.Count(node.Logs(t, ns, "app-after"), "\n")
	grown(t, ns, "app-after", before+10)
	if got := received(t, blind); strings.Contains(got, "app-after") {
		t.Errorf("rsyslog recovered by itself, so it needs no restart: %q", got)
	}
	if c, err := condition(t.Context(), "LogCollectorStalled"); err != nil || c == nil || c.Status != corev1.ConditionTrue {
		t.Errorf("rsyslog is still blind, and LogCollectorStalled is %+v (%v)", c, err)
	}

	// Restarted, as it says.
	node.MustKubectl(t, "", "-n", ns, "delete", "pod", "blind", "--wait=true")
	node.Create(t, rsyslog(ns, "seeing"))
	seeing := node.WaitPod(t, ns, "seeing", "Ready", cluster.PodReady)
	app(t, ns, "app-new")
	cluster.Eventually(t, "rsyslog follows again", func(context.Context) error {
		got := received(t, seeing)
		for _, want := range []string{"app-before 1.", "app-after 1.", "app-new 5."} {
			if !strings.Contains(got, want) {
				return fmt.Errorf("it has not received %q", want)
			}
		}
		return nil
	})
	waitCondition(t, "LogCollectorStalled", corev1.ConditionFalse)
}

// useUpWatches takes the tester's watches but for three, as one build server
// does. rsyslog needs one for each directory on the way to a log.
func useUpWatches(t *testing.T, ns string) {
	t.Helper()
	takes := fewWatches - 3
	p := cluster.Shell(ns, "glutton", fmt.Sprintf(`cd /w && seq %d | xargs mkdir && exec inotifywait --monitor --recursive --quiet /w`, takes-1))
	p.Spec.SecurityContext = tester
	c := &p.Spec.Containers[0]
	c.Image = collectorImage
	c.VolumeMounts = []corev1.VolumeMount{{Name: "w", MountPath: "/w"}}
	p.Spec.Volumes = []corev1.Volume{{Name: "w", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	node.Create(t, p)
	cluster.Eventually(t, "the watches are used up", func(ctx context.Context) error {
		out, err := nodetune(ctx, "top", "--once", "--output=json")
		if err != nil {
			return err
		}
		if want := fmt.Sprintf(`"watches": %d,`, takes); !strings.Contains(out, want) {
			return fmt.Errorf("no %s in %s", want, out)
		}
		return nil
	})
}

// grown waits until a pod has written so many lines.
func grown(t *testing.T, ns, pod string, lines int) {
	t.Helper()
	cluster.Eventually(t, fmt.Sprintf("%s has written %d lines", pod, lines), func(context.Context) error {
		if n := strings.Count(node.Logs(t, ns, pod), "\n"); n < lines {
			return fmt.Errorf("it has written %d", n)
		}
		return nil
	})
}

const pauseFile = "/run/nodetune/pause"

func pause(t *testing.T) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(pauseFile), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(pauseFile, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(pauseFile) })
}

func resume(t *testing.T) {
	t.Helper()
	if err := os.Remove(pauseFile); err != nil {
		t.Fatal(err)
	}
}
