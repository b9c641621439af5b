package scenario

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/nodetune/nodetune/e2e/cluster"
	"github.com/nodetune/nodetune/e2e/sandbox"
)

// reportDoc is what the tests read of a Report.
type reportDoc struct {
	Sysctl struct {
		Rules    []struct{ Key, Outcome, Reason string }
		Warnings []string
	}
	Inotify struct {
		Source        string
		HoldersSource string `json:"holders_source"`
		Processes     []processDoc
		Unknown       []struct{ What, Why string }
	}
	Disk struct {
		Filesystems []struct{ Roles []string }
		Findings    []struct{ Reason, Path string }
	}
}

type processDoc struct {
	Comm, Pod, Quality string
	Watches            int
}

// grants are the rows of the table in deploy/README.md that a pod's
// specification can lack. With base's specification works holds; without the
// grant it does not, and the output says what is missing.
var grants = []struct {
	row    string
	lose   func(*corev1.PodSpec)
	args   []string
	works  func(reportDoc) bool
	says   string
	gained bool // base lacks it: lose grants it
}{
	{
		row: "`runAsUser: 0`", args: []string{"apply"}, works: instancesHold, says: "it needs uid 0",
		lose: func(p *corev1.PodSpec) { uid := int64(65532); p.Containers[0].SecurityContext.RunAsUser = &uid },
	},
	{
		row: "hostPaths `/proc/sys/fs/inotify`, `epoll`, `file-max`, read-write", args: []string{"apply"}, works: instancesHold, says: "is mounted read-only here",
		lose: func(p *corev1.PodSpec) {
			for _, v := range []string{"inotify", "epoll", "file-max"} {
				dropVolume(p, "proc-sys-fs-"+v)
			}
		},
	},
	{
		row: "hostPath `/run/nodetune`, read-write", args: []string{"apply"}, says: "without the lock",
		works: func(d reportDoc) bool { return instancesHold(d) && len(d.Sysctl.Warnings) == 0 },
		lose:  func(p *corev1.PodSpec) { dropVolume(p, "run") },
	},
	{
		row: "`SYS_PTRACE`", args: []string{"check"}, says: "it needs CAP_SYS_PTRACE",
		works: func(d reportDoc) bool { return seesHolder(d) && knowsEviction(d) },
		lose:  func(p *corev1.PodSpec) { dropCapability(p, "SYS_PTRACE") },
	},
	{
		row: "`DAC_READ_SEARCH`", args: []string{"check"}, works: seesHolder, says: "it needs CAP_DAC_READ_SEARCH",
		lose: func(p *corev1.PodSpec) { dropCapability(p, "DAC_READ_SEARCH") },
	},
	{
		// With which the two above are not needed.
		row: "`BPF`, `PERFMON` (overlay bpf)", args: []string{"check"}, says: "it needs CAP_BPF and CAP_PERFMON", gained: true,
		works: func(d reportDoc) bool {
			return d.Inotify.Source == "ebpf" && d.Inotify.HoldersSource == "ebpf_walk" && seesHolder(d) && namesHolder(d) &&
				!slices.ContainsFunc(d.Inotify.Processes, func(p processDoc) bool { return p.Quality != "exact" })
		},
		lose: func(p *corev1.PodSpec) {
			p.Containers[0].SecurityContext.Capabilities.Add = []corev1.Capability{"BPF", "PERFMON"}
		},
	},
	{
		row: "`hostPID` (overlay exact)", args: []string{"check"}, says: "run with hostPID", gained: true,
		works: func(d reportDoc) bool {
			return slices.ContainsFunc(d.Inotify.Processes, func(p processDoc) bool { return p.Quality == "exact" })
		},
		lose: func(p *corev1.PodSpec) { p.HostPID = true },
	},
	{
		row: "hostPath `/var/log`, read-only", args: []string{"check"}, says: "",
		works: func(d reportDoc) bool { return seesHolder(d) && namesHolder(d) && len(d.Disk.Filesystems) > 0 },
		lose:  func(p *corev1.PodSpec) { dropVolume(p, "log") },
	},
}

func instancesHold(d reportDoc) bool {
	return slices.Contains(d.Sysctl.Rules, struct{ Key, Outcome, Reason string }{maxInstances, "InForce", ""})
}

func seesHolder(d reportDoc) bool {
	for _, p := range d.Inotify.Processes {
		if p.Comm == "inotifywait" && p.Watches == 1 {
			return true
		}
	}
	return false
}

// knowsEviction: of no directory of the kubelet is anything mounted.
func knowsEviction(d reportDoc) bool {
	for _, f := range d.Disk.Filesystems {
		if slices.Contains(f.Roles, "logs") && slices.Contains(f.Roles, "kubelet") {
			return !slices.ContainsFunc(d.Disk.Findings, func(f struct{ Reason, Path string }) bool { return f.Reason == "NotSeen" })
		}
	}
	return false
}

