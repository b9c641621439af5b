package scenario

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nodetune/nodetune/e2e/cluster"
	"github.com/nodetune/nodetune/e2e/sandbox"
)

const (
	attackImage = "nodetune.test/attack:1"
	// attackEnv is how long the attack lasts, such as 10m.
	attackEnv   = "NODETUNE_TEST_ATTACK"
	attackShort = time.Minute

	maxRSS = 58 // MiB, of the 64 of the manifests
	// maxGrowth is in MiB: of the memory that is not the program's file, between the first
	// and the second half of the attack.
	maxGrowth = 6
	maxPass   = 30 * time.Second
	// floorsEvery is how often the floors are looked at, with what a busy machine adds.
	floorsEvery = 30*time.Second + 10*time.Second
)

// One pod under the Pod Security Standard restricted does all that it can to the agent of
// its node: descriptors, copies, instances, deep directories, many names, files that
// expand, connections, requests that it does not read, names of others, refused calls.
// The agent goes on: it does not restart, its memory is flat, its floors hold, each pass
// ends in time, and it tells nothing of a tenant that did nothing.
func TestAttack(t *testing.T) {
	lasts := attackShort
	if text := os.Getenv(attackEnv); text != "" {
		var err error
		if lasts, err = time.ParseDuration(text); err != nil {
			t.Fatalf("%s: %v", attackEnv, err)
		}
	}
	holdKernel(t)
	loadAttack(t)
	install(t, "default")
	agent := waitAgent(t)
	waitCondition(t, "SysctlDrift", corev1.ConditionFalse)
	waitCondition(t, "InotifyPressure", corev1.ConditionFalse)
	waitValue(t, maxInstances, "8192")

	victims := node.Namespace(t, nil)
	node.Create(t, cluster.Shell(victims, "victim", "while :; do echo a quiet line; sleep 1; done"))
	node.WaitPod(t, victims, "victim", "Ready", cluster.PodReady)
	ns := node.Namespace(t, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"})
	forbidden(t, ns)

	w := &watch{t: t, agent: agent, pid: agentProcess(t, agent), victims: victims, attackers: ns}
	before := w.rss("RssAnon")
	began := time.Now()
	node.Create(t, attacker(ns, net.JoinHostPort(agent.Status.PodIP, "9409"), lasts))
	node.WaitPod(t, ns, "attacker", "runs", cluster.PodReady)
	w.during(lasts, began)
	node.WaitPod(t, ns, "attacker", "is done", cluster.PodDone)
	for line := range strings.Lines(node.Logs(t, ns, "attacker")) {
		if role, what, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && strings.HasPrefix(role, "role ") {
			t.Logf("%s: %s", role, what)
		}
	}
	w.judge(before)
}

// loadAttack builds the program of the attack, and loads its image.
func loadAttack(t *testing.T) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "attack")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", program, "../attack")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build.Args, err, out)
	}
	image := cluster.Image{Name: attackImage, Files: map[string]string{"/attack": program}}
	if err := node.LoadImage(t.Context(), image); err != nil {
		t.Fatal(err)
	}
}

