package alerts_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/ledger"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/e2e/cluster"
	"github.com/nodetune/nodetune/e2e/dashboards"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/workload"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/condition"
	"github.com/nodetune/nodetune/reporter/health"
	"github.com/nodetune/nodetune/reporter/kube"
	"github.com/nodetune/nodetune/reporter/metrics"
	"github.com/nodetune/nodetune/sysctl"
)

const dashboardFiles = deploy + "/chart/files/dashboards/*.json"

// The chart and the component of Kustomize have the dashboards.
func TestDashboardsAreWritten(t *testing.T) {
	all := dashboards.All()
	object := "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: nodetune-dashboard\n  namespace: nodetune\n  labels:\n    grafana_dashboard: \"1\"\ndata:\n"
	size := 0
	for _, name := range slices.Sorted(maps.Keys(all)) {
		text, err := all[name].JSON()
		if err != nil {
			t.Fatal(err)
		}
		size += len(text)
		compare(t, filepath.Join(deploy, "chart/files/dashboards", name), text)
		object += "  " + name + ": |-\n" + indent(text, "    ")
	}
	compare(t, filepath.Join(deploy, "components/dashboards/dashboards.yaml"), object)
	// kubectl apply keeps the object in an annotation of 256 KiB, in which quotes are
	// escaped.
	if size > 180<<10 {
		t.Errorf("the dashboards have %d bytes", size)
	}
}

// Each panel has a title of its own, a description, a unit or words for its values, and
// runbooks that exist.
func TestPanelsAreComplete(t *testing.T) {
	uids := map[string]bool{}
	for name, d := range dashboards.All() {
		if uids[d.UID] || d.Title == "" || d.Description == "" {
			t.Errorf("%s has the uid %q again, or no title or description", name, d.UID)
		}
		uids[d.UID] = true
		runbooks := 0
		for _, row := range d.Rows {
			titles := map[string]bool{}
			for _, p := range row.Panels {
				where := name + ": " + row.Title + ": " + p.Title
				if p.Title == "" || titles[p.Title] || !strings.HasSuffix(p.Description, ".") {
					t.Errorf("%s has its title again, or no description", where)
				}
				titles[p.Title] = true
				if p.Unit == "" && p.Words == nil && p.Kind != dashboards.Table && p.Kind != dashboards.Text {
					t.Errorf("%s has no unit", where)
				}
				for _, q := range p.Queries {
					if q.Legend == "" {
						t.Errorf("%s has a query without a legend", where)
					}
				}
				if p.Runbook != "" {
					runbooks++
					if _, err := os.Stat("../../docs/runbooks/" + p.Runbook + ".md"); err != nil {
						t.Errorf("%s: %v", where, err)
					}
				}
			}
		}
		if runbooks < 5 {
			t.Errorf("%s links to %d runbooks", name, runbooks)
		}
	}
}

// shipped is what the test reads of a dashboard's file.
type shipped struct {
	Annotations struct {
		List []struct{ Name, Expr string }
	}
	Templating struct {
		List []struct {
			Name  string
			Query any
		}
	}
	Panels []struct {
		Title   string
		Targets []struct{ RefID, Expr string }
	}
}

