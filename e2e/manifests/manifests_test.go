// Package manifests_test applies every manifest of deploy/ to a real API
// server and compares what Kustomize and Helm make of it. It needs no node.
package manifests_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/nodetune/nodetune/e2e/cluster"
)

var api *cluster.API

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "nodetune-manifests-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if api, err = cluster.StartAPI(ctx, dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer api.Stop()
	for _, crd := range crds {
		if err := crd.install(ctx); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return m.Run()
}

// crds are other projects' resource definitions, out of their Go modules.
var crds = []crd{
	{"github.com/prometheus-operator/prometheus-operator@v0.85.0", "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml"},
	{"github.com/prometheus-operator/prometheus-operator@v0.85.0", "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml"},
	{"github.com/prometheus-operator/prometheus-operator@v0.85.0", "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml"},
	{"github.com/VictoriaMetrics/operator@v0.50.0", "config/crd/overlay/crd.yaml"},
	{"github.com/openshift/api@v0.0.0-20251015095338-264e80a2b6e7", "payload-manifests/crds/0000_03_config-operator_01_securitycontextconstraints.crd.yaml"},
}

type crd struct{ module, file string }

func (c crd) install(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "go", "mod", "download", "-json", c.module).Output()
	if err != nil {
		return fmt.Errorf("go mod download %s: %w: %s", c.module, err, out)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		return err
	}
	// Server side: some are larger than an annotation may be.
	if _, err := api.Kubectl(ctx, "apply", "--server-side", "-f", filepath.Join(module.Dir, c.file)); err != nil {
		return err
	}
	_, err = api.Kubectl(ctx, "wait", "--for=condition=established", "--timeout=60s", "-f", filepath.Join(module.Dir, c.file))
	return err
}

const deploy = "../../deploy"

// variants are base and every overlay, each with its values file of the chart.
func variants(t *testing.T) []string {
	t.Helper()
	overlays, err := filepath.Glob(filepath.Join(deploy, "overlays", "*"))
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"base"}
	for _, o := range overlays {
		names = append(names, filepath.Base(o))
	}
	if len(names) < 8 {
		t.Fatalf("only %q found in %s", names, deploy)
	}
	return names
}

func kustomize(t *testing.T, variant string) string {
	t.Helper()
	dir := filepath.Join(deploy, "overlays", variant)
	if variant == "base" {
		dir = filepath.Join(deploy, "base")
	}
	return api.MustKubectl(t, "", "kustomize", dir)
}

func helm(t *testing.T, args ...string) string {
	t.Helper()
	out, err := tryHelm(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func tryHelm(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var stderr strings.Builder
	cmd := exec.Command("../bin/helm", args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+api.Kubeconfig, "HELM_CACHE_HOME="+t.TempDir(), "HELM_CONFIG_HOME="+t.TempDir(), "HELM_DATA_HOME="+t.TempDir())
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("helm %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out), nil
}

func values(variant string) string {
	return filepath.Join(deploy, "chart", "ci", variant+"-values.yaml")
}

// The API server takes every object, and knows every field of it.
func TestKustomizeIsAccepted(t *testing.T) {
	for _, variant := range append(variants(t), "cleanup") {
		t.Run(variant, func(t *testing.T) {
			if variant == "cleanup" {
				apply(t, api.MustKubectl(t, "", "kustomize", filepath.Join(deploy, "cleanup")))
				return
			}
			makeNamespace(t, "nodetune") // base has none
			apply(t, kustomize(t, variant))
		})
	}
}

// makeNamespace leaves it there: without a controller manager none is ever deleted.
func makeNamespace(t *testing.T, name string) {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := api.Client.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
}

// apply applies text and deletes it when t ends; but not its namespaces, which
// are never finished without a controller manager.
func apply(t *testing.T, text string) {
	t.Helper()
	namespaces, rest := split(text)
	for _, ns := range namespaces {
		api.MustKubectl(t, ns, "apply", "--validate=strict", "-f", "-")
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), cluster.Patience)
		defer cancel()
		if _, err := api.KubectlInput(ctx, rest, "delete", "--wait=false", "--ignore-not-found", "-f", "-"); err != nil {
			t.Error(err)
		}
	})
	api.MustKubectl(t, rest, "apply", "--validate=strict", "-f", "-")
}

