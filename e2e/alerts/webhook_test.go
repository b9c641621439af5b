package alerts_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// forLine is the time for which an alert must be true.
var forLine = regexp.MustCompile(`(?m)^ +for: .*\n`)

type notification struct {
	Status string
	Alerts []struct {
		Status              string
		Labels, Annotations map[string]string
	}
}

// A real limit is used up; a real agent measures it, Prometheus evaluates the rules, and
// Alertmanager sends the alert to a webhook. The rules are as shipped, without `for`.
func TestAlertReachesTheWebhook(t *testing.T) {
	s := newScene(t)
	received := make(chan notification, 100)
	webhook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var n notification
		if err := json.NewDecoder(r.Body).Decode(&n); err != nil {
			t.Error(err)
		}
		received <- n
	}))
	t.Cleanup(webhook.Close)
	alertmanager := startAlertmanager(t, webhook.URL)
	began := time.Now()
	prometheus(t, map[string]string{"n1": s.agent}, rulesWithoutFor(t), alertmanager)

	for {
		select {
		case n := <-received:
			for _, a := range n.Alerts {
				if a.Labels["alertname"] != "NodetuneInotifyPressure" || a.Labels["severity"] != "critical" {
					continue
				}
				t.Logf("received after %s: %v", time.Since(began).Round(time.Millisecond), a)
				if a.Status != "firing" || a.Labels["node"] != "n1" {
					t.Errorf("%v, want it firing for the node n1", a)
				}
				if want := "inotify instances or watches are used up on n1"; a.Annotations["summary"] != want {
					t.Errorf("its summary is %q, want %q", a.Annotations["summary"], want)
				}
				if !strings.Contains(a.Annotations["description"], "A user has 100% of a limit in use") || !strings.Contains(a.Annotations["description"], causes["NodetuneInotifyPressure"]) || !strings.HasSuffix(a.Annotations["runbook_url"], "/docs/runbooks/NodetuneInotifyPressure.md") {
					t.Errorf("its annotations are %v", a.Annotations)
				}
				return
			}
		case <-time.After(patience):
			t.Fatal(errors.New("no alert was received"))
		}
	}
}

// startAlertmanager starts one that sends each alert to the webhook at once.
func startAlertmanager(t *testing.T, webhook string) string {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "alertmanager.yml")
	config := fmt.Sprintf(`route: {receiver: webhook, group_by: [alertname, node, severity], group_wait: 0s, group_interval: 1s}
receivers: [{name: webhook, webhook_configs: [{url: %q}]}]
`, webhook)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	start(t, "prometheus-alertmanager", "--config.file="+file, "--storage.path="+dir, "--web.listen-address="+address, "--cluster.listen-address=", "--log.level=warn")
	return address
}