// Each query of each dashboard is answered by a Prometheus that scrapes two nodes. n1
// is a real agent on a node in trouble. n2 is a page of the agent's exporter for what
// cannot be scripted without a cluster or a broken disk: writes to the API server, pods'
// demands, an eviction, failed calls, and acts.
func TestDashboardQueries(t *testing.T) {
	s := newScene(t)
	began := time.Now()
	address := prometheus(t, map[string]string{"n1": s.agent, "n2": exporter(t)}, rulesWithoutFor(t), "")
	files, err := filepath.Glob(dashboardFiles)
	if err != nil || len(files) != 3 {
		t.Fatalf("found %q (%v)", files, err)
	}
	queries := map[string]string{} // by where it is
	for _, file := range files {
		var d shipped
		if err := json.Unmarshal([]byte(read(t, file)), &d); err != nil {
			t.Fatal(err)
		}
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				queries[fmt.Sprintf("%s: %s: %s", filepath.Base(file), p.Title, q.RefID)] = q.Expr
			}
		}
		for _, a := range d.Annotations.List {
			queries[filepath.Base(file)+": annotation "+a.Name] = a.Expr
		}
		for _, v := range d.Templating.List {
			if q, ok := v.Query.(map[string]any); ok {
				queries[filepath.Base(file)+": variable "+v.Name] = labelValues.ReplaceAllString(fmt.Sprint(q["query"]), "$1")
			}
		}
	}
	if len(queries) < 100 {
		t.Errorf("only %d queries found", len(queries))
	}
	missing := maps.Clone(queries)
	cluster.Eventually(t, "every query has an answer", func(ctx context.Context) error {
		for where, expr := range missing {
			rows, err := query(ctx, address, substituted(expr))
			if err != nil {
				return err
			}
			if err := answers(expr, rows); err != nil {
				return fmt.Errorf("%s and %d more: %w\n%s", where, len(missing)-1, err, expr)
			}
			delete(missing, where)
		}
		return nil
	})
	t.Logf("%d queries were answered after %s", len(queries), time.Since(began).Round(time.Second))
	// The trouble of n1 is real, and has the names of its workload.
	const ofCart = `{node="n1",namespace="shop",pod="cart-1",container="app"}`
	for _, trouble := range []string{
		`nodetune_inotify_consumer_instances` + ofCart + ` == 128`,
		`nodetune_log_reader_lag_bytes` + ofCart + ` > 1e6`,
		`producer:nodetune_log_written_bytes:rate10m` + ofCart + ` > 1e5`,
		`node:nodetune_inotify_instances:ratio{node="n1"} == 1`,
		`ALERTS{alertname="NodetuneInotifyPressure",severity="critical",alertstate="firing",node="n1"}`,
		`ALERTS{alertname="NodetuneReaderPredictedLoss",alertstate="firing",node="n1"}`,
		`ALERTS{alertname="NodetuneLogStorm",alertstate="firing",node="n1",namespace="shop",pod="cart-1"}`,
	} {
		cluster.Eventually(t, trouble, func(ctx context.Context) error {
			rows, err := query(ctx, address, trouble)
			if err == nil && len(rows) == 0 {
				err = errors.New("no data")
			}
			return err
		})
	}
}

// labelValues matches the query of a variable.
var labelValues = regexp.MustCompile(`^label_values\((.*), [a-z]+\)$`)

// byNamespace matches a query whose answer names workloads.
var byNamespace = regexp.MustCompile(`by \([a-z, ]*\bnamespace\b`)

// substituted is expr as Grafana sends it, with all variables at All.
func substituted(expr string) string {
	return strings.NewReplacer("$__rate_interval", "15s", "$cluster", ".*", "$node", ".*", "$namespace", ".*").Replace(expr)
}

// answers reports whether rows are data: with numbers, of the workload itself, and not of the
// agent that reports it.
func answers(expr string, rows []row) error {
	if len(rows) == 0 {
		return errors.New("no data")
	}
	shop := false
	for _, r := range rows {
		if r.Metric["namespace"] == "nodetune" && byNamespace.MatchString(expr) {
			return fmt.Errorf("it blames the agent: %v", r.Metric)
		}
		shop = shop || r.Metric["namespace"] == "shop" && r.Metric["pod"] == "cart-1" && r.Metric["container"] == "app"
	}
	if byNamespace.MatchString(expr) && !shop {
		return fmt.Errorf("%d rows, and none of shop/cart-1", len(rows))
	}
	return nil
}