func namesHolder(d reportDoc) bool {
	for _, p := range d.Inotify.Processes {
		if p.Pod == "holder" {
			return true
		}
	}
	return false
}

// With each grant its feature works; without it nodetune runs on and says which
// is missing.
func TestGrants(t *testing.T) {
	holdKernel(t)
	ns := node.Namespace(t, nil)
	// A process of another user, which only CAP_DAC_READ_SEARCH shows.
	uid := int64(1000)
	holder := cluster.Shell(ns, "holder", "")
	holder.Spec.Containers[0].Image = collectorImage
	holder.Spec.Containers[0].Command = []string{"/usr/bin/inotifywait", "--monitor", "--quiet", "/etc"}
	holder.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: &uid}
	node.Create(t, holder)
	node.WaitPod(t, ns, "holder", "Ready", cluster.PodReady)

	for i, g := range grants {
		t.Run(g.row, func(t *testing.T) {
			inTable(t, g.row)
			set(t, maxInstances, "128")
			with, without := func(*corev1.PodSpec) {}, g.lose
			if g.gained {
				with, without = without, with
			}
			text := runOnce(t, ns, fmt.Sprintf("with-%d", i), with, g.args...)
			if !g.works(parse(t, text)) {
				t.Errorf("with the grant the feature does not work:\n%s", text)
			}
			set(t, maxInstances, "128")
			text = runOnce(t, ns, fmt.Sprintf("without-%d", i), without, g.args...)
			if g.works(parse(t, text)) {
				t.Errorf("the feature works without the grant:\n%s", text)
			}
			if !strings.Contains(text, g.says) {
				t.Errorf("it does not say %q:\n%s", g.says, text)
			}
		})
	}
}

// Without the host's /proc the agent holds the floors, and says what it does
// not see. That is the overlay minimal.
func TestGrantProc(t *testing.T) {
	inTable(t, "hostPath `/proc`, read-only")
	holdKernel(t)
	install(t, "minimal")
	waitValue(t, maxInstances, "8192")
	waitLog(t, "no processes found")
	agent := waitAgent(t)
	if c := agent.Spec.Containers[0].SecurityContext.Capabilities; len(c.Add) != 0 {
		t.Errorf("minimal adds %q", c.Add)
	}
	out := node.MustKubectl(t, "", "-n", namespace, "exec", agent.Name, "--", "/nodetune", "version")
	if !strings.HasPrefix(out, "nodetune ") {
		t.Errorf("exec: %s", out)
	}
	// Its exit code reports what minimal cannot see.
	out, _ = node.Kubectl(t.Context(), "-n", namespace, "exec", agent.Name, "--", "/nodetune", "check", "-o", "json", "--path.procfs=/host/proc", "--path.rootfs=/host/root")
	for _, r := range parse(t, out).Sysctl.Rules {
		if strings.HasPrefix(r.Key, "user.") && (r.Outcome != "Failed" || !strings.HasPrefix(r.Reason, "the host's /proc/sys/user is not mounted")) {
			t.Errorf("without /proc/sys/user %s is %s: %s", r.Key, r.Outcome, r.Reason)
		}
	}
	if c, err := condition(t.Context(), "SysctlDrift"); err != nil || c != nil {
		t.Errorf("minimal has no token, yet the node has %+v (%v)", c, err)
	}
}

// The rights of the token, each taken away from a running agent.
func TestGrantsOfToken(t *testing.T) {
	holdKernel(t)
	const taint = "nodetune.io/not-ready"
	for _, g := range []struct {
		row     string
		overlay string
		right   string // resource and verb that are taken away
		works   func(t *testing.T)
		without func(t *testing.T) // before the agent starts again
		says    string
	}{
		{row: "token: list, watch `nodes`", overlay: "default", right: "nodes list", says: "cannot read this node from the API server"},
		{row: "token: patch `nodes/status`", overlay: "default", right: "nodes/status patch", says: "API server rejected the update"},
		{
			row: "token: create, patch `events`", overlay: "default", right: "events create", says: "API server rejected Events",
			works: func(t *testing.T) {
				waitNodeEvent(t, "LimitRaised", maxInstances+" was below its floor, and is raised")
			},
		},
		{
			row: "token: patch `nodes` (startup-taint)", overlay: "startup-taint", right: "nodes patch", says: `cannot patch resource \"nodes\" in API group`,
			without: func(t *testing.T) {
				node.MustKubectl(t, "", "taint", "node", sandbox.Hostname, taint+"=:NoSchedule")
				t.Cleanup(func() {
					_, _ = node.Kubectl(context.Background(), "taint", "node", sandbox.Hostname, taint+"-")
				})
			},
		},
		{
			row: "token: list, watch `pods` (pod-demands)", overlay: "pod-demands", right: "pods list",
			says: "cannot read the pods of this node",
		},
	} {
		t.Run(g.row, func(t *testing.T) {
			inTable(t, g.row)
			set(t, maxInstances, "128")
			node.MustKubectl(t, "", "-n", metav1.NamespaceDefault, "delete", "events", "--all") // those of other tests
			install(t, g.overlay)
			waitCondition(t, "SysctlDrift", corev1.ConditionFalse)
			if g.works != nil {
				g.works(t)
			}
			take(t, g.right)
			if g.without != nil {
				g.without(t)
			}
			if err := cleanConditions(t.Context()); err != nil { // something to write
				t.Fatal(err)
			}
			node.MustKubectl(t, "", "-n", namespace, "delete", "pod", "--selector=app.kubernetes.io/component=agent", "--wait=true")
			set(t, maxInstances, "128") // something to raise and to report, which the old one leaves alone
			waitLog(t, g.says)
			waitValue(t, maxInstances, "8192") // and it works on
		})
	}
}

