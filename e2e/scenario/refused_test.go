package scenario

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// A collector whose inotify is refused is gone before anybody can look at it.
// The agent says whose it was and which limit it met: on the Node, and where
// Events on pods are granted on the pod.
func TestRefused(t *testing.T) {
	inTable(t, "hostPath `/sys/kernel/tracing`, read-only (overlay refusals; read-write without `BPF`)")
	holdKernel(t)
	const tracing = "/sys/kernel/tracing" // which systemd mounts
	if _, err := os.Stat(tracing + "/events"); err != nil {
		if err := syscall.Mount("tracefs", tracing, "tracefs", 0, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = syscall.Unmount(tracing, syscall.MNT_DETACH) })
	}
	// Nothing is raised: the refusals go on.
	text := strings.Replace(kustomize(t, "refusals"), "      refusals: true\n", "      refusals: true\n    sysctl:\n      rules:\n      - {key: "+maxInstances+", reportOnly: true}\n", 1)
	if !strings.Contains(text, "reportOnly") {
		t.Fatalf("the overlay has no refusals:\n%s", text)
	}
	installText(t, text)
	waitLog(t, "what inotify refuses is traced")
	useUpInstances(t)
	ns := node.Namespace(t, nil)
	startCollector(t, ns, "")
	pod := waitCollector(t, ns, "crashes", func(p *corev1.Pod) error {
		if len(p.Status.ContainerStatuses) == 1 && p.Status.ContainerStatuses[0].RestartCount >= 1 {
			return nil
		}
		return fmt.Errorf("it is %+v", p.Status.ContainerStatuses)
	})
	why := "inotify_init1 was refused with EMFILE, " + maxInstances + " of uid 0"
	toldNode(t, "InotifyRefused", "of "+ns+"/"+pod.Name+":collector: "+why)
	for _, want := range []string{
		`nodetune_inotify_refusals_total{call="inotify_init1",errno="EMFILE",resource="inotify_instances"} `,
		`nodetune_inotify_consumer_refusals_total{comm="inotifywait",container="collector",namespace="` + ns + `",pod="` + pod.Name + `",resource="inotify_instances"} `,
	} {
		if got := metrics(t); !strings.Contains(got, want) {
			t.Errorf("the metrics do not say %s\n%s", want, got)
		}
	}
}
