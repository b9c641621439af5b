package cli

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestProgress: a step is shown after a second, on a terminal alone, and its line
// is gone when it ends.
func TestProgress(t *testing.T) {
	for _, c := range []struct {
		name     string
		terminal bool
		steps    []time.Duration
		want     string
	}{
		{"short steps", true, []time.Duration{time.Second / 2, time.Second / 2, time.Second - 1}, ""},
		{"a long step", true, []time.Duration{time.Second / 2, 2 * time.Second}, "nodetune: step 1...\r\x1b[K"},
		{"two long steps", true, []time.Duration{2 * time.Second, time.Hour}, "nodetune: step 0...\r\x1b[Knodetune: step 1...\r\x1b[K"},
		{"no terminal", false, []time.Duration{time.Hour}, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			var b strings.Builder
			p := newProgress(&b, c.terminal)
			for i, d := range c.steps {
				p.step("step " + string(rune('0'+i)))
				time.Sleep(d)
				synctest.Wait()
			}
			p.stop()
			time.Sleep(time.Hour)
			if b.String() != c.want {
				t.Errorf("%s: %q, want %q", c.name, b.String(), c.want)
			}
		})
	}
}