// take takes a right away from the agent: "RESOURCE VERB", and its rule's others.
func take(t *testing.T, right string) {
	t.Helper()
	resource, verb, _ := strings.Cut(right, " ")
	is := func(r rbacv1.PolicyRule) bool {
		return slices.Contains(r.Resources, resource) && slices.Contains(r.Verbs, verb)
	}
	role, err := node.Client.RbacV1().ClusterRoles().Get(t.Context(), "nodetune", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	role.Rules = slices.DeleteFunc(role.Rules, is)
	if _, err := node.Client.RbacV1().ClusterRoles().Update(t.Context(), role, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// waitLog waits for a line of the agent's log.
func waitLog(t *testing.T, want string) {
	t.Helper()
	cluster.Eventually(t, "the log says "+want, func(ctx context.Context) error {
		out, err := node.Kubectl(ctx, "-n", namespace, "logs", "daemonset/nodetune")
		if err == nil && !strings.Contains(out, want) {
			err = fmt.Errorf("it says %s", out)
		}
		return err
	})
}

// inTable fails t where the table of permissions has no such row.
func inTable(t *testing.T, row string) {
	t.Helper()
	b, err := os.ReadFile(deploy + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), "\n| "+row+" | ") {
		t.Errorf("deploy/README.md has no row for %s", row)
	}
}

// runOnce runs a command of nodetune in a pod like the agent's, but for change,
// and returns its Report.
func runOnce(t *testing.T, ns, name string, change func(*corev1.PodSpec), args ...string) string {
	t.Helper()
	spec := agentSpec(t, "default")
	change(&spec)
	return runPod(t, ns, name, spec, append(slices.Clone(args), "--output=json")...)
}

// runPod runs a command of nodetune in a pod and returns its output.
func runPod(t *testing.T, ns, name string, spec corev1.PodSpec, args ...string) string {
	t.Helper()
	dropVolume(&spec, "config")
	spec.RestartPolicy = corev1.RestartPolicyNever
	spec.ServiceAccountName = "default"
	no := false
	spec.AutomountServiceAccountToken = &no
	c := &spec.Containers[0]
	c.StartupProbe, c.LivenessProbe, c.ReadinessProbe = nil, nil, nil
	c.Args = append(slices.Clone(args), "--path.procfs=/host/proc", "--path.rootfs=/host/root")
	node.Create(t, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Spec: spec})
	node.WaitPod(t, ns, name, "done", cluster.PodDone)
	return node.Logs(t, ns, name)
}

// agentSpec is the pod of an overlay's DaemonSet.
func agentSpec(t *testing.T, overlay string) corev1.PodSpec {
	t.Helper()
	for _, doc := range strings.Split(kustomize(t, overlay), "\n---\n") {
		var ds appsv1.DaemonSet
		if err := yaml.Unmarshal([]byte(doc), &ds); err == nil && ds.Kind == "DaemonSet" {
			return ds.Spec.Template.Spec
		}
	}
	t.Fatalf("%s has no DaemonSet", overlay)
	return corev1.PodSpec{}
}

func dropCapability(p *corev1.PodSpec, name corev1.Capability) {
	c := p.Containers[0].SecurityContext.Capabilities
	c.Add = slices.DeleteFunc(c.Add, func(x corev1.Capability) bool { return x == name })
}

func dropVolume(p *corev1.PodSpec, name string) {
	p.Volumes = slices.DeleteFunc(p.Volumes, func(v corev1.Volume) bool { return v.Name == name })
	c := &p.Containers[0]
	c.VolumeMounts = slices.DeleteFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == name })
}

// parse reads the Report at the beginning of a pod's output; what went to
// stderr follows it.
func parse(t *testing.T, text string) reportDoc {
	t.Helper()
	var d reportDoc
	if err := json.NewDecoder(strings.NewReader(text)).Decode(&d); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return d
}
