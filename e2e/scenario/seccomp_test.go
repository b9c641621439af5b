package scenario

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/nodetune/nodetune/e2e/cluster"
)

// kubeletProfiles is where a kubelet looks for the profiles of type Localhost.
const kubeletProfiles = "/var/lib/kubelet/seccomp"

// Under the profiles of deploy/seccomp the agent does what it does under RuntimeDefault,
// and no program in its container may trace another one, or start a process.
func TestSeccompProfiles(t *testing.T) {
	holdKernel(t)
	mountTracing(t)
	putProfiles(t)
	for _, c := range []struct {
		name       string
		components []string
		works      func(reportDoc) bool
	}{
		{"base", []string{"seccomp"}, func(reportDoc) bool { return true }},
		{"all", []string{"assist", "exact", "pod-demands", "startup-taint", "report-authorised", "bpf", "refusals", "guard", "seccomp-bpf"}, func(d reportDoc) bool {
			return d.Inotify.Source == "ebpf" && d.Inotify.HoldersSource == "ebpf_walk"
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			set(t, maxInstances, "128")
			installText(t, node.MustKubectl(t, "", "kustomize", composed(t, c.components...)))
			agent := waitAgent(t)
			if p := agent.Spec.Containers[0].SecurityContext.SeccompProfile; p.Type != corev1.SeccompProfileTypeLocalhost {
				t.Errorf("the profile is %+v", p)
			}
			waitValue(t, maxInstances, "8192")
			waitCondition(t, "SysctlDrift", corev1.ConditionFalse)
			if c.name == "all" {
				waitLog(t, `"sysctl guard","mode":"observe"`)
				waitLog(t, `"tracing failed inotify calls"`)
			}
			// Its exit code reports what the variant cannot see.
			out, _ := node.Kubectl(t.Context(), "-n", namespace, "exec", agent.Name, "--", "/nodetune", "check", "-o", "json")
			if !c.works(parse(t, out)) {
				t.Errorf("under the profile check reports\n%s", out)
			}
			log := node.MustKubectl(t, "", "-n", namespace, "logs", agent.Name)
			for line := range strings.Lines(log) {
				refused := strings.Contains(line, "operation not permitted") || strings.Contains(line, "function not implemented")
				// Some kernels have no fexit, with any profile.
				if refused && !strings.Contains(line, "it needs CAP_") && !strings.Contains(line, "the kernel refuses programs of this type") {
					t.Errorf("the agent is refused a call: %s", line)
				}
			}
		})
	}
	t.Run("denied", profileDenies)
}

// putProfiles gives the node the profiles of deploy/seccomp.
func putProfiles(t *testing.T) {
	t.Helper()
	profiles, err := filepath.Glob(filepath.Join(deploy, "seccomp", "*.json"))
	if err != nil || len(profiles) != 2 {
		t.Fatalf("found %q (%v)", profiles, err)
	}
	if err := os.MkdirAll(kubeletProfiles, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, path := range profiles {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(kubeletProfiles, filepath.Base(path)), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// profileDenies compares what a program may call under the profile with what it may
// under RuntimeDefault.
func profileDenies(t *testing.T) {
	image := perlImage(t)
	script := fmt.Sprintf(`
		sub said { print "$_[0]: ", ($_[1] < 0 ? $! + 0 : 0), "\n" }
		said("ptrace", syscall(%d, 0, 0, 0, 0)); # PTRACE_TRACEME
		said("process_vm_writev", syscall(%d, 1, 0, 0, 0, 0, 0)); # itself
		my $pid = fork;
		exit if defined $pid and $pid == 0;
		said("fork", defined $pid ? 0 : -1);
		said("read", open(my $f, "<", "/proc/self/status") ? 0 : -1);`, syscall.SYS_PTRACE, 311) // asm/unistd_64.h
	localhost := "nodetune.json"
	ns := node.Namespace(t, nil)
	for name, c := range map[string]struct {
		profile corev1.SeccompProfile
		want    string
	}{
		"runtime-default": {corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}, "ptrace: 0\nprocess_vm_writev: 0\nfork: 0\nread: 0\n"},
		"localhost":       {corev1.SeccompProfile{Type: corev1.SeccompProfileTypeLocalhost, LocalhostProfile: &localhost}, "ptrace: 1\nprocess_vm_writev: 1\nfork: 1\nread: 0\n"},
	} {
		p := cluster.Shell(ns, name, "")
		p.Spec.Containers[0].Image = image
		p.Spec.Containers[0].Command = []string{"/usr/bin/perl", "-e", script}
		p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{
			SeccompProfile: &c.profile,
			Capabilities:   &corev1.Capabilities{Add: []corev1.Capability{"SYS_PTRACE"}}, // as the agent has
		}
		node.Create(t, p)
		node.WaitPod(t, ns, name, "done", cluster.PodDone)
		if got := node.Logs(t, ns, name); got != c.want {
			t.Errorf("%s: got\n%swant\n%s", name, got, c.want)
		}
	}

	// Why RuntimeDefault is the default: docs/permissions.md.
	absent := "absent.json"
	p := cluster.Shell(ns, "absent", "exit")
	p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeLocalhost, LocalhostProfile: &absent},
	}
	node.Create(t, p)
	node.WaitPod(t, ns, "absent", "not started for want of its profile", func(p *corev1.Pod) bool {
		s := p.Status.ContainerStatuses
		return len(s) == 1 && s[0].State.Waiting != nil && s[0].State.Waiting.Reason == "CreateContainerError"
	})
}

// perlImage gives the node an image with perl, which can make any system call.
func perlImage(t *testing.T) (name string) {
	t.Helper()
	name = "nodetune.test/perl:1"
	img, err := cluster.FromPrograms(name, "/usr/bin/perl")
	if err != nil {
		t.Fatal(err)
	}
	if err := node.LoadImage(t.Context(), img); err != nil {
		t.Fatal(err)
	}
	return name
}

// composed is the directory of a Kustomization of base and components.
func composed(t *testing.T, components ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	from, err := filepath.Abs(deploy)
	if err != nil {
		t.Fatal(err)
	}
	if from, err = filepath.Rel(dir, from); err != nil { // kustomize takes no other
		t.Fatal(err)
	}
	text := "resources: [" + from + "/base]\ncomponents:\n- " + from + "/components/namespace\n"
	for _, c := range components {
		text += "- " + from + "/components/" + c + "\n"
	}
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}
