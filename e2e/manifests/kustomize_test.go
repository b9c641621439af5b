package manifests_test

import (
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// Every Kustomization is built by the kustomize of each supported kubectl, and all
// make the same objects as this kubectl.
func TestEveryKubectl(t *testing.T) {
	versions, err := filepath.Glob("../bin/kustomize-kubectl-1.*") // make e2e-tools
	if err != nil || len(versions) < 6 {
		t.Fatalf("found %q (%v), want the kustomize of at least six versions of kubectl", versions, err)
	}
	dirs := []string{filepath.Join(deploy, "cleanup")}
	for _, variant := range variants(t) {
		if variant == "base" {
			dirs = append(dirs, filepath.Join(deploy, variant))
			continue
		}
		dirs = append(dirs, filepath.Join(deploy, "overlays", variant))
	}
	want := map[string]map[string]string{}
	for _, dir := range dirs {
		want[dir] = objects(t, api.MustKubectl(t, "", "kustomize", dir))
	}
	for _, v := range versions {
		for dir, text := range kustomizeAll(t, v, dirs) {
			got := objects(t, text)
			if len(got) != len(want[dir]) {
				t.Errorf("%s makes of %s %d objects, want %d", v, dir, len(got), len(want[dir]))
			}
			for name, is := range want[dir] {
				if got[name] != is {
					t.Errorf("%s makes of %s in %s\n%s\nwant\n%s", v, name, dir, got[name], is)
				}
			}
		}
	}
}

// kustomizeAll returns what the program makes of each directory.
func kustomizeAll(t *testing.T, program string, dirs []string) map[string]string {
	t.Helper()
	var errs strings.Builder
	cmd := exec.CommandContext(t.Context(), program, dirs...)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil || errs.Len() > 0 {
		t.Fatalf("%s: %v\n%s", program, err, errs.String())
	}
	texts := strings.Split(string(out), "\x00")
	if len(texts) != len(dirs)+1 {
		t.Fatalf("%s made %d texts of %d directories", program, len(texts)-1, len(dirs))
	}
	all := map[string]string{}
	for i, dir := range dirs {
		all[dir] = texts[i]
	}
	return all
}

// unlike are components that take away what the other one needs.
var unlike = map[string][]string{
	"minimal": {"assist", "bpf", "bpf-only", "exact", "guard", "refusals", "pod-demands", "report-authorised", "startup-taint"},
	"seccomp": {"seccomp-bpf"},

	"bpf-only": {"assist", "bpf"},
}

// Any two components go together, in either order: what one asks for stays, and the
// SecurityContextConstraints allow it.
func TestEveryPairOfComponents(t *testing.T) {
	found, err := filepath.Glob(filepath.Join(deploy, "components", "*"))
	if err != nil || len(found) < 12 {
		t.Fatalf("found %q (%v)", found, err)
	}
	var names []string
	for _, f := range found {
		names = append(names, filepath.Base(f))
	}
	base := objects(t, kustomizeIn(t, ""))
	alone := map[string]map[string]string{}
	for _, n := range names {
		alone[n] = objects(t, kustomizeIn(t, "", n))
	}
	type pair struct{ first, second string }
	pairs := map[string]pair{}
	for _, a := range names {
		for _, b := range names {
			// openshift copies what the DaemonSet adds, and Kustomize takes an empty list
			// for a missing one: minimal comes after it.
			if a == b || a == "minimal" && b == "openshift" || slices.Contains(unlike[a], b) || slices.Contains(unlike[b], a) {
				continue
			}
			pairs[kustomizationOf(t, "", a, b)] = pair{a, b}
		}
	}
	newest := "../bin/kustomize-kubectl-1.37" // TestEveryKubectl: as the others
	for dir, text := range kustomizeAll(t, newest, slices.Collect(maps.Keys(pairs))) {
		p := pairs[dir]
		together(t, p.first+", "+p.second, base, alone[p.first], alone[p.second], text)
	}
}

// together checks that text has every change that first and second make to base.
func together(t *testing.T, what string, base, first, second map[string]string, text string) {
	got := objects(t, text)
	for _, one := range []map[string]string{first, second} {
		for name, is := range one {
			if strings.HasPrefix(name, "SecurityContextConstraints ") {
				continue // they follow the DaemonSet, below
			}
			before := lines(base[name])
			after := lines(got[name])
			for line := range lines(is) {
				if !before[line] && !after[line] {
					t.Errorf("%s: %s lacks %s", what, name, strings.TrimSpace(line))
				}
			}
		}
	}
	var scc struct {
		AllowedCapabilities []string
		AllowHostPID        bool
		AllowHostNetwork    bool
		AllowHostPorts      bool
	}
	constraints, ok := got["SecurityContextConstraints <nil>/nodetune"]
	if !ok {
		return
	}
	var ds appsv1.DaemonSet
	for text, into := range map[string]any{constraints: &scc, got["DaemonSet nodetune/nodetune"]: &ds} {
		if err := yaml.Unmarshal([]byte(text), into); err != nil {
			t.Error(err)
		}
	}
	var asked []string
	for _, c := range ds.Spec.Template.Spec.Containers[0].SecurityContext.Capabilities.Add {
		asked = append(asked, string(c))
	}
	if slices.Sort(asked); fmt.Sprint(asked) != fmt.Sprint(slices.Sorted(slices.Values(scc.AllowedCapabilities))) {
		t.Errorf("%s: the DaemonSet adds %q, the SecurityContextConstraints allow %q", what, asked, scc.AllowedCapabilities)
	}
	if ds.Spec.Template.Spec.HostPID != scc.AllowHostPID {
		t.Errorf("%s: hostPID %v, allowed %v", what, ds.Spec.Template.Spec.HostPID, scc.AllowHostPID)
	}
	if on := ds.Spec.Template.Spec.HostNetwork; on != scc.AllowHostNetwork || on != scc.AllowHostPorts {
		t.Errorf("%s: hostNetwork %v, allowed %v, its ports %v", what, on, scc.AllowHostNetwork, scc.AllowHostPorts)
	}
}

// lines returns those of an object as JSON, without the text after a value.
func lines(text string) map[string]bool {
	all := map[string]bool{}
	for line := range strings.Lines(text) {
		all[strings.TrimRight(line, ",\n")] = true
	}
	return all
}

// What is mounted writable of /proc/sys is what nodetune writes: binfmt_misc below
// /proc/sys/fs would run programs as root of the host.
func TestNarrowMounts(t *testing.T) {
	allowed := []string{"/proc/sys/fs/inotify", "/proc/sys/fs/epoll", "/proc/sys/fs/file-max"}
	for _, variant := range variants(t) {
		narrow(t, variant, kustomize(t, variant), allowed)
	}
	rules := []string{
		"config.sysctl.rules[0].key=vm.max_map_count", "config.sysctl.rules[0].atLeast=262144",
		"config.sysctl.rules[1].key=fs.inotify.max_user_watches", "config.sysctl.rules[1].atLeast=1048576",
		"config.sysctl.rules[2].key=fs.nr_open", "config.sysctl.rules[2].atLeast=2097152",
		"config.sysctl.rules[3].key=user.max_inotify_instances", "config.sysctl.rules[3].reportOnly=true",
	}
	for _, scan := range []string{"true", "false"} {
		text := helm(t, "template", "nodetune", filepath.Join(deploy, "chart"), "--no-hooks", "--set", strings.Join(append(rules, "scan="+scan), ","))
		narrow(t, "chart with rules, scan="+scan, text, append(allowed, "/proc/sys/vm/max_map_count", "/proc/sys/fs/nr_open"))
	}
}

func narrow(t *testing.T, what, text string, want []string) {
	t.Helper()
	var ds appsv1.DaemonSet
	for doc := range strings.SplitSeq(text, "\n---\n") {
		if strings.Contains("\n"+doc, "\nkind: DaemonSet\n") {
			if err := yaml.Unmarshal([]byte(doc), &ds); err != nil {
				t.Fatal(err)
			}
		}
	}
	paths := map[string]string{}
	for _, v := range ds.Spec.Template.Spec.Volumes {
		if v.HostPath != nil {
			paths[v.Name] = v.HostPath.Path
		}
	}
	var got []string
	for _, m := range ds.Spec.Template.Spec.Containers[0].VolumeMounts {
		path := paths[m.Name]
		if !m.ReadOnly && (path == "/" || path == "/proc" || strings.HasPrefix(path, "/proc/") || strings.HasPrefix(path, "/sys")) {
			got = append(got, path)
			if m.MountPath != "/host"+path {
				t.Errorf("%s: %s is mounted at %s", what, path, m.MountPath)
			}
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		t.Errorf("%s mounts %q writable, want %q", what, got, want)
	}
}
