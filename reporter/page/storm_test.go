package page

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/internal/goldentest"
	"github.com/nodetune/nodetune/internal/workload"
)

func TestStorm(t *testing.T) {
	written := func(rates ...float64) (all []logs.Producer) {
		for _, r := range rates {
			all = append(all, logs.Producer{Kind: logs.KindContainer, BytesPerSecond: ptr(r)})
		}
		return all
	}
	share := logs.Producer{Kind: logs.KindUnit, Estimated: true, BytesPerSecond: ptr(1e9)}
	for name, tt := range map[string]struct {
		producers []logs.Producer
		times     float64
		want      bool
	}{
		"none":                        {nil, 0, false},
		"no rate yet":                 {[]logs.Producer{{}}, 0, false},
		"one alone":                   {written(2 << 20), 0, true},
		"the others are quiet":        {written(2<<20, 0, 0), 0, true},
		"below the threshold":         {written(1<<20, 1), 0, false},
		"five times the others":       {written(5<<20, 1<<20, 1<<20), 5, true},
		"not five times the others":   {written(5<<20, 1<<20, 1<<20+1), 0, false},
		"all write much":              {written(9<<20, 9<<20, 9<<20), 0, false},
		"a share of the journal":      {append(written(1), share), 0, false},
		"beside one, which is no sum": {append(written(6<<20, 1<<20), share), 6, true},
	} {
		if _, times, ok := storm(tt.producers); ok != tt.want || ok && times != tt.times {
			t.Errorf("%s: %g times and %t, want %g and %t", name, times, ok, tt.times, tt.want)
		}
	}
}

// The page and the alert call the same producer a storm.
func TestStormIsThatOfTheAlert(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(goldentest.Root(t), "deploy/chart/files/rules.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if stormBytesPerSecond != 1048576 || stormFactor != 5 || !strings.Contains(string(b), "> 1048576 # stormBytesPerSecond") || !strings.Contains(string(b), "/ 5 # stormFactor") {
		t.Error("the thresholds differ from those of NodetuneLogStorm")
	}
}

func TestShowLog(t *testing.T) {
	for _, tt := range []struct {
		p    logs.Producer
		want string
	}{
		{logs.Producer{Kind: logs.KindContainer, Workload: workload.Workload{Namespace: "a", Pod: "b", Container: "c"}}, "kubectl --namespace a logs b --container c --tail 20"},
		{logs.Producer{Kind: logs.KindContainer, Workload: workload.Workload{Namespace: "a", Pod: "b", Container: "c;reboot"}}, "sudo nodetune disk"},
		{logs.Producer{Kind: logs.KindContainer, Path: "/var/lib/docker/containers/x"}, "sudo nodetune disk"},
		{logs.Producer{Kind: logs.KindUnit, Workload: workload.Workload{Unit: "a.service"}}, "sudo journalctl --lines 20 --unit a.service"},
		{logs.Producer{Kind: logs.KindUnit, Workload: workload.Workload{Unit: "$(x).service"}}, "sudo nodetune disk"},
		{logs.Producer{Kind: logs.KindFile, Path: "/var/log/app.log"}, "sudo tail --lines 20 /var/log/app.log"},
		{logs.Producer{Kind: logs.KindFile, Path: "/var/log/$(x)"}, "sudo nodetune disk"},
	} {
		if got := (Input{}).showLog(tt.p); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.p, got, tt.want)
		}
	}
}
