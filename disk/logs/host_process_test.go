package logs

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/nodetune/nodetune/disk/hostconfig"
)

// The kubelet stays the one that was found for as long as it lives.
func TestHostProcessStays(t *testing.T) {
	walk := func(before hostProcess, all ...hostProcess) (k hostProcess) {
		for _, p := range all {
			k = k.consider(p, before)
		}
		return k
	}
	old, late, earlier := hostProcess{20, 100}, hostProcess{10, 200}, hostProcess{5, 50}
	for name, tt := range map[string]struct{ got, want hostProcess }{
		"the first that was started":       {walk(hostProcess{}, late, old), old},
		"whatever the order":               {walk(hostProcess{}, old, late), old},
		"that of the walk before stays":    {walk(old, earlier, old, late), old},
		"also where it is seen first":      {walk(old, old, earlier), old},
		"it has ended":                     {walk(old, late), late},
		"its pid is another process's now": {walk(old, hostProcess{20, 300}, late), late},
		"none":                             {walk(old), hostProcess{}},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %v, want %v", name, tt.got, tt.want)
		}
	}
}

// What /proc shows of a process.
func TestSameDir(t *testing.T) {
	top := t.TempDir()
	for _, dir := range []string{"host/var/lib/kubelet", "node/var/lib/kubelet", "empty"} {
		if err := os.MkdirAll(filepath.Join(top, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	at := func(s string) string { return filepath.Join(top, s) }
	for name, tt := range map[string]struct{ got, want hostconfig.Tristate }{
		"the same":     {sameDir("/var/lib/kubelet", at("host"), at("host")), hostconfig.Yes},
		"another one":  {sameDir("/var/lib/kubelet", at("node"), at("host")), hostconfig.No},
		"missing":      {sameDir("/var/lib/kubelet", at("node"), at("empty")), hostconfig.No},
		"a root":       {sameDir("/var/lib/kubelet", at("none"), at("host")), hostconfig.Unknown},
		"links":        {sameLink("/proc/self/ns/mnt", "/proc/self/ns/mnt"), hostconfig.Yes},
		"other links":  {sameLink("/proc/self/ns/mnt", "/proc/self/ns/pid"), hostconfig.No},
		"no such link": {sameLink("/proc/self/ns/mnt", at("none")), hostconfig.Unknown},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %v, want %v", name, tt.got, tt.want)
		}
	}
	for s, want := range map[string]int{"NSpid:\t7\n": 1, "Name:\tx\nNSpid:\t7\t1\n": 2, "Name:\tx\n": 0} {
		if err := os.WriteFile(at("status"), []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := countNSPIDs(at("status")); got != want {
			t.Errorf("%q: %d, want %d", s, got, want)
		}
	}
}
