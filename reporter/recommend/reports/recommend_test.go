package reports

import (
	"strings"
	"testing"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/recommend"
	"github.com/nodetune/nodetune/sysctl"
)

// node is a report: instances, watches and open files in use, with limits.
func node(instances, watches, files int64, limits inotify.Limits) reporter.Document {
	limits.OpenFiles = files
	return reporter.Document{
		Sysctl: &sysctl.PassResult{Rules: []sysctl.Status{
			{Rule: sysctl.Rule{Key: sysctl.MaxUserInstances, Want: 8192, Ceiling: 131072}, Value: sysctl.Value(limits.Instances)},
			{Rule: sysctl.Rule{Key: sysctl.MaxUserWatches, Want: 524288, Ceiling: 4194304}, Value: sysctl.Value(limits.Watches)},
			{Rule: sysctl.Rule{Key: sysctl.FileMax, Want: 1048576, Ceiling: sysctl.Unknown}, Value: sysctl.Value(limits.FileMax)},
		}},
		Inotify: &inotify.Usage{
			Limits: limits, InstancesQuality: inotify.Exact, WatchesQuality: inotify.Exact,
			Accounts: []inotify.Account{{
				Owner: inotify.Owner{UserNS: inotify.InitialUserNS}, Instances: instances, InstancesLimit: limits.Instances, Watches: watches, WatchesLimit: limits.Watches,
				InstancesQuality: inotify.Exact, WatchesQuality: inotify.Exact, Quality: inotify.Exact,
			}},
		},
	}
}

func TestFrom(t *testing.T) {
	small := inotify.Limits{Instances: 128, Watches: 65536, FileMax: 100000, MemoryBytes: 64 << 30}
	raised := inotify.Limits{Instances: 32768, Watches: 1048576, FileMax: 2000000, MemoryBytes: 64 << 30}
	unknown := node(5, 5, 0, small)
	unknown.Inotify.InstancesQuality, unknown.Inotify.WatchesQuality = inotify.Unknown, inotify.Unknown
	for _, tt := range []struct {
		name                      string
		documents                 []reporter.Document
		instances, watches, files recommend.Value // floors; -1: no rule
		ceiling                   recommend.Value // of instances
		evidence                  string          // of instances
	}{
		{"idle", []reporter.Document{node(1, 1, 1000, small)}, 8192, 524288, 1048576, 131072, "configured floor: 8192 on n0"},
		{"busy", []reporter.Document{node(14000, 700000, 3000000, small)}, 20000, 1000000, 4285715, 131072, "use asks for 20000: n0: uid 0 uses 14000"},
		{"never below what is in force", []reporter.Document{node(1, 1, 1000, raised)}, 32768, 1048576, 2000000, 131072, "in force: 32768 on n0"},
		{"the peak of two reports", []reporter.Document{node(14000, 1, 1000, small), node(70, 700000, 1000, small)}, 20000, 1000000, 1048576, 131072, "n0: uid 0 uses 14000"},
		{"in force on one node of two", []reporter.Document{node(14000, 1, 1000, small), node(70, 1, 1000, raised)}, 32768, 1048576, 2000000, 131072, "in force: 32768 on n1"},
		{"use held back by the policy", []reporter.Document{node(70000, 1, 1000, small)}, 65536, 524288, 1048576, 131072, "use asks for more: maxInstances is 65536"},
		{"beyond the ceiling", []reporter.Document{node(1, 1, 1000, inotify.Limits{Instances: 100000, Watches: 65536, FileMax: 100000, MemoryBytes: 64 << 30})}, 100000, 524288, 1048576, 200000, "ceiling: 200000 leaves room for one raise"},
		{"the largest there is", []reporter.Document{node(1, 1, 1000, inotify.Limits{Instances: 2147483647, Watches: 65536, FileMax: 100000})}, 2147483647, 524288, 1048576, 2147483647, "in force: 2147483647"},
		{"not counted", []reporter.Document{unknown}, -1, -1, -1, -1, ""},
		{"one of two not counted", []reporter.Document{unknown, node(14000, 1, 1000, small)}, 20000, 524288, 1048576, 131072, "use is not known in 1 of 2 reports; n0"},
		{"unlimited files", []reporter.Document{node(1, 1, 1000, inotify.Limits{Instances: 128, Watches: 65536, FileMax: 1<<63 - 1})}, 8192, 524288, -1, 131072, "configured floor"},
		{"empty", []reporter.Document{{}}, -1, -1, -1, -1, ""},
		{"none", nil, -1, -1, -1, -1, ""},
	} {
		var samples []recommend.Sample
		for i, d := range tt.documents {
			samples = append(samples, Observe("n"+string(rune('0'+i)), d, inotify.DefaultPolicy())...)
		}
		got := recommend.From(len(tt.documents), samples)
		floors := map[string]recommend.Rule{}
		for _, r := range got.Rules {
			floors[r.Key] = r
			if r.Ceiling < r.AtLeast || len(r.Evidence) == 0 {
				t.Errorf("%s: %+v", tt.name, r)
			}
		}
		for key, want := range map[string]recommend.Value{"fs.inotify.max_user_instances": tt.instances, "fs.inotify.max_user_watches": tt.watches, "fs.file-max": tt.files} {
			r, ok := floors[key]
			if ok != want.Known() || ok && r.AtLeast != want || !ok && got.Omitted[key] == "" {
				t.Errorf("%s: %s is %+v (%s), want %d", tt.name, key, r, got.Omitted[key], want)
			}
		}
		r := floors["fs.inotify.max_user_instances"]
		if tt.ceiling.Known() && (r.Ceiling != tt.ceiling || !strings.Contains(strings.Join(r.Evidence, "\n"), tt.evidence)) {
			t.Errorf("%s: ceiling %d, want %d; no %q in\n%s", tt.name, r.Ceiling, tt.ceiling, tt.evidence, strings.Join(r.Evidence, "\n"))
		}
	}
}

// The name of a report is a comment on one line, whatever is in it.
func TestHostileNames(t *testing.T) {
	d := node(14000, 1, 1000, inotify.Limits{Instances: 128, Watches: 65536, FileMax: 1 << 50, MemoryBytes: 64 << 30})
	r := recommend.From(1, Observe("x\nsysctl: {rules: []}\x1b[2J", d, inotify.DefaultPolicy()))
	var b strings.Builder
	if err := recommend.WriteConfiguration(&b, r); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "\nsysctl: {") || strings.Contains(b.String(), "\x1b") {
		t.Errorf("%q", b.String())
	}
}