// exporter serves the agent's exporter over a snapshot of a node, and counters that
// grow.
func exporter(t *testing.T) string {
	t.Helper()
	now := time.Now()
	number := func(v float64) *float64 { return &v }
	evicts := uint64(20 << 30)
	offset := uint64(100)
	cart := workload.Workload{Namespace: "shop", Pod: "cart-1", Container: "app"}
	rule := func(k sysctl.Key) sysctl.Status {
		return sysctl.Status{Rule: sysctl.Rule{Key: k, Op: sysctl.AtLeast, Want: 8192, Ceiling: 131072}, Before: 128, Value: 8192, Outcome: sysctl.InForce, Changed: true}
	}
	contested := rule(sysctl.MaxUserWatches)
	contested.Outcome = sysctl.Contested
	lowered := sysctl.ObservedWrite{Key: sysctl.MaxUserWatches, First: now, Last: now, Count: 3, From: 8192, To: 128, BelowFloor: true, Process: "tail[7]", PID: 7, Namespace: cart.Namespace, Pod: cart.Pod, Container: cart.Container}
	snapshot := reporter.Snapshot{
		Sysctl:     reporter.Result[sysctl.PassResult]{At: now, Value: sysctl.PassResult{Rules: []sysctl.Status{rule(sysctl.MaxUserInstances), contested}, ObservedWrites: sysctl.ObservedWrites{lowered}}},
		NodePolicy: &reporter.NodePolicy{State: reporter.NodePolicyEnforced},
		Inotify: reporter.Result[inotify.Usage]{At: now, Value: inotify.Usage{
			Source: inotify.SourceKernel, HoldersSource: inotify.SourceWalk, Limits: inotify.Limits{FileMax: 4400, OpenFiles: 4032},
			Accounts: []inotify.Account{{Owner: inotify.Owner{UserNS: inotify.InitialUserNS}, Instances: 120, InstancesLimit: 8192, Watches: 4904, WatchesLimit: 524288}},
			Processes: []inotify.Process{{
				Comm: "tail", UserNS: inotify.InitialUserNS, Namespace: cart.Namespace, Pod: cart.Pod, Container: cart.Container, Instances: 1, Watches: 48, FDs: 900, NOFILESoft: 1024, QueuedEvents: 321, QueuedEventsLimit: 16384,
			}},
		}},
		Disk: reporter.Result[disk.Usage]{At: now, Value: disk.Usage{
			Filesystems: []filesystem.Filesystem{{Path: "/", State: filesystem.StateOK, SizeBytes: 200 << 30, AvailBytes: 30 << 30, Inodes: 1000, InodesFree: 400, GrowthBytesPerSecond: number(1 << 20), SecondsToFull: number(9000), SecondsToEviction: number(3000), EvictionAvailBytes: &evicts}},
			Producers:   []logs.Producer{{Kind: logs.KindContainer, Workload: cart, Path: "/var/log/pods/shop_cart-1_x/app", Bytes: 1 << 20, WrittenBytes: 1 << 20}},
			Readers:     []logs.Reader{{PID: 7, Comm: "tail", Who: cart, StalledSince: &now, PredictedLossBytes: 2 << 20, Log: cart, Path: "/var/log/pods/shop_cart-1_x/app/0.log", OffsetBytes: &offset, SizeBytes: 500, LagBytes: 400}},
			Scan:        disk.Scan{Skipped: map[string]int{"denied": 3}},
		}},
	}
	passes := func() []health.Pass {
		return []health.Pass{{Task: "disk", Every: 10 * time.Second, Since: now, Ended: now, Took: time.Second, Done: 7}}
	}
	exporter := metrics.NewExporter(func() reporter.Snapshot { return snapshot }, passes, metrics.Build{Version: "v1.2.3"})
	exporter.Reloaded(true, now)
	acts, failures := metrics.NewDiskActions(), metrics.NewSyscallFailures()
	exporter.Register(acts)
	exporter.Register(failures)
	var writes atomic.Uint64
	exporter.Register(metrics.NewGuard(func() (sysctl.GuardMode, []metrics.SysctlWrites) {
		return sysctl.GuardModes[0], []metrics.SysctlWrites{{Key: sysctl.MaxUserWatches, Lowered: writes.Add(1), Held: 1}}
	}))
	policy := condition.DefaultPolicy()
	policy.EnterPasses = 1
	for _, kind := range conditions(t) {
		policy.Types = append(policy.Types, corev1.NodeConditionType(kind))
	}
	node := kube.NewPublisher(nil, "n2", policy, kube.Hooks{})
	var bad []condition.Evaluation
	for _, kind := range policy.Types {
		bad = append(bad, condition.Evaluation{Type: kind, Severity: condition.Bad, Reason: "Scripted", At: now})
	}
	node.Update(bad, now)
	events := kube.NewEvents(func(string) kube.EventClient { return nil }, "n2", func() types.UID { return "" }, nil, func(string, error) {})
	exporter.Register(metrics.NewNode(node, events, func() kube.DemandStats {
		return kube.DemandStats{Floors: []kube.Floor{{Key: sysctl.MaxUserInstances, Want: 9000}}, Pods: map[string]int{"accepted": 1}}
	}))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		exporter.CountSysctl(snapshot.Sysctl.Value, snapshot.Sysctl.Value)
		acts.Count(logdir.Action{Verb: logdir.ActionRemove, Bytes: 1000, Unread: 100, Path: "/var/log/pods/shop_cart-1_" + podUID + "/app/0.log.20260131-120000.gz"})
		acts.CountLedger(ledger.Entries{Read: map[workload.Workload]uint64{{Namespace: "shop", Pod: "cart-1", Container: "app"}: 1000}}, time.Now())
		failures.Count(inotify.SyscallFailure{Call: "inotify_init1", Errno: 24, Resource: inotify.Instances, Comm: "tail", Namespace: "shop", Pod: "cart-1", Container: "app", Count: 20})
		exporter.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// Grafana knows each field of the dashboards, and its type: its own schema decodes them. A
// field that is left out has Grafana's default, which the schema counts as missing.
func TestDashboardsAreOfGrafana(t *testing.T) {
	plugins.RegisterDefaultPlugins()
	decode := func(text string) (d dashboard.Dashboard, wrong []string) { //nolint:staticcheck // what every Grafana imports; that of its successor is of the newest alone
		if err := d.UnmarshalJSONStrict([]byte(text)); err != nil {
			for line := range strings.Lines(err.Error()) {
				if !strings.Contains(line, "required field is missing from input") {
					wrong = append(wrong, strings.TrimSpace(line))
				}
			}
		}
		return d, wrong
	}
	files, err := filepath.Glob(dashboardFiles)
	if err != nil || len(files) != 3 {
		t.Fatalf("found %q (%v)", files, err)
	}
	for _, file := range files {
		name, text := filepath.Base(file), read(t, file)
		d, wrong := decode(text)
		if len(wrong) > 0 {
			t.Errorf("%s: %s", name, strings.Join(wrong, "\n"))
		}
		if err := d.Validate(); err != nil || len(d.Panels) < 15 {
			t.Errorf("%s has %d panels: %v", name, len(d.Panels), err)
		}
		// What the decoder is for: another name, another type, an option that is of no panel.
		for old, changed := range map[string]string{`"gridPos"`: `"gridPosition"`, `"schemaVersion": 39`: `"schemaVersion": "39"`, `"showHeader": true`: `"showHeaders": true`} {
			if _, wrong := decode(strings.Replace(text, old, changed, 1)); len(wrong) == 0 {
				t.Errorf("%s: %s instead of %s is not found", name, changed, old)
			}
		}
	}
}

// Each dashboard begins with who causes the trouble and what to do about it.
func TestDashboardsBeginWithTheCause(t *testing.T) {
	for name, d := range dashboards.All() {
		if len(d.Rows) < 3 || d.Rows[0].Title != "Who causes it" || d.Rows[1].Title != "What to do" {
			t.Errorf("%s begins with other rows", name)
		}
	}
}
