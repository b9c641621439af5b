package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// listed is what go list -json reports of a package.
type listed struct {
	ImportPath string
	Doc        string
	Imports    []string
	Deps       []string
}

func list(t *testing.T, args ...string) []listed {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Doc,Imports,Deps"}, args...)...)
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", cmd.Args, err)
	}
	var all []listed
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

const module = "github.com/nodetune/nodetune/"

// arrows has a line for each package: the packages of this module that it
// imports. A package may import those of the lines above it only, so no
// arrow points up. Packages below internal come first.
var arrows = []struct{ from, to string }{
	{"internal/atomicfile", ""},
	{"internal/disktest", ""},
	{"internal/document", ""},
	{"internal/errnotest", ""},
	{"internal/field", ""},
	{"internal/goldentest", ""},
	{"internal/hostfs", ""},
	{"internal/hostfstest", "internal/hostfs"},
	{"internal/inotifytest", ""},
	{"internal/kernelmem", ""},
	{"internal/meminfo", ""},
	{"internal/openfiles", ""},
	{"internal/privtest", ""},
	{"internal/safetext", ""},
	{"internal/shelltest", ""},
	{"internal/workload", "internal/hostfs internal/safetext"},
	{"internal/logerrors", "internal/field internal/hostfs internal/workload"},
	{"internal/procwalk", "internal/hostfs internal/workload"},
	{"internal/instances", "internal/meminfo internal/procwalk"},
	{"sysctl", "internal/atomicfile internal/field internal/kernelmem internal/meminfo"},
	{"sysctl/guard", "internal/workload sysctl"},
	{"sysctl/sysctld", "internal/atomicfile sysctl"},
	{"inotify", "internal/field internal/kernelmem internal/procwalk internal/workload"},
	{"inotify/bpf", "inotify internal/openfiles internal/procwalk"},
	{"inotify/procscan", "inotify internal/instances internal/meminfo internal/procwalk internal/workload"},
	{"inotify/tracefs", "inotify internal/procwalk"},
	{"disk/cri", "internal/workload"},
	{"disk/hostconfig", "internal/field internal/hostfs internal/workload"},
	{"disk/filesystem", "disk/hostconfig internal/field internal/hostfs"},
	{"disk/journal", "internal/hostfs"},
	{"disk/logdir", "disk/hostconfig internal/hostfs internal/procwalk internal/workload"},
	{"disk/archive", "disk/journal disk/logdir internal/field"},
	{"disk/logs", "disk/archive disk/filesystem disk/hostconfig disk/logdir internal/field internal/hostfs internal/instances internal/openfiles internal/procwalk internal/workload"},
	{"disk/ledger", "disk/logs internal/hostfs internal/procwalk internal/workload"},
	{"disk/rotate", "disk/archive disk/hostconfig disk/logdir internal/field internal/hostfs internal/procwalk internal/safetext internal/workload"},
	{"disk/containerlog", "disk/archive disk/filesystem disk/hostconfig disk/logdir disk/rotate internal/field internal/hostfs internal/workload"},
	{"disk/reclaim", "disk/archive disk/filesystem disk/hostconfig disk/journal disk/logdir disk/logs disk/rotate internal/field internal/hostfs internal/workload"},
	{"disk", "disk/filesystem disk/hostconfig disk/journal disk/logs disk/reclaim disk/rotate internal/field internal/hostfs internal/instances internal/procwalk internal/workload"},
	{"reporter", "disk disk/logdir disk/logs inotify internal/field sysctl sysctl/sysctld"},
	{"reporter/authn", ""},
	{"reporter/diagnosis", "inotify internal/safetext internal/workload reporter sysctl sysctl/sysctld"},
	{"reporter/health", ""},
	{"reporter/internal/reportertest", "disk disk/filesystem disk/logdir disk/logs disk/reclaim inotify internal/workload sysctl"},
	{"reporter/nodestatus", ""},
	{"reporter/condition", "disk inotify internal/field internal/safetext internal/workload reporter reporter/nodestatus sysctl"},
	{"reporter/recommend", "internal/safetext"},
	{"reporter/recommend/reports", "inotify reporter reporter/recommend sysctl"},
	{"reporter/text", "disk disk/filesystem disk/logs inotify internal/field internal/safetext internal/workload reporter reporter/diagnosis sysctl sysctl/sysctld"},
	{"reporter/kube", "disk inotify internal/field internal/logerrors internal/safetext internal/workload reporter reporter/condition reporter/nodestatus reporter/text sysctl"},
	{"reporter/metrics", "disk disk/filesystem disk/ledger disk/logdir disk/logs disk/reclaim inotify internal/safetext internal/workload reporter reporter/health reporter/kube reporter/text sysctl"},
	{"reporter/page", "disk disk/filesystem disk/logs inotify internal/field internal/safetext internal/workload reporter reporter/condition reporter/text sysctl"},
	{"reporter/top", "disk inotify internal/safetext internal/workload reporter reporter/diagnosis reporter/text"},
	{"reporter/view", ""},
	{"reporter/fleet", "internal/field internal/safetext reporter/nodestatus reporter/view"},
	{"reporter/web", "disk/logs internal/field reporter reporter/page"},
	{"cmd/kubectl-nodetune/internal/bundle", "reporter/fleet"},
	{"cmd/kubectl-nodetune/internal/cluster", "reporter/fleet reporter/view"},
	{"cmd/kubectl-nodetune/internal/show", "internal/field internal/safetext reporter/view"},
	{"cmd/kubectl-nodetune/internal/status", "cmd/kubectl-nodetune/internal/cluster internal/safetext reporter/fleet"},
	{"cmd/kubectl-nodetune/internal/cli", "cmd/kubectl-nodetune/internal/bundle cmd/kubectl-nodetune/internal/cluster cmd/kubectl-nodetune/internal/show cmd/kubectl-nodetune/internal/status internal/document internal/safetext reporter/fleet reporter/recommend reporter/view"},
	{"cmd/kubectl-nodetune", "cmd/kubectl-nodetune/internal/cli"},
	{"cmd/nodetune/internal/config", "disk disk/reclaim disk/rotate inotify internal/field internal/logerrors reporter reporter/condition reporter/kube reporter/web sysctl"},
	{"cmd/nodetune/internal/demo", ""},
	{"cmd/nodetune/internal/host", ""},
	{"cmd/nodetune/internal/accounting", "cmd/nodetune/internal/host inotify inotify/bpf inotify/procscan inotify/tracefs internal/openfiles internal/workload reporter"},
	{"cmd/nodetune/internal/seccomp", ""},
	{"cmd/nodetune/internal/version", ""},
	{"cmd/nodetune/internal/agent", "cmd/nodetune/internal/accounting cmd/nodetune/internal/config cmd/nodetune/internal/host cmd/nodetune/internal/version disk disk/containerlog disk/cri disk/filesystem disk/hostconfig disk/ledger disk/logdir disk/reclaim inotify inotify/bpf inotify/procscan internal/field internal/logerrors internal/openfiles internal/safetext internal/workload reporter reporter/authn reporter/condition reporter/health reporter/kube reporter/metrics reporter/page reporter/text reporter/web sysctl sysctl/guard sysctl/sysctld"},
	{"cmd/nodetune/internal/cli", "cmd/nodetune/internal/accounting cmd/nodetune/internal/agent cmd/nodetune/internal/config cmd/nodetune/internal/demo cmd/nodetune/internal/host cmd/nodetune/internal/seccomp cmd/nodetune/internal/version disk disk/archive disk/logdir disk/reclaim disk/rotate inotify inotify/procscan internal/document internal/field internal/procwalk internal/safetext internal/workload reporter reporter/diagnosis reporter/fleet reporter/kube reporter/page reporter/recommend reporter/recommend/reports reporter/text reporter/top reporter/web sysctl sysctl/guard sysctl/sysctld"},
	{"cmd/nodetune", "cmd/nodetune/internal/cli"},
}

