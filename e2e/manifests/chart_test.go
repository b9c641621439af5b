package manifests_test

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
)

func chart(t *testing.T, sets ...string) (string, error) {
	t.Helper()
	args := []string{"template", "nodetune", filepath.Join(deploy, "chart"), "--namespace", "nodetune", "--no-hooks"}
	for _, s := range sets {
		args = append(args, "--set", s)
	}
	return tryHelm(t, args...)
}

// Two pools are two DaemonSets whose selectors share no pod, each with the chart's
// configuration and its own over it, rules by key.
func TestPools(t *testing.T) {
	text, err := chart(t,
		"config.inotify.pressurePercent=75",
		"config.sysctl.rules[0].key=fs.inotify.max_user_instances", "config.sysctl.rules[0].atLeast=9000",
		"config.sysctl.rules[1].key=fs.file-max", "config.sysctl.rules[1].atLeast=2000000",
		"pools[0].name=small", "pools[0].nodeSelector.pool=small",
		"pools[1].name=large", "pools[1].nodeSelector.pool=large", "pools[1].goMemoryLimit=100MiB",
		"pools[1].config.sysctl.rules[0].key=fs.inotify.max_user_instances", "pools[1].config.sysctl.rules[0].atLeast=32768",
		"pools[1].config.inotify.horizon=2h",
	)
	if err != nil {
		t.Fatal(err)
	}
	makeNamespace(t, "nodetune")
	apply(t, text)
	rule := func(key string, atLeast float64) any { return map[string]any{"key": key, "atLeast": atLeast} }
	for pool, want := range map[string]struct {
		inotify map[string]any
		rules   []any
		memory  string
	}{
		"small": {map[string]any{"pressurePercent": 75.0}, []any{rule("fs.inotify.max_user_instances", 9000), rule("fs.file-max", 2000000)}, "51MiB"},
		"large": {map[string]any{"pressurePercent": 75.0, "horizon": "2h"}, []any{rule("fs.file-max", 2000000), rule("fs.inotify.max_user_instances", 32768)}, "100MiB"},
	} {
		t.Run(pool, func(t *testing.T) {
			var ds appsv1.DaemonSet
			var cm corev1.ConfigMap
			for name, into := range map[string]any{"daemonset/nodetune-" + pool: &ds, "configmap/nodetune-" + pool: &cm} {
				if err := json.Unmarshal([]byte(api.MustKubectl(t, "", "-n", "nodetune", "get", name, "-o", "json")), into); err != nil {
					t.Fatal(err)
				}
			}
			if got := ds.Spec.Selector.MatchLabels["nodetune.io/pool"]; got != pool {
				t.Errorf("its selector has %v", ds.Spec.Selector.MatchLabels)
			}
			if got := ds.Spec.Template.Spec.NodeSelector; got["pool"] != pool || got["kubernetes.io/os"] != "linux" {
				t.Errorf("its node selector is %v", got)
			}
			for _, e := range ds.Spec.Template.Spec.Containers[0].Env {
				if e.Name == "GOMEMLIMIT" && e.Value != want.memory {
					t.Errorf("GOMEMLIMIT is %s, want %s", e.Value, want.memory)
				}
			}
			if got := ds.Spec.Template.Spec.Volumes[0].ConfigMap.Name; got != cm.Name {
				t.Errorf("it mounts the configuration %s", got)
			}
			var config struct {
				Inotify map[string]any
				Sysctl  struct{ Rules []any }
			}
			if err := yaml.Unmarshal([]byte(cm.Data["config.yaml"]), &config); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(config.Inotify, want.inotify) || !reflect.DeepEqual(config.Sysctl.Rules, want.rules) {
				t.Errorf("its configuration is\n%s", cm.Data["config.yaml"])
			}
		})
	}
}

// Two pools whose long names differ only where a name is cut are two, and the API server
// takes both. A name that fits is not changed.
func TestLongPoolNames(t *testing.T) {
	const long = "a-release-of-nodetune-whose-name-is-long" // 40 bytes
	text, err := chart(t, "fullnameOverride="+long,
		"pools[0].name=general-purpose-with-local-ssds-a", "pools[0].nodeSelector.pool=a",
		"pools[1].name=general-purpose-with-local-ssds-b", "pools[1].nodeSelector.pool=b",
		"pools[2].name=gpu", "pools[2].nodeSelector.pool=c")
	if err != nil {
		t.Fatal(err)
	}
	makeNamespace(t, "nodetune")
	apply(t, text)
	var sets appsv1.DaemonSetList
	if err := json.Unmarshal([]byte(api.MustKubectl(t, "", "-n", "nodetune", "get", "daemonsets", "-o", "json")), &sets); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, ds := range sets.Items {
		if !strings.HasPrefix(ds.Name, long) {
			continue
		}
		if names = append(names, ds.Name); len(ds.Name) > 63 || ds.Spec.Template.Spec.Volumes[0].ConfigMap.Name != ds.Name {
			t.Errorf("%s has %d bytes, and mounts the configuration %s", ds.Name, len(ds.Name), ds.Spec.Template.Spec.Volumes[0].ConfigMap.Name)
		}
	}
	if len(names) != 3 || !slices.Contains(names, long+"-gpu") {
		t.Errorf("the pools are %q, want three, and one as it was", names)
	}
}

