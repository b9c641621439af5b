package config

import (
	"errors"
	"strings"
	"testing"
)

// watched is a File whose file is a variable and whose configuration is
// its text; "bad" anywhere in it is not valid.
func watched(content *string, readErr *error) *File[string] {
	f := &File[string]{
		read: func() ([]Part, error) { return []Part{{"x.yaml", *content}}, *readErr },
		parse: func(parts []Part) (string, error) {
			if strings.Contains(parts[0].Text, "bad") {
				return "", errors.New("not valid: " + parts[0].Text)
			}
			return parts[0].Text, nil
		},
	}
	f.Poll(true)
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
		want   ReloadResult[string]
	}{
		{"nothing has changed", func() {}, false, ReloadResult[string]{}},
		{"truncated, about to be written", set(""), false, ReloadResult[string]{}},
		{"half of it", set("tw"), false, ReloadResult[string]{}},
		{"written", set("two"), false, ReloadResult[string]{}},
		{"settled", func() {}, false, ReloadResult[string]{Config: "two", Changed: true}},
		{"in force", func() {}, false, ReloadResult[string]{}},
		{"broken", set("bad"), false, ReloadResult[string]{}},
		{"broken and settled", func() {}, false, ReloadResult[string]{Err: errors.New("not valid: bad")}},
		{"reported once", func() {}, false, ReloadResult[string]{}},
		{"broken in another way", set("bad2"), true, ReloadResult[string]{Err: errors.New("not valid: bad2")}},
		{"mended by putting the old one back", set("two"), false, ReloadResult[string]{Reverted: true}},
		{"removed", gone, false, ReloadResult[string]{Err: errors.New("no such file")}},
		{"still removed", gone, false, ReloadResult[string]{}},
		{"there again, and new", set("three"), false, ReloadResult[string]{}},
		{"there again, and settled", func() {}, false, ReloadResult[string]{Config: "three", Changed: true}},
		{"SIGHUP takes it as it is", set("four"), true, ReloadResult[string]{Config: "four", Changed: true}},
	} {
		step.change()
		got := f.Poll(step.atOnce)
		if got.Changed != step.want.Changed || got.Config != step.want.Config || got.Reverted != step.want.Reverted ||
			(got.Err == nil) != (step.want.Err == nil) ||
			got.Err != nil && got.Err.Error() != step.want.Err.Error() {
			t.Errorf("%s: got %+v, want %+v", step.name, got, step.want)
		}
	}
}
