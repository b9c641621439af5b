package cli

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/nodetune/nodetune/internal/privtest"
)

// TestNextSource: a source that is unavailable is replaced by the next best, and
// check reports that.
func TestNextSource(t *testing.T) {
	privtest.Root(t)
	bin := build(t)
	config, off := configured(t, ""), configured(t, "inotify:\n  kernelCounters: false\n")
	for _, c := range []struct {
		name                 string
		run                  []string
		config               string
		source, holders, why string
	}{
		{"everything", nil, config, "ebpf", "ebpf_walk", ""},
		{"no CAP_PERFMON", []string{"setpriv", "--bounding-set=-perfmon,-sys_admin", "--inh-caps=-all"}, config, "procfs", "procfs", "CAP_PERFMON"},
		{"not wanted", nil, off, "procfs", "procfs", "kernelCounters is false"},
	} {
		args := append(c.run, bin, "check", "-o", "json", "--config="+c.config, "--path.rootfs="+t.TempDir())
		out, err := exec.Command(args[0], args[1:]...).Output() // 1 where a limit is near
		var d sections
		if json.Unmarshal(out, &d) != nil || d.Inotify == nil {
			t.Fatalf("%s: %v\n%s", c.name, err, out)
		}
		u := d.Inotify
		if u.Source != c.source || u.HoldersSource != c.holders {
			t.Errorf("%s: users are from %s, processes from %s", c.name, u.Source, u.HoldersSource)
		}
		for _, reason := range []string{u.SourceReason, u.HoldersReason} {
			if (reason == "") != (c.why == "") || !strings.Contains(reason, c.why) {
				t.Errorf("%s: because %q, want %q", c.name, reason, c.why)
			}
		}
	}
}
