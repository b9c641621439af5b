package text

import (
	"strings"
	"testing"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/diagnosis"
	"github.com/nodetune/nodetune/sysctl"
)

func TestCheckShowsKernelPrograms(t *testing.T) {
	for _, tt := range []struct {
		guard, reason string
		tracing       inotify.RefusalSource
		want          []string
	}{
		{"", "", inotify.RefusalSource{}, nil},
		{"observe", "", inotify.RefusalSource{RefusalsSource: "ebpf_fexit"}, []string{"guard: observe: a write of another program is known at once, and undone where the agent may write", "failed calls: traced by ebpf_fexit"}},
		{"hold", "", inotify.RefusalSource{RefusalsSource: "tracefs", RefusalsReason: "it was asked for"}, []string{"guard: hold: a write below the floor takes effect as the floor", "failed calls: traced by tracefs: it was asked for"}},
		{"off", "CAP_BPF is \x1b[31mmissing", inotify.RefusalSource{RefusalsSource: "off", RefusalsReason: "no KPROBES"}, []string{`guard: off: a write of another program is found by the next pass, within half a minute (CAP_BPF is \x1b[31mmissing)`, "failed calls: not traced: no KPROBES"}},
	} {
		s := reporter.Snapshot{Sysctl: reporter.Result[sysctl.PassResult]{Value: sysctl.PassResult{Guard: tt.guard, GuardReason: tt.reason}}}
		s.Inotify.Value.RefusalSource = tt.tracing
		for _, verbose := range []bool{false, true} {
			var b strings.Builder
			if err := CheckReport(&b, s, CheckOptions{Policy: inotify.DefaultPolicy(), Verbose: verbose}); err != nil {
				t.Fatal(err)
			}
			for _, line := range tt.want {
				if strings.Contains(b.String(), line) != verbose {
					t.Errorf("verbose %v: %q in\n%s", verbose, line, b.String())
				}
			}
			if tt.want == nil && (strings.Contains(b.String(), "guard:") || strings.Contains(b.String(), "failed calls:")) {
				t.Errorf("without an agent:\n%s", b.String())
			}
		}
	}
}

func TestExplainShowsGuard(t *testing.T) {
	var b strings.Builder
	k := diagnosis.KeyExplanation{Guard: "off", GuardReason: "CAP_NET_ADMIN is missing", LoweredBy: "lowered once in the last hour by tuned[812] of tuned.service"}
	if err := ExplainTable(&b, diagnosis.Explanation{Keys: []diagnosis.KeyExplanation{k}}, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"guard           off: ", "(CAP_NET_ADMIN is missing)", "writers         lowered once in the last hour by tuned[812] of tuned.service"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}
