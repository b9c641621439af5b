package agent

import (
	"strconv"
	"testing"
)

// What is wrong with a path is logged when it changes, not in each pass.
func TestIsNewError(t *testing.T) {
	var h diskActions
	for i, c := range []struct {
		path, text string
		news       bool
	}{
		{"/var/log", "no space", true},
		{"/var/log", "no space", false},
		{"/srv", "no space", true},
		{"/var/log", "not supported", true},
		{"/var/log", "not supported", false},
	} {
		if got := h.isNewError(c.path, c.text); got != c.news {
			t.Errorf("step %d: %v", i, got)
		}
	}
	for i := range 2 * maxLastErrors {
		h.isNewError(strconv.Itoa(i), "x")
	}
	if len(h.lastErrors) > maxLastErrors+1 {
		t.Errorf("%d paths are remembered", len(h.lastErrors))
	}
}