// attacker is a pod as restricted as a pod can be, with annotations that ask for more
// than anybody may have.
func attacker(ns, target string, lasts time.Duration) *corev1.Pod {
	p := cluster.Shell(ns, "attacker", "")
	yes, no, uid := true, false, int64(65534)
	p.Annotations = map[string]string{
		"nodetune.io/sysctl-floor": maxInstances + "=2147483647,kernel.core_pattern=1,fs.inotify.max_user_watches=99999999999999999999",
	}
	p.Spec.SecurityContext = &corev1.PodSecurityContext{
		RunAsNonRoot: &yes, RunAsUser: &uid, RunAsGroup: &uid, FSGroup: &uid,
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	p.Spec.Volumes = []corev1.Volume{{Name: "log", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	c := &p.Spec.Containers[0]
	c.Image, c.Command = attackImage, []string{"/attack", target, lasts.String()}
	c.VolumeMounts = []corev1.VolumeMount{{Name: "log", MountPath: "/var/log"}}
	c.SecurityContext = &corev1.SecurityContext{
		AllowPrivilegeEscalation: &no,
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
	return p
}

// forbidden asks the API server for what the token of a pod must not get.
func forbidden(t *testing.T, ns string) {
	t.Helper()
	as := "--as=system:serviceaccount:" + ns + ":default"
	asked := 0
	for _, args := range [][]string{
		{"get", "nodes"},
		{"get", "pods", "-n", namespace},
		{"get", "secrets", "-A"},
		{"get", "configmap", "-n", namespace, "nodetune"},
		{"patch", "node", sandbox.Hostname, "--subresource=status", "--type=strategic", "-p", `{"status":{"conditions":[{"type":"InotifyPressure","status":"True"}]}}`},
		{"patch", "node", sandbox.Hostname, "-p", `{"metadata":{"labels":{"attacked":"true"}}}`},
		{"delete", "daemonset", "-n", namespace, "nodetune"},
		{"create", "token", "-n", namespace, "nodetune"},
		{"get", "--raw", "/api/v1/namespaces/" + namespace + "/pods/" + waitAgent(t).Name + ":9409/proxy/metrics"},
		{"exec", "-n", namespace, waitAgent(t).Name, "--", "/nodetune", "check"},
	} {
		asked++
		out, err := node.Kubectl(t.Context(), append([]string{as}, args...)...)
		if err == nil || !strings.Contains(err.Error()+out, "orbidden") {
			t.Errorf("kubectl %q is not refused: %v\n%s", args, err, out)
		}
	}
	t.Logf("%d of %d calls of the pod's token are refused", asked, asked)
}

// agentProcess finds the agent's process on the node.
func agentProcess(t *testing.T, agent *corev1.Pod) int {
	t.Helper()
	id := agent.Status.ContainerStatuses[0].ContainerID
	id = id[strings.LastIndex(id, "/")+1:]
	dirs, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range dirs {
		if b, err := os.ReadFile(file); err == nil && strings.Contains(string(b), id) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			return pid
		}
	}
	t.Fatalf("no process of the container %s", id)
	return 0
}

// watch is what is seen of the agent during the attack.
type watch struct {
	t         *testing.T
	agent     *corev1.Pod
	pid       int
	victims   string
	attackers string

	rssMost    float64
	halves     [2]float64 // the most RssAnon of each half of the attack
	passes     map[string]time.Duration
	ended      map[string][2]float64 // passes of each task, before and after
	omitted    map[string]bool
	floorsOld  time.Duration
	floorBack  time.Duration
	conditions map[string]bool
}

// rss is a figure of the agent's memory, in MiB.
func (w *watch) rss(field string) float64 {
	w.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.pid))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			w.t.Fatal("the agent has ended")
		}
		w.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			kib, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kib / 1024
		}
	}
	w.t.Fatalf("/proc/%d/status has no %s", w.pid, field)
	return 0
}

// cpuTicks is the processor time of the agent so far.
func (w *watch) cpuTicks() int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", w.pid))
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if err != nil || len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return user + system
}

// during looks at the agent each second while the attack lasts. A floor is lowered once.
func (w *watch) during(lasts time.Duration, began time.Time) {
	w.t.Helper()
	w.ended = map[string][2]float64{}
	w.passes, w.omitted, w.conditions = map[string]time.Duration{}, map[string]bool{}, map[string]bool{}
	ticks := w.cpuTicks()
	var lowered time.Time
	asked := false
	for i := 0; time.Since(began) < lasts; i++ {
		w.rssMost = max(w.rssMost, w.rss("VmRSS"))
		gone := time.Since(began)
		if gone > lasts/6 { // warm
			half := 0
			if gone > lasts*7/12 {
				half = 1
			}
			w.halves[half] = max(w.halves[half], w.rss("RssAnon"))
		}
		if !asked && gone > lasts/4 { // the next pass of a task may be minutes away
			asked = true
			if err := syscall.Kill(w.pid, syscall.SIGHUP); err != nil {
				w.t.Fatal(err)
			}
		}
		switch holds := get(w.t, maxInstances) != "128"; {
		case lowered.IsZero() && gone > lasts/3:
			set(w.t, maxInstances, "128")
			lowered = time.Now()
		case !lowered.IsZero() && w.floorBack == 0 && holds:
			w.floorBack = time.Since(lowered)
		}
		if i%5 == 0 {
			w.scrape()
			w.conditionsNow()
		}
		time.Sleep(time.Second)
	}
	w.t.Logf("the agent used %.1f %% of a processor", float64(w.cpuTicks()-ticks)/time.Since(began).Seconds())
}

// scrape reads how long passes take, how old the look at the floors is, and what is left out.
func (w *watch) scrape() {
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	page, err := node.Kubectl(ctx, "get", "--raw", "/api/v1/namespaces/"+namespace+"/pods/"+w.agent.Name+":9409/proxy/metrics")
	if err != nil {
		w.t.Errorf("the node is not served: %v", err)
		return
	}
	now := float64(time.Now().UnixMilli()) / 1000
	for line := range strings.Lines(page) {
		name, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			continue
		}
		family, labels, _ := strings.Cut(name, "{")
		switch family {
		case "nodetune_pass_duration_seconds", "nodetune_pass_running_seconds":
			w.passes[labels] = max(w.passes[labels], time.Duration(value*float64(time.Second)))
		case "nodetune_pass_last_end_timestamp_seconds":
			if strings.Contains(labels, `"sysctl"`) {
				w.floorsOld = max(w.floorsOld, time.Duration((now-value)*float64(time.Second)))
			}
		case "nodetune_passes_total":
			n, known := w.ended[labels]
			if n[1] = value; !known {
				n[0] = value
			}
			w.ended[labels] = n
		case "nodetune_scan_omitted":
			w.omitted[labels] = true
		}
	}
}

