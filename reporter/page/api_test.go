package page

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nodetune/nodetune/internal/goldentest"
)

// paths adds the paths of the JSON value v below at.
func paths(v any, at string, all map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			all[at+"."+name] = true
			paths(inner, at+"."+name, all)
		}
	case []any:
		for _, inner := range v {
			paths(inner, at+"[]", all)
		}
	}
}

// The fields of /status.json are an API: one may be added, and none may go or
// change its name. testdata/status-fields.txt has those of every release.
func TestStatusKeepsItsFields(t *testing.T) {
	got := map[string]bool{}
	for _, in := range []Input{exhausted(), logStorm(), stalled(), monstrous(2, func(int) string { return "x" })} {
		b, err := json.Marshal(NewStatus(in))
		if err != nil {
			t.Fatal(err)
		}
		var v any
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatal(err)
		}
		paths(v, "", got)
	}
	const name = "testdata/status-fields.txt"
	if goldentest.Updating() {
		if err := os.WriteFile(name, []byte(strings.Join(slices.Sorted(maps.Keys(got)), "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	old := strings.Fields(string(want))
	if len(old) < 100 {
		t.Fatalf("only %d fields are listed", len(old))
	}
	for _, path := range old {
		if !got[path] {
			t.Errorf("/status.json has no field %s any more", path)
		}
	}
	doc, err := os.ReadFile(filepath.Join(goldentest.Root(t), "docs/page.md"))
	if err != nil {
		t.Fatal(err)
	}
	for path := range got {
		if field := strings.TrimPrefix(path, "."); !strings.Contains(field, ".") && !strings.Contains(string(doc), "`"+field+"`") {
			t.Errorf("docs/page.md does not have the field %s", field)
		}
	}
}
