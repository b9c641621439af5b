package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nodetune/nodetune/cmd/kubectl-nodetune/internal/bundle"
)

const report = `{"apiVersion":"nodetune.io/v1alpha1","kind":"Report",
 "sysctl":{"rules":[{"key":"fs.inotify.max_user_instances","op":"AtLeast","want":"8192","value":"8192","outcome":"InForce"}]},
 "inotify":{"limits":{"max_user_instances":8192,"max_user_watches":65536,"file_max":null,"open_files":7},
  "owners":[{"userns":4026531837,"uid":0,"instances":60,"instances_limit":8192,"instances_quality":"exact","watches":65536,"watches_limit":65536,"watches_quality":"exact"}],
  "processes":[{"pid":4711,"comm":"fluent-bit","userns":4026531837,"uid":0,"instances":2,"watches":90,"fds":100,"nofile_soft":1024,"quality":"exact","namespace":"logging","pod":"fluent-bit-x","container":"fb"}],
  "findings":[],"unknown":[]},
 "disk":{"filesystems":[{"path":"/var/log","type":"ext4","state":"ok","size_bytes":1000000,"avail_bytes":500000}],"pressure":{"level":"clear"}},
 "password":"hunter2"}`

const nodeStatus = `{"apiVersion":"nodetune.io/v1alpha1","kind":"NodeStatus","password":"hunter2","passes":[{"name":"inotify","at":"2026-01-02T12:00:00Z"}],
 "limits":{"rows":[{"key":"fs.inotify.max_user_instances","owner":{"userns":4026531837,"uid":0},"used":14000,"limit":16384,"quality":"exact"}]},
 "settings":{"rows":[{"key":"fs.inotify.max_user_instances","value":"16384","want":"8192","ceiling":"131072"},{"key":"fs.inotify.max_user_watches","value":"700000","want":"524288"}]}}`