// split returns the namespaces of text and all else.
func split(text string) (namespaces []string, rest string) {
	var others []string
	for _, doc := range strings.Split(text, "\n---\n") {
		if strings.Contains("\n"+doc+"\n", "\nkind: Namespace\n") {
			namespaces = append(namespaces, doc)
		} else {
			others = append(others, doc)
		}
	}
	return namespaces, strings.Join(others, "\n---\n")
}

// Who installs with Helm gets what who installs with Kustomize gets.
func TestChartEqualsKustomize(t *testing.T) {
	for _, variant := range variants(t) {
		t.Run(variant, func(t *testing.T) {
			chart := objects(t, helm(t, "template", "nodetune", filepath.Join(deploy, "chart"), "--namespace", "nodetune",
				"--set", fmt.Sprintf("namespace.create=%v", variant != "base"), "--no-hooks", "--values", values(variant)))
			kustomized := objects(t, kustomize(t, variant))
			for name, want := range kustomized {
				got, ok := chart[name]
				if !ok {
					t.Errorf("the chart lacks %s", name)
				} else if got != want {
					t.Errorf("%s differs\nchart:\n%s\nKustomize:\n%s", name, got, want)
				}
			}
			for name := range chart {
				if _, ok := kustomized[name]; !ok {
					t.Errorf("Kustomize lacks %s", name)
				}
			}
		})
	}
}

// objects returns each object of text as JSON, without the labels that only
// Helm gives and with its configuration read.
func objects(t *testing.T, text string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096); ; {
		var o map[string]any
		if err := decoder.Decode(&o); err != nil {
			if err.Error() == "EOF" {
				return all
			}
			t.Fatal(err)
		}
		if o == nil {
			continue
		}
		meta := o["metadata"].(map[string]any)
		if labels, ok := meta["labels"].(map[string]any); ok {
			for _, l := range []string{"helm.sh/chart", "app.kubernetes.io/managed-by", "app.kubernetes.io/instance", "app.kubernetes.io/version"} {
				delete(labels, l)
			}
		}
		if data, ok := o["data"].(map[string]any); ok {
			config := map[string]any{}
			for _, name := range slices.Sorted(maps.Keys(data)) {
				text, ok := data[name].(string)
				if !ok || !strings.HasSuffix(name, ".yaml") {
					continue
				}
				var part map[string]any
				if err := yaml.Unmarshal([]byte(text), &part); err != nil {
					t.Fatal(err)
				}
				if err := mergeInto(config, part); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				delete(data, name)
			}
			data["the files of a directory"] = config
		}
		b, err := json.MarshalIndent(sorted(o), "", " ")
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprint(o["kind"], " ", meta["namespace"], "/", meta["name"])
		if _, twice := all[name]; twice {
			t.Errorf("%s is there twice", name)
		}
		all[name] = string(b)
	}
}

// mergeInto merges the files of a configuration as the agent does: two values of one
// field must be equal.
func mergeInto(all, part map[string]any) error {
	for key, value := range part {
		before, ok := all[key]
		if !ok {
			all[key] = value
			continue
		}
		a, aMap := before.(map[string]any)
		b, bMap := value.(map[string]any)
		if aMap && bMap {
			if err := mergeInto(a, b); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
		} else if !reflect.DeepEqual(before, value) {
			return fmt.Errorf("%s is %v and %v", key, before, value)
		}
	}
	return nil
}

