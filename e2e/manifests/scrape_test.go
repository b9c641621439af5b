package manifests_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/nodetune/nodetune/e2e/cluster"
)

// What the Prometheus operator makes of a PodMonitor is scraped by a real Prometheus:
// the labels of a workload stay, beside the target labels of the same names.
func TestWorkloadLabelsSurviveTheScrape(t *testing.T) {
	chart := func(t *testing.T, kind string, sets ...string) string {
		args := []string{"template", "nodetune", filepath.Join(deploy, "chart"), "--namespace", "nodetune", "--no-hooks", "--set", "metrics." + kind + ".enabled=true"}
		for _, s := range sets {
			args = append(args, "--set", s)
		}
		return helm(t, args...)
	}
	for _, tt := range []struct {
		name, text string
		lost       bool
	}{
		{name: "overlay prometheus-operator", text: kustomize(t, "prometheus-operator")},
		{name: "overlay victoria-metrics", text: kustomize(t, "victoria-metrics")},
		{name: "chart, PodMonitor", text: chart(t, "podMonitor")},
		{name: "chart, ServiceMonitor", text: chart(t, "serviceMonitor")},
		{name: "chart, VMPodScrape", text: chart(t, "vmPodScrape")},
		{name: "chart, honorLabels: false", text: chart(t, "podMonitor", "metrics.podMonitor.honorLabels=false"), lost: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			honor := honorLabels(t, tt.text)
			series := scrape(t, honor)
			got := series["nodetune_log_bytes"]
			want := map[string]string{"namespace": "shop", "pod": "cart-1", "container": "app", "node": "n1", "job": "nodetune"}
			if tt.lost {
				want["namespace"], want["exported_namespace"] = "nodetune", "shop"
				want["pod"], want["container"] = "nodetune-x", "nodetune"
			}
			for label, value := range want {
				if got[label] != value {
					t.Errorf("label %s is %q, want %q: %v", label, got[label], value, got)
				}
			}
			// Series without a workload are the agent's own.
			if own := series["nodetune_build_info"]; own["namespace"] != "nodetune" || own["pod"] != "nodetune-x" {
				t.Errorf("the agent's own series has %v", own)
			}
		})
	}
}

// honorLabels of the only endpoint in text.
func honorLabels(t *testing.T, text string) bool {
	t.Helper()
	type endpoints []struct{ HonorLabels bool }
	for doc := range strings.SplitSeq(text, "\n---\n") {
		var o struct {
			Kind string
			Spec struct{ Endpoints, PodMetricsEndpoints endpoints }
		}
		if err := yaml.Unmarshal([]byte(doc), &o); err != nil {
			continue // of another shape
		}
		if all := append(o.Spec.Endpoints, o.Spec.PodMetricsEndpoints...); len(all) == 1 && strings.HasSuffix(o.Kind, "Monitor") || o.Kind == "VMPodScrape" {
			return all[0].HonorLabels
		}
	}
	t.Fatal("no endpoint is scraped")
	return false
}

// scrape runs a Prometheus with the target labels of the operator and returns the
// labels of each series that it has got.
func scrape(t *testing.T, honor bool) map[string]map[string]string {
	t.Helper()
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "nodetune_log_bytes{namespace=\"shop\",pod=\"cart-1\",container=\"app\"} 7\nnodetune_build_info{version=\"v1\"} 1\n")
	}))
	t.Cleanup(agent.Close)
	dir := t.TempDir()
	config := fmt.Sprintf(`scrape_configs:
  - job_name: podMonitor/nodetune/nodetune/0
    honor_labels: %v
    scrape_interval: 1s
    static_configs:
      - targets: [%q]
        labels: {namespace: nodetune, pod: nodetune-x, container: nodetune, node: n1, job: nodetune, endpoint: metrics}
`, honor, agent.Listener.Addr())
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	cmd := exec.Command("prometheus", "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--log.level=error")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	series := map[string]map[string]string{}
	cluster.Eventually(t, "Prometheus has scraped", func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/api/v1/query?query="+url.QueryEscape(`{__name__=~"nodetune_.*"}`), nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		var answer struct {
			Data struct {
				Result []struct{ Metric map[string]string }
			}
		}
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
			return err
		}
		if len(answer.Data.Result) != 2 {
			return fmt.Errorf("%d series", len(answer.Data.Result))
		}
		for _, r := range answer.Data.Result {
			series[r.Metric["__name__"]] = r.Metric
		}
		return nil
	})
	return series
}
