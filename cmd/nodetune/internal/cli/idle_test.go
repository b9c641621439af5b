package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nodetune/nodetune/internal/inotifytest"
	"github.com/nodetune/nodetune/internal/privtest"
)

// oneNode is an API server that knows one Node, with the 50 images a kubelet
// lists, and takes every patch. It is here for what a client costs; what a real
// one says is tested in e2e.
func oneNode(t testing.TB) (kubeconfig string) {
	t.Helper()
	node := corev1.Node{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Node"},
		ObjectMeta: metav1.ObjectMeta{Name: "node1", UID: "1", ResourceVersion: "1"},
	}
	for i := range 50 {
		node.Status.Images = append(node.Status.Images, corev1.ContainerImage{
			Names: []string{fmt.Sprintf("registry.example/app-%d@sha256:%064d", i, i), fmt.Sprintf("registry.example/app-%d:v1", i)}, SizeBytes: 1 << 26,
		})
	}
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	done := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch q := r.URL.Query(); {
		case r.Method != http.MethodGet:
			answer(w, node)
		case q.Get("sendInitialEvents") != "": // as a server before 1.32: list, then watch
			w.WriteHeader(http.StatusBadRequest)
			answer(w, metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Code: 400, Reason: metav1.StatusReasonInvalid})
		case q.Get("watch") != "":
			w.Header().Set("Content-Type", "application/json")
			_ = http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done():
			case <-done:
			}
		case strings.HasSuffix(r.URL.Path, "/nodes"):
			answer(w, corev1.NodeList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "NodeList"}, ListMeta: metav1.ListMeta{ResourceVersion: "1"}, Items: []corev1.Node{node}})
		case strings.HasSuffix(r.URL.Path, "/pods"):
			answer(w, corev1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}, ListMeta: metav1.ListMeta{ResourceVersion: "1"}})
		default:
			answer(w, node)
		}
	}))
	t.Cleanup(func() { close(done); server.Close() })
	kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: c, cluster: {server: %q}}]\ncontexts: [{name: c, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {token: t}}]\n", server.URL)
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return kubeconfig
}

// BenchmarkAgent is two idle minutes of an agent that speaks to an API server,
// on a node with 500 more processes and 10,000 watches, scraped every half
// minute.
func BenchmarkAgent(b *testing.B) {
	privtest.Host(b)
	addr := freeAddress(b)
	s := startProcess(b, addr, build(b), "run", "--path.rootfs", b.TempDir(), "--web.listen-address", addr,
		"--node-name", "node1", "--kubeconfig", oneNode(b))
	pid := s.cmd.Process.Pid
	s.until("the floors hold", func() bool { return s.metric(`nodetune_sysctl_drifted{key="fs.inotify.max_user_instances"} 0`) })
	inotifytest.New(b, 20).Start(inotifytest.Spec{Kind: inotifytest.Plain, Processes: 500, UID: 70401, Instances: 1, Watches: 20})
	counted := `nodetune_inotify_watches{uid="70401",userns="` + ownUserNS(b) + `"}`
	s.hup()
	s.until("every watch is counted", func() bool {
		time.Sleep(time.Second)
		return s.series(counted) == 10_000
	})

	time.Sleep(time.Minute) // it looks at readers more often at first
	was, began := cpuTimeOf(b, pid), time.Now()
	b.ResetTimer()
	for range b.N {
		for range 4 {
			time.Sleep(30 * time.Second)
			s.get("/metrics")
		}
	}
	b.StopTimer()
	b.ReportMetric(100*(cpuTimeOf(b, pid)-was).Seconds()/time.Since(began).Seconds(), "cpu-percent-of-core")
	status := read(b, fmt.Sprintf("/proc/%d/status", pid))
	b.ReportMetric(statusKiB(b, status, "RssAnon:")/1024, "RssAnon-MiB")
	b.ReportMetric(statusKiB(b, status, "VmRSS:")/1024, "Rss-MiB")
	b.ReportMetric(float64(ownInstances(b, pid)), "own-inotify-instances")
}

func ownUserNS(t testing.TB) string {
	t.Helper()
	link, err := os.Readlink("/proc/self/ns/user")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Trim(link, "user:[]")
}

// cpuTimeOf returns utime and stime of proc_pid_stat(5).
func cpuTimeOf(t testing.TB, pid int) time.Duration {
	t.Helper()
	stat := read(t, fmt.Sprintf("/proc/%d/stat", pid))
	f := strings.Fields(stat[strings.LastIndex(stat, ")")+1:])
	user, err1 := strconv.ParseInt(f[11], 10, 64)
	system, err2 := strconv.ParseInt(f[12], 10, 64)
	if err1 != nil || err2 != nil {
		t.Fatalf("parse %q: %v, %v", stat, err1, err2)
	}
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100
}

func statusKiB(t testing.TB, status, name string) float64 {
	t.Helper()
	for line := range strings.Lines(status) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			if n, err := strconv.ParseFloat(strings.Fields(rest)[0], 64); err == nil {
				return n
			}
		}
	}
	t.Fatalf("no %s in\n%s", name, status)
	return 0
}

func ownInstances(t testing.TB, pid int) int {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range names {
		if link, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil && strings.Contains(link, "inotify") && strings.HasPrefix(link, "anon_inode") {
			n++
		}
	}
	return n
}
