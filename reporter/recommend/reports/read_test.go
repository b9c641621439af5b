package recommend

import (
	"strings"
	"testing"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/reporter"
)

// Whatever a file holds, each report that is counted was passed on, and no rule has a
// ceiling below its floor.
func FuzzReadReports(f *testing.F) {
	f.Add(`{"apiVersion":"nodetune.io/v1alpha1","kind":"Report","inotify":{"limits":{"max_user_instances":128}}}`)
	f.Add(`{"apiVersion":"nodetune.io/v1alpha1","kind":"Report","inotify":{"instances_quality":"exact","owners":[{"instances":9223372036854775807,"instances_limit":5,"instances_quality":"exact"}],"limits":{"max_user_instances":9223372036854775807,"open_files":9223372036854775807}}}{`)
	f.Fuzz(func(t *testing.T, content string) {
		var samples []Sample
		passed := 0
		n, err := ReadReports("-", strings.NewReader(content), func(d reporter.Document) {
			passed++
			samples = append(samples, Observe("x", d, inotify.DefaultPolicy())...)
		})
		if n != passed || err == nil && n == 0 {
			t.Errorf("%d reports, %d passed on, error %v", n, passed, err)
		}
		for _, r := range From(n, samples).Rules {
			if r.AtLeast < 0 || r.Ceiling < r.AtLeast {
				t.Errorf("%+v", r)
			}
		}
	})
}