// bans are packages that may not be linked, even through others, below a prefix.
var bans = []struct {
	below string
	ban   []string
}{
	{"internal", []string{"k8s.io/", "github.com/prometheus/client_golang", "github.com/spf13/"}},
	{"sysctl", []string{"k8s.io/", "github.com/prometheus/client_golang", "log/slog", "github.com/spf13/"}},
	{"inotify", []string{"k8s.io/", "github.com/prometheus/client_golang", "github.com/spf13/"}},
	{"disk", []string{"k8s.io/client-go", "k8s.io/api/", "github.com/prometheus/client_golang", "github.com/spf13/"}},
	{"reporter", []string{"github.com/spf13/cobra"}},
	{"reporter/condition", []string{"k8s.io/client-go", "github.com/prometheus/client_golang"}},
	{"reporter/diagnosis", []string{"k8s.io/client-go", "github.com/prometheus/client_golang"}},
	{"reporter/text", []string{"k8s.io/client-go", "github.com/prometheus/client_golang"}},
	{"reporter/top", []string{"k8s.io/client-go", "github.com/prometheus/client_golang"}},
	// The typed clients register every API group, and the schemas of server-side
	// apply, when any program starts that links one.
	{"", []string{"k8s.io/client-go/kubernetes", "sigs.k8s.io/structured-merge-diff/v6/typed"}},
}

func TestDependenciesPointOneWay(t *testing.T) {
	above := map[string]bool{}
	want := map[string]string{}
	for _, a := range arrows {
		for _, to := range strings.Fields(a.to) {
			if !above[to] {
				t.Errorf("%s imports %s, which is not listed above it", a.from, to)
			}
		}
		above[a.from], want[a.from] = true, a.to
	}
	for _, p := range list(t, "./...") {
		name := strings.TrimPrefix(p.ImportPath, module)
		var imports []string
		for _, i := range p.Imports {
			if in, ok := strings.CutPrefix(i, module); ok {
				imports = append(imports, in)
			}
		}
		slices.Sort(imports)
		if got := strings.Join(imports, " "); !above[name] || got != want[name] {
			t.Errorf("arrows of %s:\n got %q\nwant %q", name, got, want[name])
		}
		delete(want, name)
		for _, b := range bans {
			if name != b.below && !strings.HasPrefix(name, b.below+"/") && b.below != "" {
				continue
			}
			for _, dep := range p.Deps {
				for _, ban := range b.ban {
					if strings.HasPrefix(dep, ban) {
						t.Errorf("%s links %s", name, dep)
					}
				}
			}
		}
	}
	for name := range want {
		t.Errorf("%s has a line and no package", name)
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	packages := list(t, "./...")
	if len(packages) < 5 {
		t.Fatalf("go list found only %d packages", len(packages))
	}
	for _, p := range packages {
		if p.Doc == "" {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}