// conditionsNow collects what the Node says by nodetune.
func (w *watch) conditionsNow() {
	n, err := node.Client.CoreV1().Nodes().Get(w.t.Context(), sandbox.Hostname, metav1.GetOptions{})
	if err != nil {
		return // the machine is busy
	}
	for _, c := range n.Status.Conditions {
		switch c.Type {
		case "InotifyPressure", "FileDescriptorPressure", "LogDiskPressure", "SysctlDrift", "LogCollectorStalled":
			w.conditions[fmt.Sprintf("%s %s %s: %s", c.Type, c.Status, c.Reason, c.Message)] = true
		}
	}
}

// judge compares what was seen with what is promised.
func (w *watch) judge(before float64) {
	t := w.t
	t.Helper()
	t.Logf("RSS at most %.1f MiB; RssAnon %.1f before, at most %.1f in the first half and %.1f in the second", w.rssMost, before, w.halves[0], w.halves[1])
	t.Logf("longest passes %v; floors looked at after %v at most; one that root lowered is back after %v", w.passes, w.floorsOld, w.floorBack)
	if w.rssMost >= maxRSS {
		t.Errorf("RSS was %.1f MiB, want less than %d", w.rssMost, maxRSS)
	}
	if w.halves[1] > w.halves[0]+maxGrowth {
		t.Errorf("RssAnon grew from %.1f to %.1f MiB", w.halves[0], w.halves[1])
	}
	for task, took := range w.passes {
		if took > maxPass {
			t.Errorf("a pass of %s took %v", task, took)
		}
	}
	for _, task := range []string{"sysctl", "inotify", "disk"} {
		var n [2]float64
		for labels, of := range w.ended {
			if strings.Contains(labels, `"success"`) && strings.Contains(labels, `"`+task+`"`) {
				n = of
			}
		}
		t.Logf("%s: %v passes ended", task, n[1]-n[0])
		if n[1] == n[0] {
			t.Errorf("no pass of %s ended", task)
		}
	}
	if w.floorsOld > floorsEvery || w.floorsOld == 0 {
		t.Errorf("the floors were looked at after %v", w.floorsOld)
	}
	if w.floorBack == 0 || w.floorBack > floorsEvery {
		t.Errorf("a floor that root lowered is back after %v", w.floorBack)
	}
	if len(w.omitted) == 0 {
		t.Error("the agent does not report what it left out")
	}
	var kinds []string
	for labels := range w.omitted {
		kinds = append(kinds, strings.TrimSuffix(labels, "}"))
	}
	slices.Sort(kinds)
	t.Logf("left out: %q", kinds)

	others := []string{w.victims, "victim", "coredns", "kube-system"}
	tells := func(text string) {
		for _, name := range others {
			if strings.Contains(text, name) {
				t.Errorf("%q names a tenant that did nothing: %s", name, text)
			}
		}
	}
	for c := range w.conditions {
		t.Logf("condition %s", c)
		tells(c)
		if strings.Contains(c, " Unknown ") {
			t.Errorf("the attack made a condition unknown: %s", c)
		}
	}
	events, err := node.Client.CoreV1().Events(metav1.NamespaceAll).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events.Items {
		if e.ReportingController != "nodetune" {
			continue
		}
		t.Logf("Event %s on %s %s/%s: %s", e.Reason, e.InvolvedObject.Kind, e.InvolvedObject.Namespace, e.InvolvedObject.Name, e.Message)
		tells(e.Message)
		if e.InvolvedObject.Kind != "Node" && e.InvolvedObject.Namespace != w.attackers {
			t.Errorf("an Event on %s/%s, which did nothing: %s", e.InvolvedObject.Namespace, e.InvolvedObject.Name, e.Message)
		}
	}
	now := waitAgent(t)
	if c := now.Status.ContainerStatuses[0]; now.UID != w.agent.UID || c.RestartCount != w.agent.Status.ContainerStatuses[0].RestartCount {
		t.Errorf("the agent restarted %d times: %+v", c.RestartCount, c.LastTerminationState)
	}
}
