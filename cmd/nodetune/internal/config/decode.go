package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"strconv"
	"strings"

	yamlnode "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"

	"github.com/nodetune/nodetune/internal/field"
	"github.com/nodetune/nodetune/reporter"
)

// A place is a line of a file.
type place struct {
	file string
	line int
}

func (p place) String() string { return fmt.Sprintf("%s:%d", p.file, p.line) }

// places says where each field is written. A field that is not written is
// located where its parent is.
type places map[string]place

// locate puts file and line before e; name is the configuration's.
func (l places) locate(name string, e *field.Error) error {
	for path := e.Path; ; {
		if at, ok := l[path]; ok {
			name = at.String()
			break
		}
		i := strings.LastIndexAny(path, ".[")
		if i < 0 {
			break
		}
		path = path[:i]
	}
	if e.Path == "" {
		return fmt.Errorf("%s: %s", name, e.Problem)
	}
	return fmt.Errorf("%s: %w", name, e)
}

// decode decodes parts, merged, into c, which holds the defaults. It returns
// where each field is written, and warnings. sigs.k8s.io/yaml decodes; its errors
// name neither line nor field, so that checker looks first and refuses everything
// that it would. Errors start with their place.
func decode(parts []Part, c *Config) (places, []string, []error) {
	m := merger{places: make(map[*yamlnode.Node]place)}
	var whole *yamlnode.Node
	var warnings []string
	heads := 0
	for _, part := range parts {
		root, warned, ok := m.read(part)
		warnings = append(warnings, warned...)
		if !ok {
			continue
		}
		heads += m.checkHead(root, part.Name)
		if whole == nil {
			whole = root
		} else {
			whole = m.merge(whole, root, reflect.TypeFor[Config](), "")
		}
	}
	if len(m.errs) > heads {
		return nil, nil, m.errs // what the others would hide or repeat
	}
	k := checker{places: make(places), of: m.places}
	k.check(whole, reflect.TypeFor[Config](), "")
	b, err := yamlnode.Marshal(whole)
	if err == nil {
		// No default may stand in for these two.
		c.APIVersion, c.Kind = "", ""
		err = yaml.UnmarshalStrict(b, c)
	}
	if err != nil {
		return k.places, nil, append(m.errs, fmt.Errorf("%s: %w", parts[0].Name, err))
	}
	return k.places, warnings, m.errs
}

// read returns the one document of part, checked.
func (m *merger) read(part Part) (root *yamlnode.Node, warnings []string, ok bool) {
	k := checker{name: part.Name, places: make(places), of: m.places}
	k.root(part.Text)
	if len(k.errs) == 0 {
		// No error can be about a document that is none.
		root = k.doc.Content[0]
		warnings = renameWords(root, part.Name)
		k.check(root, reflect.TypeFor[Config](), "")
	}
	for _, err := range k.errs {
		for _, e := range field.All(err) {
			m.errs = append(m.errs, k.places.locate(part.Name, e))
		}
	}
	return root, warnings, len(k.errs) == 0
}

// checkHead checks that the document is a configuration of this version, and
// returns the number of errors.
func (m *merger) checkHead(root *yamlnode.Node, name string) int {
	n := 0
	for _, head := range []struct{ field, want, reads string }{
		{"apiVersion", reporter.APIVersion, "this nodetune reads"},
		{"kind", Kind, "want"},
	} {
		got, at := "", name
		if v := child(root, head.field); v != nil {
			got, at = v.Value, m.places[v].String()
		}
		if got != head.want {
			n++
			m.errs = append(m.errs, fmt.Errorf("%s: %w", at, field.Errorf(head.field, "is %q, %s %s", got, head.reads, head.want)))
		}
	}
	return n
}

// checker compares a YAML document with the type it is to fill.
type checker struct {
	name   string // of the file, for nodes that have no place yet
	doc    yamlnode.Node
	places places
	of     map[*yamlnode.Node]place
	errs   []error
}

// root reads the one YAML document of text.
func (k *checker) root(text string) {
	if len(text) > maxBytes {
		k.errorf("", "is larger than %d bytes, no configuration is", maxBytes)
		return
	}
	docs := yamlnode.NewDecoder(strings.NewReader(text))
	switch err := docs.Decode(&k.doc); {
	case errors.Is(err, io.EOF):
		k.errorf("", "is empty: begin with apiVersion: %s and kind: %s", reporter.APIVersion, Kind)
	case err != nil:
		k.errorf("", "is not YAML: %v", err)
	case !errors.Is(docs.Decode(new(yamlnode.Node)), io.EOF):
		k.errorf("", "holds more than one document: want one")
	}
}

// at notes that the field path is written at n.
func (k *checker) at(path string, n *yamlnode.Node) {
	p, known := k.of[n]
	if !known {
		p = place{k.name, n.Line}
		k.of[n] = p
	}
	k.places[path] = p
}

func (k *checker) errorf(path, format string, args ...any) {
	k.errs = append(k.errs, field.Errorf(path, format, args...))
}

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

