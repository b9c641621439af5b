package main

import (
	"strconv"
	"testing"
)

// What is wrong with a path is logged when it changes, not in each pass.
func TestNews(t *testing.T) {
	var h hands
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
		if got := h.news(c.path, c.text); got != c.news {
			t.Errorf("step %d: %v", i, got)
		}
	}
	for i := range 2 * maxSaid {
		h.news(strconv.Itoa(i), "x")
	}
	if len(h.said) > maxSaid+1 {
		t.Errorf("%d paths are remembered", len(h.said))
	}
}
