package alerts_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/nodetune/nodetune/e2e/cluster"
)

// causes is what the annotations of an alert say about who causes it, on the nodes of
// [TestAnnotationsNameTheCause].
var causes = map[string]string{
	"NodetuneInotifyPressure":         "fluent-bit of shop/cart-1:app holds 100% of the limit of inotify_instances",
	"NodetuneInotifyAtCeiling":        "fluent-bit of shop/cart-1:app holds 100% of the limit",
	"NodetuneLimitExhaustionForecast": "fluent-bit of shop/cart-1:app holds 100% of the limit of inotify_instances",
	"NodetuneFileDescriptorPressure":  "tail of shop/cart-1:app holds 20.45% of the limit of open_files",
	"NodetuneProcessNearFileLimit":    "tail of shop/cart-1:app has 87.89% of its RLIMIT_NOFILE open",
	"NodetuneInotifyCallsFailing":     "tail of shop/cart-1:app was refused most often",
	"NodetuneSysctlDrift":             "tail of shop/cart-1:app lowered fs.inotify.max_user_watches 3 times in the last hour",
	"NodetuneSysctlContested":         "tail of shop/cart-1:app lowered it 3 times in the last hour",
	"NodetuneSysctlLoweredByOther":    "tail of shop/cart-1:app lowered it 3 times in the last hour",
	"NodetuneLogDiskPressure":         "shop/cart-1:app holds 1MiB of logs, more than any other",
	"NodetuneEvictionForecast":        "shop/cart-1:app holds 1MiB of logs, more than any other",
	"NodetuneLogStorm":                "`kubectl -n shop logs cart-1 -c app --tail=20` shows what it writes",
	"NodetuneLogCollectorStalled":     "tail of shop/cart-1:app has stopped reading 1 of its logs. `kubectl -n shop delete pod cart-1` restarts it.",
	"NodetuneReaderPredictedLoss":     "fluent-bit of shop/cart-1:app would lose ",
	"NodetuneUnreadLinesLost":         "of unread logs of shop/cart-1:app were removed",
	"NodetuneLogLossBudgetBurn":       "Most was lost of shop/cart-1:app on n2",
}

// otherwise is how the other alerts name what is wrong: no workload causes it.
var otherwise = map[string]string{
	"NodetuneAbsent": "the node", "NodetuneConfigurationRefused": "a file", "NodetuneFilesystemReadOnly": "a filesystem",
	"NodetuneFilesystemHung": "a filesystem", "NodetuneActsFailing": "an act", "NodetuneCorruptArchive": "the command that lists them",
	"NodetunePauseForgotten": "a file", "NodetunePassStuck": "a task", "NodetunePassesFailing": "a task", "NodetuneConditionUnknown": "a condition",
	"NodetuneAPIWritesFailing": "the API server", "NodetuneKernelCountersLost": "the kernel", "NodetuneNodePolicyNotEnforced": "a policy",
}

// fired is an alert as Prometheus shows it.
type fired struct{ Labels, Annotations map[string]string }

func firedAlerts(ctx context.Context, prometheus string) ([]fired, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+prometheus+"/api/v1/alerts", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct{ Data struct{ Alerts []fired } }
	err = json.NewDecoder(resp.Body).Decode(&answer)
	return answer.Data.Alerts, err
}

// Each alert about a workload names it in its annotations, as a real Prometheus renders
// them. n1 is a real agent on a node in trouble, n2 a page of the agent's exporter.
func TestAnnotationsNameTheCause(t *testing.T) {
	for _, r := range rules(t) {
		if _, ok := causes[r.Alert]; r.Alert != "" && ok == (otherwise[r.Alert] != "") {
			t.Errorf("%s is in causes and otherwise, or in none of them", r.Alert)
		}
	}
	s := newScene(t)
	address := prometheus(t, map[string]string{"n1": s.agent, "n2": exporter(t)}, rulesWithoutFor(t), "")
	missing := map[string]string{}
	for name, cause := range causes {
		missing[name] = cause
	}
	cluster.Eventually(t, "each alert names its cause", func(ctx context.Context) error {
		alerts, err := firedAlerts(ctx, address)
		if err != nil {
			return err
		}
		var seen []string
		for _, a := range alerts {
			name, text := a.Labels["alertname"], a.Annotations["summary"]+"\n"+a.Annotations["description"]
			if strings.Contains(text, "error ") || strings.Contains(text, "<no value>") {
				return fmt.Errorf("%s was not rendered: %s", name, text)
			}
			if want, ok := missing[name]; ok && strings.Contains(text, want) {
				delete(missing, name)
			} else if ok {
				seen = append(seen, name+": "+text)
			}
		}
		if len(missing) > 0 {
			slices.Sort(seen)
			return fmt.Errorf("missing are %q\n%s", missing, strings.Join(seen, "\n"))
		}
		return nil
	})
}
