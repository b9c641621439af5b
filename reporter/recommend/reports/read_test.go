package reports

import (
	"strings"
	"testing"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/reporter/recommend"
)

// Whatever a file holds, each report that is counted was passed on, and no rule has a
// ceiling below its floor.
func FuzzRead(f *testing.F) {
	f.Add(`{"apiVersion":"nodetune.io/v1alpha1","kind":"Report","inotify":{"limits":{"max_user_instances":128}}}`)
	f.Add(`{"apiVersion":"nodetune.io/v1alpha1","kind":"Report","inotify":{"instances_quality":"exact","owners":[{"instances":9223372036854775807,"instances_limit":5,"instances_quality":"exact"}],"limits":{"max_user_instances":9223372036854775807,"open_files":9223372036854775807}}}{`)
	f.Add(`{"apiVersion":"nodetune.io/v1alpha1","kind":"NodeStatus","passes":[{"name":"inotify","at":"x"}],"limits":{"rows":[{"key":"fs.file-max","used":9223372036854775807,"limit":7,"quality":"exact"}]},"settings":{"rows":[{"key":"fs.file-max","ceiling":"9"}]}}`)
	f.Fuzz(func(t *testing.T, content string) {
		var samples []recommend.Sample
		passed := 0
		n, err := Read("-", strings.NewReader(content), inotify.DefaultPolicy(), func(s []recommend.Sample) {
			passed++
			samples = append(samples, s...)
		})
		if n != passed || err == nil && n == 0 {
			t.Errorf("%d reports, %d passed on, error %v", n, passed, err)
		}
		for _, r := range recommend.From(n, samples).Rules {
			if r.AtLeast < 0 || r.Ceiling < r.AtLeast {
				t.Errorf("%+v", r)
			}
		}
	})
}