func (k *checker) check(n *yamlnode.Node, t reflect.Type, path string) {
	k.at(path, n)
	if n.Kind == yamlnode.AliasNode || n.Anchor != "" {
		k.errorf(path, "uses an anchor or alias: write the value out")
		return
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case reflect.PointerTo(t).Implements(unmarshaler):
		k.checkUnmarshaler(n, t, path)
	case n.Tag == "!!null" && (t.Kind() == reflect.Struct || t.Kind() == reflect.Slice):
		// "disk:" with everything below it commented out.
	case t.Kind() == reflect.Struct:
		k.checkStruct(n, t, path)
	case t.Kind() == reflect.Slice:
		if n.Kind != yamlnode.SequenceNode {
			k.errorf(path, "is %s, want a list", kindOf(n))
			return
		}
		for i, item := range n.Content {
			k.check(item, t.Elem(), fmt.Sprintf("%s[%d]", path, i))
		}
	default:
		k.checkScalar(n, t, path)
	}
}

func (k *checker) checkStruct(n *yamlnode.Node, t reflect.Type, path string) {
	if n.Kind != yamlnode.MappingNode {
		k.errorf(path, "is %s, want fields: %s", kindOf(n), strings.Join(fieldNames(t), ", "))
		return
	}
	first := make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		at := strings.TrimPrefix(path+"."+short(name.Value), ".")
		k.at(at, name)
		sf, known := fieldNamed(t, name.Value)
		switch line, dup := first[name.Value]; {
		case dup:
			k.errorf(at, "is there twice, first on line %d", line)
			continue
		case name.Kind != yamlnode.ScalarNode || !known:
			names := fieldNames(t)
			k.errorf(at, "is not a field here: want one of %s%s", strings.Join(names, ", "), didYouMean(name.Value, names))
			continue
		}
		first[name.Value] = name.Line
		k.check(value, sf.Type, at)
		k.at(at, name)
	}
}

func (k *checker) checkUnmarshaler(n *yamlnode.Node, t reflect.Type, path string) {
	if n.Kind != yamlnode.ScalarNode {
		k.errorf(path, "is %s, want one value", kindOf(n))
		return
	}
	text := []byte(n.Value)
	if n.Tag == "!!str" {
		text, _ = json.Marshal(n.Value)
	}
	if err := reflect.New(t).Interface().(json.Unmarshaler).UnmarshalJSON(text); err != nil {
		k.errorf(path, "%v", err)
	}
}

func (k *checker) checkScalar(n *yamlnode.Node, t reflect.Type, path string) {
	if n.Kind != yamlnode.ScalarNode {
		k.errorf(path, "is %s, want one value", kindOf(n))
		return
	}
	var err error
	switch t.Kind() {
	case reflect.String:
		if n.Tag != "!!str" {
			err = fmt.Errorf("%s is %s, want text: put it in quotes", short(n.Value), kindOf(n))
		}
	case reflect.Bool:
		if n.Tag != "!!bool" {
			err = fmt.Errorf("%s is %s, want true or false", short(n.Value), kindOf(n))
		}
	case reflect.Int, reflect.Int64, reflect.Int32:
		if _, e := strconv.ParseInt(n.Value, 10, t.Bits()); e != nil || n.Tag != "!!int" {
			err = fmt.Errorf("%s is not a whole number of at most %d", short(n.Value), int64(math.MaxInt64)>>(64-t.Bits()))
		}
	case reflect.Uint32, reflect.Uint64, reflect.Uint:
		if _, e := strconv.ParseUint(n.Value, 10, t.Bits()); e != nil || n.Tag != "!!int" {
			err = fmt.Errorf("%s is not a whole number from 0 to %d", short(n.Value), uint64(math.MaxUint64)>>(64-t.Bits()))
		}
	case reflect.Float64:
		f, e := strconv.ParseFloat(n.Value, 64)
		if e != nil || math.IsNaN(f) || math.IsInf(f, 0) || n.Tag != "!!int" && n.Tag != "!!float" {
			err = fmt.Errorf("%s is not a number", short(n.Value))
		}
	default:
		err = fmt.Errorf("cannot be configured (%s)", t)
	}
	if err != nil {
		k.errorf(path, "%v", err)
	}
}

// short quotes what a message repeats from a file, at most 64 bytes of it,
// unless it is a plain word.
func short(s string) string {
	if len(s) > 64 {
		return strconv.QuoteToASCII(s[:64]) + "..."
	}
	if q := strconv.QuoteToASCII(s); q[1:len(q)-1] != s || strings.ContainsAny(s, " .[]:") || s == "" {
		return q
	}
	return s
}

func kindOf(n *yamlnode.Node) string {
	switch n.Kind {
	case yamlnode.MappingNode:
		return "a mapping"
	case yamlnode.SequenceNode:
		return "a list"
	}
	switch n.Tag {
	case "!!null":
		return "empty"
	case "!!bool":
		return "true or false"
	case "!!int", "!!float":
		return "a number"
	}
	return "text"
}

// fieldNamed returns the field of struct t whose name in a configuration is
// exactly name.
func fieldNamed(t reflect.Type, name string) (reflect.StructField, bool) {
	for sf := range settableFields(t) {
		if jsonName(sf) == name {
			return sf, true
		}
	}
	return reflect.StructField{}, false
}

func fieldNames(t reflect.Type) []string {
	var names []string
	for sf := range settableFields(t) {
		names = append(names, jsonName(sf))
	}
	return names
}

// settableFields are the fields of struct t that a configuration may set.
func settableFields(t reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			if sf := t.Field(i); sf.IsExported() && jsonName(sf) != "-" && !yield(sf) {
				return
			}
		}
	}
}

func jsonName(sf reflect.StructField) string {
	name, _, _ := strings.Cut(sf.Tag.Get("json"), ",")
	if name == "" {
		return sf.Name
	}
	return name
}
