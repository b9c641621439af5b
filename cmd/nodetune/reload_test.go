package main

import (
	"errors"
	"strings"
	"testing"
)

// watched is a configFile whose file is a variable and whose configuration is
// its text; "bad" anywhere in it is not valid.
func watched(content *string, readErr *error) *configFile[string] {
	f := &configFile[string]{
		read: func() ([]byte, error) { return []byte(*content), *readErr },
		parse: func(b []byte) (string, error) {
			if strings.Contains(string(b), "bad") {
				return "", errors.New("not valid: " + string(b))
			}
			return string(b), nil
		},
	}
	f.poll(true)
	return f
}

// A configuration broken and mended while running.
func TestReload(t *testing.T) {
	content, readErr := "one", error(nil)
	f := watched(&content, &readErr)
	set := func(s string) func() { return func() { content, readErr = s, nil } }
	gone := func() { readErr = errors.New("no such file") }
	for _, step := range []struct {
		name   string
		change func()
		atOnce bool
		want   verdict[string]
	}{
		{"nothing has changed", func() {}, false, verdict[string]{}},
		{"truncated, about to be written", set(""), false, verdict[string]{}},
		{"half of it", set("tw"), false, verdict[string]{}},
		{"written", set("two"), false, verdict[string]{}},
		{"settled", func() {}, false, verdict[string]{config: "two", changed: true}},
		{"in force", func() {}, false, verdict[string]{}},
		{"broken", set("bad"), false, verdict[string]{}},
		{"broken and settled", func() {}, false, verdict[string]{refused: errors.New("not valid: bad")}},
		{"said once", func() {}, false, verdict[string]{}},
		{"broken in another way", set("bad2"), true, verdict[string]{refused: errors.New("not valid: bad2")}},
		{"mended by putting the old one back", set("two"), false, verdict[string]{mended: true}},
		{"removed", gone, false, verdict[string]{refused: errors.New("no such file")}},
		{"still removed", gone, false, verdict[string]{}},
		{"there again, and new", set("three"), false, verdict[string]{}},
		{"there again, and settled", func() {}, false, verdict[string]{config: "three", changed: true}},
		{"SIGHUP takes it as it is", set("four"), true, verdict[string]{config: "four", changed: true}},
	} {
		step.change()
		got := f.poll(step.atOnce)
		if got.changed != step.want.changed || got.config != step.want.config || got.mended != step.want.mended ||
			(got.refused == nil) != (step.want.refused == nil) ||
			got.refused != nil && got.refused.Error() != step.want.refused.Error() {
			t.Errorf("%s: got %+v, want %+v", step.name, got, step.want)
		}
	}
}