// api is a cluster of two nodes, w1 with an agent and w2 without one.
type api struct {
	t         *testing.T
	report    string // of w1; "" is closed
	condition corev1.ConditionStatus
	empty     bool // without a DaemonSet
	deny      string
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if a.deny != "" && strings.Contains(r.URL.Path, a.deny) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Code: 403, Reason: metav1.StatusReasonForbidden, Message: "may not"})
		return
	}
	encode := func(v any) { _ = json.NewEncoder(w).Encode(v) }
	switch path := r.URL.Path; {
	case path == "/apis/apps/v1/daemonsets":
		list := appsv1.DaemonSetList{}
		if !a.empty {
			d := appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: "nodetune", Name: "nodetune"}}
			d.Status = appsv1.DaemonSetStatus{DesiredNumberScheduled: 1, NumberReady: 1, UpdatedNumberScheduled: 1}
			d.Spec.Template.Spec.Containers = []corev1.Container{{Name: "nodetune", Env: []corev1.EnvVar{{Name: "X", Value: "hunter2"}}}}
			d.Spec.Template.Spec.Volumes = []corev1.Volume{{VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "nodetune"}}}}}
			list.Items = append(list.Items, d)
		}
		encode(list)
	case path == "/api/v1/pods":
		p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "nodetune", Name: "nodetune-a", OwnerReferences: []metav1.OwnerReference{{Kind: "DaemonSet"}}}}
		p.Spec.NodeName, p.Status.Phase = "w1", corev1.PodRunning
		p.Spec.Containers = []corev1.Container{{Name: "nodetune"}}
		list := corev1.PodList{}
		if !a.empty {
			list.Items = append(list.Items, p)
		}
		encode(list)
	case path == "/api/v1/nodes":
		w1 := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "w1", ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "nodetune", FieldsV1: metav1.NewFieldsV1(`{"f:status":{"f:conditions":{"k:{\"type\":\"SysctlDrift\"}":{".":{}}}}}`)}}}}
		w1.Status.Conditions = []corev1.NodeCondition{{Type: "Ready", Status: "True"}, {Type: "SysctlDrift", Status: a.condition, Reason: "R"}}
		w1.Labels = map[string]string{"pool": "GPU_a100.x"}
		if s := r.URL.Query().Get("labelSelector"); s != "" {
			list := corev1.NodeList{}
			if s == "pool=GPU_a100.x" {
				list.Items = append(list.Items, w1)
			}
			encode(list)
			return
		}
		encode(corev1.NodeList{Items: []corev1.Node{w1, {ObjectMeta: metav1.ObjectMeta{Name: "w2"}}}})
	case path == "/api/v1/namespaces/logging/pods/fluent-bit-x":
		p := corev1.Pod{}
		p.Spec.NodeName = "w1"
		encode(p)
	case strings.HasSuffix(path, "/proxy/metrics"):
		_, _ = io.WriteString(w, `nodetune_build_info{version="v1.2.3"} 1`)
	case strings.HasSuffix(path, "/proxy/report"):
		if a.report == "" {
			http.Error(w, "closed", http.StatusNotFound)
			return
		}
		_, _ = io.WriteString(w, a.report)
	case strings.HasSuffix(path, "/proxy/status.json"):
		_, _ = io.WriteString(w, nodeStatus)
	case strings.HasSuffix(path, "/log"):
		_, _ = io.WriteString(w, "started with password=hunter2\n")
	case strings.HasSuffix(path, "/configmaps/nodetune"):
		encode(corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "nodetune"}, Data: map[string]string{"config.yaml": "profile: default"}})
	case strings.HasSuffix(path, "/events"):
		encode(corev1.EventList{Items: []corev1.Event{{Message: "an event"}}})
	default:
		http.Error(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404,"message":"no `+path+`"}`, http.StatusNotFound)
	}
}

// call runs the command line against a.
func call(t *testing.T, a *api, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	a.t = t
	server := httptest.NewServer(a)
	defer server.Close()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	text := "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: c, cluster: {server: '" + server.URL + "'}}]\nusers: [{name: u, user: {}}]\ncontexts: [{name: c, context: {cluster: c, user: u, namespace: logging}}]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	code = Run(append(args, "--kubeconfig", file), &out, &errs)
	return code, out.String(), errs.String()
}

func TestCommands(t *testing.T) {
	fine := api{report: report, condition: "False"}
	sick := api{report: report, condition: "True"}
	unmet := api{report: strings.Replace(report, "InForce", "Drifted", 1), condition: "False"}
	for _, tt := range []struct {
		name string
		api  api
		args string
		code int
		want []string // parts of both outputs
	}{
		{"status", fine, "status", 0, []string{"healthy: 1 desired, 1 ready, 1 updated; version v1.2.3"}},
		{"status of a sick node", sick, "status", 1, []string{"trouble", "node w1: SysctlDrift (R)"}},
		{"status as a document", sick, "status -o json", 1, []string{`"healthy": false`, `"kind": "FleetStatus"`}},
		{"status without agents", api{empty: true}, "status", 1, []string{"no pod of a DaemonSet with the labels app.kubernetes.io/name=nodetune in any namespace"}},
		{"status without the right", api{deny: "daemonsets"}, "status", 3, []string{"no right to list daemonsets in all namespaces: give --agent-namespace"}},
		{"nodes", fine, "nodes", 0, []string{"w1", "ok", "w2", "silent", "2 nodes"}},
		{"nodes by state", sick, "nodes --state problem", 0, []string{"1 node: 1 with a problem"}},
		{"nodes by a name that is none", fine, "nodes w3", 1, []string{"there is no node w3"}},
		{"nodes live", fine, "nodes --live w1 -o yaml", 0, []string{"used: 60", "limit: 8192"}},
		{"nodes by a state that is none", fine, "nodes --state bad", 2, []string{"want ok, problem, unknown or silent"}},
		{"top", fine, "top w1", 0, []string{"fluent-bit", "logging/fluent-bit-x:fb", "60", "open files of the node: 7 of ?"}},
		{"top as a document", fine, "top w1 -o json", 0, []string{`"pid": 4711`, `"userns": 4026531837`}},
		{"top of a node without an agent", fine, "top w2", 1, []string{"no agent runs on a node w2"}},
		{"top of no node", fine, "top", 2, []string{"which node?"}},
		{"check", fine, "check w1", 0, []string{"InForce", "All limits are as wanted."}},
		{"check of an unmet rule", unmet, "check w1", 1, []string{"Drifted", "Something is not as wanted."}},
		{"disk", fine, "disk w1", 0, []string{"/var/log", "ext4"}},
		{"why", fine, "why logging/fluent-bit-x", 1, []string{"4711 fluent-bit", "fs.inotify.max_user_watches", "reached"}},
		{"why, with the context's namespace", fine, "why fluent-bit-x:fb", 1, []string{"4711 fluent-bit"}},
		{"why of a container without processes", fine, "why logging/fluent-bit-x:other", 3, []string{"lists no process of logging/fluent-bit-x:other"}},
		{"why of a pod that is none", fine, "why logging/none", 1, []string{"there is no pod logging/none"}},
		{"why of too many slashes", fine, "why a/b/c", 2, []string{"is not [NAMESPACE/]POD[:CONTAINER]"}},
		{"a closed report and no exec", api{condition: "False"}, "check w1", 3, []string{"through the pod proxy: the agent's report is closed: set web.report: open (chart: report=open)", "by exec: "}},
		{"no right to proxy or exec", api{condition: "False", deny: "/pods/"}, "check w1", 3, []string{"no right to get pods/proxy in namespace nodetune", "by exec: "}},
		{"no right to list nodes", api{deny: "nodes"}, "nodes", 3, []string{"list nodes: "}},
		{"no right to list pods", api{deny: "pods"}, "top w1", 3, []string{"give --agent-namespace"}},
		{"recommend", fine, "recommend", 3, []string{"# not asked: w2: no agent runs there", "1 of 2 nodes could not be asked", "config:\n  sysctl:", "uid 0 uses 14000, and at most 70 %", "- key: fs.inotify.max_user_instances\n        atLeast: 20000\n        ceiling: 131072", "in force: 700000 on w1; a floor never lowers it", "# no rule for fs.file-max"}},
		{"recommend by pool", fine, "recommend --pool pool", 3, []string{"# in no pool: w2 has no label pool", "pools:\n", "  - name: \"gpu-a100-x\"\n    nodeSelector:\n      \"pool\": \"GPU_a100.x\"\n    config:\n      sysctl:", "atLeast: 20000"}},
		{"recommend of one pool", fine, "recommend --pool pool=GPU_a100.x", 0, []string{"  - name: \"gpu-a100-x\"", "atLeast: 20000"}},
		{"recommend as a document", fine, "recommend --pool pool=GPU_a100.x -o json", 0, []string{`"kind": "RecommendationList"`, `"atLeast": "20000"`, `"pool": "GPU_a100.x"`}},
		{"recommend of a pool that is none", fine, "recommend --pool pool=x", 1, []string{"no node has the label pool=x"}},
		{"recommend of no label", fine, "recommend --pool =x", 2, []string{"want LABEL or LABEL=VALUE"}},
		{"recommend of a bundle", fine, "recommend --from x", 2, []string{"does not read a bundle"}},
		{"recommend without the right", api{deny: "/proxy"}, "recommend", 3, []string{"# not asked: w1: ", "no right to get pods/proxy", "nothing to recommend"}},
		{"an output that is none", fine, "nodes -o xml", 2, []string{"want table, json or yaml"}},
		{"a command that is none", fine, "explode", 2, []string{"unknown command"}},
		{"status of a bundle", fine, "status --from x", 2, []string{"does not read a bundle"}},
		{"a bundle that is none", fine, "top w1 --from /nonexistent", 3, []string{"no such file"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out, errs := call(t, &tt.api, strings.Fields(tt.args)...)
			if code != tt.code {
				t.Errorf("exit code %d, want %d: %s%s", code, tt.code, out, errs)
			}
			for _, part := range tt.want {
				if !strings.Contains(out+errs, part) {
					t.Errorf("no %q in:\n%s%s", part, out, errs)
				}
			}
		})
	}
}

func TestWithoutKubeconfig(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	var out, errs bytes.Buffer
	if code := Run([]string{"nodes"}, &out, &errs); code != exitUsage || !strings.Contains(errs.String(), "there is no kubeconfig") {
		t.Errorf("exit code %d: %s", code, &errs)
	}
}

// A bundle shows what the cluster shows, without the secrets, and without the
// cluster.
func TestBundle(t *testing.T) {
	file := filepath.Join(t.TempDir(), "b.tar.gz")
	a := &api{report: report, condition: "True"}
	if code, out, errs := call(t, a, "bundle", "-f", file); code != 0 || !strings.Contains(out, "2 nodes, 1 agents; 0 parts") {
		t.Fatalf("exit code %d: %s%s", code, out, errs)
	}
	if code, _, errs := call(t, a, "bundle", "-f", file); code != 3 || !strings.Contains(errs, "exists") {
		t.Errorf("wrote over a file: %d: %s", code, errs)
	}
	b, err := bundle.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"reports/w1.json": `"password": "REDACTED"`, "pages/w1.json": `"kind": "NodeStatus"`, "logs/w1/nodetune-a.log": "password=REDACTED", "objects/daemonsets.json": `"value": "REDACTED"`,
		"objects/configmaps.json": "profile: default", "objects/events.json": "an event", "objects/nodes.json": "SysctlDrift",
		"agents.json": `"way": "proxy"`, "status.json": `"healthy": false`, "omitted.json": `"omitted": []`,
	} {
		raw, err := b.Entry(name)
		if err != nil || !bytes.Contains(raw, []byte(want)) || bytes.Contains(raw, []byte("hunter2")) {
			t.Errorf("%s: %v: %s", name, err, raw)
		}
	}
	gone := &api{deny: "/"}
	for _, tt := range []struct {
		args string
		code int
		want string
	}{
		{"top w1", 0, "logging/fluent-bit-x:fb"},
		{"disk w1", 0, "ext4"},
		{"check w1", 0, "All limits are as wanted."},
		{"why logging/fluent-bit-x", 1, "reached"},
		{"why logging/none", 1, "no report in"},
		{"why none", 2, "give NAMESPACE/POD"},
		{"nodes", 0, "1 with a problem"},
		{"top w2", 1, "has no report of node w2"},
		{"top ../../etc/passwd", 1, "has no report"},
		{"nodes --live", 2, "leave them out with --from"},
	} {
		code, out, errs := call(t, gone, append(strings.Fields(tt.args), "--from", file)...)
		if code != tt.code || !strings.Contains(out+errs, tt.want) {
			t.Errorf("%s: exit code %d: %s%s", tt.args, code, out, errs)
		}
	}
}

// What cannot be read is listed, and the rest is written.
func TestBundleWithoutReports(t *testing.T) {
	file := filepath.Join(t.TempDir(), "b.tar.gz")
	code, out, errs := call(t, &api{condition: "False", deny: "/log"}, "bundle", "-f", file)
	if code != 0 || !strings.Contains(out, "2 parts are not in it") {
		t.Fatalf("exit code %d: %s%s", code, out, errs)
	}
	b, err := bundle.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := b.Entry("omitted.json")
	if err != nil || !bytes.Contains(raw, []byte("report of node w1: ")) || !bytes.Contains(raw, []byte("web.report")) {
		t.Errorf("%v: %s", err, raw)
	}
	if _, err := b.Report("w1"); !errors.Is(err, bundle.ErrNoEntry) {
		t.Error(err)
	}
}

// Whatever the values of a label, the names of the pools are ones that the chart takes.
func TestPoolName(t *testing.T) {
	taken := map[string]bool{}
	for _, tt := range [][2]string{{"gpu", "gpu"}, {"GPU", "gpu-2"}, {"", "pool"}, {"--", "pool-2"}, {"m5.2xlarge", "m5-2xlarge"}, {strings.Repeat("x", 63), strings.Repeat("x", 36)}, {strings.Repeat("x", 62), strings.Repeat("x", 36) + "-2"}, {"ä", "pool-3"}, {strings.Repeat("x", 35) + ".y", strings.Repeat("x", 35)}} {
		if got := poolName(tt[0], taken); got != tt[1] {
			t.Errorf("%q gives %q, want %q", tt[0], got, tt[1])
		}
	}
}