// sorted orders the lists of which the API server makes a map by name.
func sorted(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, e := range v {
			v[key] = sorted(e)
			if list, ok := e.([]any); ok && slices.Contains([]string{"volumes", "volumeMounts", "env"}, key) {
				slices.SortFunc(list, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
			}
		}
	case []any:
		for i, e := range v {
			v[i] = sorted(e)
		}
	}
	return v
}

// With everything on, each object passes the API server too.
func TestChartIsAccepted(t *testing.T) {
	text := helm(t, "template", "nodetune", filepath.Join(deploy, "chart"), "--namespace", "nodetune", "--set", strings.Join([]string{
		"namespace.create=true", "exact=true", "startupTaint=true", "openshift=true", "networkPolicy.enabled=true",
		"metrics.tls.secretName=nodetune-tls", "metrics.podMonitor.enabled=true", "metrics.podMonitor.interval=30s", "metrics.podMonitor.sampleLimit=1000",
		"metrics.serviceMonitor.enabled=true", "metrics.prometheusRule.enabled=true",
		"metrics.vmPodScrape.enabled=true", "metrics.vmRule.enabled=true", "metrics.dashboard.enabled=true",
		"metrics.prometheusRule.disabled={NodetuneAbsent}",
		"extraObjects[0].apiVersion=v1", "extraObjects[0].kind=ConfigMap", "extraObjects[0].metadata.name=more", "extraObjects[0].metadata.namespace=nodetune",
		"image.digest=sha256:0000000000000000000000000000000000000000000000000000000000000000",
	}, ","))
	apply(t, text)
	for _, want := range []string{"kind: ServiceMonitor", "name: more", "@sha256:0000", "kind: Job"} {
		if !strings.Contains(text, want) {
			t.Errorf("the chart does not render %q", want)
		}
	}
	if strings.Contains(text, "alert: NodetuneAbsent") {
		t.Errorf("an alert that is disabled is still there")
	}
}

func TestChartRefusesUnknownValues(t *testing.T) {
	for _, set := range []string{"config.inotify.presurePercent=80", "config.sysctl.rules[0].atleast=1", "pools[0].name=a", "serviceAccount.name=default", "exakt=true", "exact=perhaps", "image.pullPolicy=Sometimes", "config.profil=default", "metrics.podMonitor.enable=true", "metrics.prometheusRule.thresholds.stormFaktor=7"} {
		if _, err := tryHelm(t, "template", "nodetune", filepath.Join(deploy, "chart"), "--set", set); err == nil {
			t.Errorf("helm takes --set %s", set)
		}
	}
}

// Every value is in the schema, so that a misspelt one is refused.
func TestSchemaKnowsEveryValue(t *testing.T) {
	var schema struct {
		AdditionalProperties *bool
		Properties           map[string]any
	}
	var defaults map[string]any
	read(t, filepath.Join(deploy, "chart", "values.schema.json"), &schema)
	read(t, filepath.Join(deploy, "chart", "values.yaml"), &defaults)
	if schema.AdditionalProperties == nil || *schema.AdditionalProperties {
		t.Errorf("the schema takes values it does not know")
	}
	for name := range defaults {
		if _, ok := schema.Properties[name]; !ok {
			t.Errorf("values.yaml has %s, values.schema.json has not", name)
		}
	}
	for name := range schema.Properties {
		if _, ok := defaults[name]; !ok && name != "global" {
			t.Errorf("values.schema.json has %s, values.yaml has not", name)
		}
	}
}

func read(t *testing.T, file string, into any) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(b, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// Go's own limit stays below the container's, or the kernel kills first.
func TestMemoryLimit(t *testing.T) {
	text := kustomize(t, "base")
	if !strings.Contains(text, "memory: 64Mi") || !strings.Contains(text, "value: 51MiB") {
		t.Errorf("want GOMEMLIMIT=51MiB (four fifths) with a limit of 64Mi")
	}
	if strings.Contains(text, "privileged: true") || strings.Contains(text, "hostNetwork: true") {
		t.Errorf("base asks for privileged or hostNetwork")
	}
}
