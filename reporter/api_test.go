package reporter

import (
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// fields adds the JSON paths of t below at. A path that programs read must stay.
func fields(t reflect.Type, at string, all map[string]bool, depth int) {
	if depth > 12 || reflect.PointerTo(t).Implements(reflect.TypeFor[json.Marshaler]()) {
		return
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array:
		fields(t.Elem(), at, all, depth+1)
	case reflect.Map:
		fields(t.Elem(), at+".*", all, depth+1)
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			switch {
			case name == "-" || !f.IsExported() && !f.Anonymous:
				continue
			case f.Anonymous && name == "":
				fields(f.Type, at, all, depth+1)
				continue
			case name == "":
				name = f.Name
			}
			all[at+"."+name] = true
			fields(f.Type, at+"."+name, all, depth+1)
		}
	}
}

// The fields of the document are an API: one may be added, and none may go or
// change its name. testdata/document-fields.txt has those of every release.
func TestDocumentKeepsItsFields(t *testing.T) {
	got := map[string]bool{}
	fields(reflect.TypeFor[Document](), "", got, 0)
	want, err := os.ReadFile("testdata/document-fields.txt")
	if err != nil {
		t.Fatal(err)
	}
	old := strings.Fields(string(want))
	if len(old) < 100 {
		t.Fatalf("only %d fields are listed", len(old))
	}
	for _, path := range old {
		if !got[path] {
			t.Errorf("the document has no field %s any more", path)
		}
	}
	if os.Getenv("UPDATE_GOLDEN") == "1" {
		var all []string
		for path := range got {
			all = append(all, path)
		}
		slices.Sort(all)
		if err := os.WriteFile("testdata/document-fields.txt", []byte(strings.Join(all, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
