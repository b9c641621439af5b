package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// listed is what go list -json says of a package.
type listed struct {
	ImportPath string
	Doc        string
	Deps       []string
	Standard   bool
}

func list(t *testing.T, args ...string) []listed {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Doc,Deps,Standard"}, args...)...)
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

// bans says, for packages below a prefix, what they may not depend on even
// through others. Dependencies point one way: cmd, reporter, leaves, internal.
var bans = []struct {
	of  string
	ban []string
}{
	{module + "sysctl", []string{module + "reporter", module + "inotify", module + "disk", "k8s.io/", "github.com/prometheus/client_golang", "log/slog", "github.com/spf13/"}},
	{module + "inotify", []string{module + "reporter", module + "disk", "k8s.io/client-go", "github.com/prometheus/client_golang", "github.com/spf13/"}},
	{module + "disk", []string{module + "reporter", "k8s.io/client-go", "github.com/prometheus/client_golang", "github.com/spf13/"}},
	{module + "internal", []string{module + "reporter", module + "sysctl", module + "inotify", module + "disk", "k8s.io/client-go", "github.com/prometheus/client_golang", "github.com/spf13/"}},
	{module + "reporter", []string{module + "cmd", "github.com/spf13/cobra"}},
	// Inside reporter: kube, metrics and fleet on top, text below them, then
	// condition and diagnosis, and the Snapshot below all.
	{module + "reporter/condition", rooms("kube", "metrics", "text", "diagnosis", "fleet", "health", "top", "k8s.io/client-go", "github.com/prometheus/client_golang")},
	{module + "reporter/diagnosis", rooms("kube", "metrics", "text", "condition", "fleet", "health", "top", "k8s.io/client-go", "github.com/prometheus/client_golang")},
	{module + "reporter/text", rooms("kube", "metrics", "condition", "fleet", "health", "top", "k8s.io/client-go", "github.com/prometheus/client_golang")},
	{module + "reporter/health", rooms("kube", "metrics", "text", "condition", "diagnosis", "fleet", "top", "k8s.io/", "github.com/prometheus/client_golang")},
	{module + "reporter/kube", rooms("metrics", "fleet", "health", "top", "github.com/prometheus/client_golang")},
	{module + "reporter/metrics", rooms("fleet", "top")},
	{module + "reporter/fleet", rooms("metrics", "health", "top")},
	{module + "reporter/top", rooms("kube", "metrics", "condition", "fleet", "health", "k8s.io/client-go")},
	// The typed clients register every API group, and the schemas of server-side
	// apply, when any program starts that links one.
	{module, []string{"k8s.io/client-go/kubernetes", "sigs.k8s.io/structured-merge-diff/v6/typed"}},
}

// rooms returns the import paths of packages below reporter; a name with a slash
// is a path already.
func rooms(names ...string) []string {
	var paths []string
	for _, n := range names {
		if !strings.Contains(n, "/") {
			n = module + "reporter/" + n
		}
		paths = append(paths, n)
	}
	return paths
}

func TestDependenciesPointOneWay(t *testing.T) {
	for _, p := range list(t, "./...") {
		for _, b := range bans {
			if !strings.HasPrefix(p.ImportPath, b.of) {
				continue
			}
			for _, dep := range p.Deps {
				for _, ban := range b.ban {
					if strings.HasPrefix(dep, ban) && !strings.HasPrefix(dep, strings.TrimSuffix(b.of, "/")) {
						t.Errorf("%s depends on %s", p.ImportPath, dep)
					}
				}
			}
		}
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