// Two releases in one namespace share no pod.
func TestTwoReleases(t *testing.T) {
	var selectors []string
	for _, release := range []string{"nodetune", "nodetune-gpu"} {
		var ds appsv1.DaemonSet
		text := helm(t, "template", release, filepath.Join(deploy, "chart"), "--no-hooks", "--show-only", "templates/daemonset.yaml")
		if err := yaml.Unmarshal([]byte(text), &ds); err != nil {
			t.Fatal(err)
		}
		for k, v := range ds.Spec.Selector.MatchLabels {
			if ds.Spec.Template.Labels[k] != v {
				t.Errorf("%s: the pods lack %s=%s", release, k, v)
			}
		}
		selectors = append(selectors, ds.Spec.Selector.MatchLabels["app.kubernetes.io/instance"])
	}
	if selectors[0] == selectors[1] {
		t.Errorf("both releases select the instance %q", selectors[0])
	}
}

// What a configuration asks for and the pod would not be granted is refused, with
// what to set instead.
func TestChartRefusesWhatItDoesNotGrant(t *testing.T) {
	for _, tt := range []struct{ sets, says string }{
		{"config.sysctl.rules[0].key=net.core.somaxconn,config.sysctl.rules[0].atLeast=1", "does not write net.core.somaxconn"},
		{"config.disk.mode=assist", "set disk.mode"},
		{"config.disk.logPaths[0]=/srv/log", "extraVolumeMounts at /host/root/srv/log"},
		{"config.disk.filesystems[0]=/data", "extraVolumeMounts at /host/root/data"},
		{"config.inotify.refusals=true", "set refusals and bpf"},
		{"config.inotify.raiseNOFILE[0]=fluent-bit", "needs hostPID"},
		{"config.reporter.openGate=true", "set startupTaint"},
		{"config.reporter.podDemands.enabled=true", "set podDemands.enabled"},
		{"refusals=true", "needs bpf and scan"},
		{"sysctl.guard=hold", "needs bpf and scan"},
		{"sysctl.guard=observe,bpf=true,scan=false", "needs bpf and scan"},
		{"config.sysctl.guard=hold", "set sysctl.guard and bpf"},
		{"disk.mode=assist,scan=false", "needs scan"},
		{"resourceQuota.enabled=true,priorityClassName=", "needs priorityClassName"},
		{"pools[0].name=a,pools[0].nodeSelector.a=b,pools[1].name=a,pools[1].nodeSelector.a=c", "two have the name"},
		{"pools[0].name=a,pools[0].nodeSelector.a=b,pools[0].config.inotify.refusals=true", "set refusals and bpf"},
	} {
		if _, err := chart(t, tt.sets); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("--set %s: %v, want an error that says %q", tt.sets, err, tt.says)
		}
	}
}

