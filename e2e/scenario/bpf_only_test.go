package scenario

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/nodetune/nodetune/e2e/cluster"
)

// With the variant bpf-only the agent shows who has what by the kernel's tables, and its
// container cannot reach the files of the host through a process of the host.
func TestBPFOnly(t *testing.T) {
	holdKernel(t)
	ns := node.Namespace(t, nil)
	uid := int64(1000)
	holder := cluster.Shell(ns, "holder", "")
	holder.Spec.Containers[0].Image = collectorImage
	holder.Spec.Containers[0].Command = []string{"/usr/bin/inotifywait", "--monitor", "--quiet", "/etc"}
	holder.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: &uid}
	node.Create(t, holder)
	node.WaitPod(t, ns, "holder", "Ready", cluster.PodReady)

	set(t, maxInstances, "128")
	install(t, "bpf-only")
	waitValue(t, maxInstances, "8192")
	waitCondition(t, "SysctlDrift", corev1.ConditionFalse)
	waitCondition(t, "InotifyPressure", corev1.ConditionFalse)
	agent := waitAgent(t)
	caps := agent.Spec.Containers[0].SecurityContext.Capabilities.Add
	if want := []corev1.Capability{"BPF", "PERFMON"}; !slices.Equal(caps, want) {
		t.Errorf("the container has %q, want %q", caps, want)
	}
	// Its exit code reports what the variant cannot see.
	out, _ := node.Kubectl(t.Context(), "-n", namespace, "exec", agent.Name, "--", "/nodetune", "check", "-o", "json")
	d := parse(t, out)
	if d.Inotify.Source != "ebpf" || d.Inotify.HoldersSource != "ebpf_walk" || !seesHolder(d) || !namesHolder(d) {
		t.Errorf("check reports\n%s", out)
	}

	image := perlImage(t)
	for name, c := range map[string]struct {
		caps []corev1.Capability
		want string
	}{
		"bpf-only": {caps, "root: 13\nmem: 13\nstat: 0\n"}, // EACCES
		"base":     {[]corev1.Capability{"SYS_PTRACE", "DAC_READ_SEARCH"}, "root: 0\nmem: 0\nstat: 0\n"},
	} {
		p := cluster.Shell(ns, name, "")
		p.Spec.Containers[0].Image = image
		p.Spec.Containers[0].Command = []string{"/usr/bin/perl", "-e", `
			sub said { print "$_[0]: ", ($_[1] ? 0 : $! + 0), "\n" }
			said("root", open(my $a, "<", "/host/proc/1/root/etc/passwd"));
			said("mem", open(my $b, "<", "/host/proc/1/mem"));
			said("stat", open(my $c, "<", "/host/proc/1/stat"));`}
		p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{
			Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: c.caps},
		}
		p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "proc", MountPath: "/host/proc", ReadOnly: true}}
		p.Spec.Volumes = []corev1.Volume{{Name: "proc", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/proc"}}}}
		node.Create(t, p)
		node.WaitPod(t, ns, name, "done", cluster.PodDone)
		if got := node.Logs(t, ns, name); got != c.want {
			t.Errorf("%s: got\n%swant\n%s", name, got, c.want)
		}
	}
}