// Knobs, each with what it must put into the objects.
func TestChartKnobs(t *testing.T) {
	for _, tt := range []struct{ sets, want string }{
		{"global.imageRegistry=registry.example", "image: registry.example/nodetune/nodetune:latest"},
		{"image.registry=other.example,global.imageRegistry=registry.example", "image: registry.example/nodetune/nodetune:latest"},
		{"global.imagePullSecrets[0]=a,imagePullSecrets[0].name=b", "imagePullSecrets:\n        - name: a\n        - name: b\n"},
		{"hostNetwork=true,dnsPolicy=ClusterFirstWithHostNet", "hostNetwork: true"},
		{"hostPID=true", "hostPID: true"},
		{"seccompProfile.type=Localhost,seccompProfile.localhostProfile=nodetune-bpf.json", "localhostProfile: nodetune-bpf.json"},
		{"extraCapabilities[0]=KILL", `"KILL"]`},
		{"revisionHistoryLimit=0", "revisionHistoryLimit: 0"},
		{"minReadySeconds=7", "minReadySeconds: 7"},
		{"terminationGracePeriodSeconds=33", "terminationGracePeriodSeconds: 33"},
		{"daemonSetAnnotations.a=b", "annotations:\n    a: b"},
		{"namespaceOverride=elsewhere", "namespace: elsewhere"},
		{"probes.liveness.failureThreshold=9", "failureThreshold: 9"},
		{"log.level=debug", "- --log.level=debug"},
		{"log.format=text", "- --log.format=text"},
		{"metrics.port=9500", "- --web.listen-address=:9500"},
		{"metrics.port=9500", "containerPort: 9500"},
		{"config.inotify.canaryUIDs[0]=1000", `"SETUID"]`},
		{"config.sysctl.rules[0].key=user.max_inotify_instances,config.sysctl.rules[0].atLeast=9000", `"SYS_RESOURCE"]`},
		{"networkPolicy.enabled=true", "kubernetes.io/metadata.name: monitoring"},
		{"metrics.podMonitor.enabled=true,metrics.podMonitor.scrapeTimeout=9s", "scrapeTimeout: 9s"},
		{"metrics.podMonitor.enabled=true,metrics.podMonitor.labelLimit=40", "labelLimit: 40"},
		{"metrics.podMonitor.enabled=true,metrics.podMonitor.podTargetLabels[0]=team", "podTargetLabels:\n    - team"},
		{"metrics.podMonitor.enabled=true,metrics.podMonitor.sampleLimit=4000", "sampleLimit: 4000"},
		{"metrics.serviceMonitor.enabled=true,metrics.serviceMonitor.scrapeTimeout=9s", "scrapeTimeout: 9s"},
		{"metrics.serviceMonitor.enabled=true,metrics.serviceMonitor.labelLimit=40", "labelLimit: 40"},
		{"metrics.serviceMonitor.enabled=true,metrics.serviceMonitor.podTargetLabels[0]=team", "podTargetLabels:\n    - team"},
		{"metrics.vmPodScrape.enabled=true,metrics.vmPodScrape.scrapeTimeout=9s", "scrapeTimeout: 9s"},
		{"metrics.vmPodScrape.enabled=true,metrics.vmPodScrape.podTargetLabels[0]=team", "podTargetLabels:\n    - team"},
		{"metrics.vmPodScrape.enabled=true,metrics.vmPodScrape.sampleLimit=4000", "sampleLimit: 4000"},
		{"metrics.podMonitor.enabled=true,metrics.tls.secretName=s", "serverName: nodetune.nodetune.svc"},
		{"metrics.podMonitor.enabled=true,metrics.tls.secretName=s,metrics.tls.insecureSkipVerify=true", "insecureSkipVerify: true"},
		{"metrics.prometheusRule.enabled=true,nameOverride=tuner", `up{job="tuner"}`},
		{"metrics.prometheusRule.enabled=true,fullnameOverride=tuner", `daemonset="tuner"`},
		{"metrics.prometheusRule.enabled=true,metrics.prometheusRule.job=agents", `up{job="agents"}`},
		{`metrics.prometheusRule.enabled=true,metrics.prometheusRule.kubeStateMetricsSelector=job="ksm"`, `kube_pod_info{job="ksm",`},
		{`metrics.prometheusRule.enabled=true,metrics.prometheusRule.selector=namespace="x"`, `nodetune_condition{namespace="x",`},
		{"metrics.prometheusRule.enabled=true,metrics.prometheusRule.overrides.NodetuneSysctlDrift.for=99m", "for: 99m"},
		{"metrics.prometheusRule.enabled=true,metrics.prometheusRule.overrides.NodetuneInotifyPressure/critical.for=98m", "for: 98m"},
		{"metrics.prometheusRule.enabled=true,metrics.prometheusRule.thresholds.stormBytesPerSecond=5242880", "> 5242880 # stormBytesPerSecond"},
		{"metrics.prometheusRule.enabled=true,metrics.prometheusRule.thresholds.lossBudget=0.01", "* 0.01 # lossBudget"},
		{"metrics.prometheusRule.enabled=true,metrics.prometheusRule.runbookURL=https://wiki.example/nodetune/", "runbook_url: https://wiki.example/nodetune/NodetuneAbsent.md"},
		{`metrics.prometheusRule.enabled=true,metrics.prometheusRule.selector=namespace="x"`, `nodetune_open_files{namespace="x",}`},
		{"metrics.prometheusRule.enabled=true,metrics.prometheusRule.additionalRules[0].record=mine,metrics.prometheusRule.additionalRules[0].expr=up", "record: mine"},
		{"disk.mode=exclusive", "mode: exclusive"},
		{"disk.mode=own", "mode: own"}, // the old name of exclusive
		{"metrics.dashboard.enabled=true,metrics.dashboard.namespace=grafana", "namespace: grafana"},
		{"metrics.dashboard.enabled=true,metrics.dashboard.annotations.grafana_folder=Nodes", "grafana_folder: Nodes"},
	} {
		text, err := chart(t, tt.sets)
		if err != nil {
			t.Errorf("--set %s: %v", tt.sets, err)
		} else if !strings.Contains(text, tt.want) {
			t.Errorf("--set %s does not make %q", tt.sets, tt.want)
		}
	}
}

// The schema of the configuration is the agent's.
func TestSchemaIsTheAgents(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "run", "./cmd/nodetune", "config", "schema")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]any
	if err := json.Unmarshal(out, &want); err != nil {
		t.Fatal(err)
	}
	var schema struct{ Properties map[string]map[string]any }
	read(t, filepath.Join(deploy, "chart", "values.schema.json"), &schema)
	properties := want["properties"].(map[string]any)
	for _, own := range []string{"apiVersion", "kind"} { // the chart fills them in
		delete(properties, own)
	}
	if got := schema.Properties["config"]["properties"]; !reflect.DeepEqual(got, any(properties)) {
		t.Error("values.schema.json has another schema of the configuration than `nodetune config schema`: copy its properties, but apiVersion and kind, to .properties.config.properties")
	}
}
