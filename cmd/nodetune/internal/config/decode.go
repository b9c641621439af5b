package config

import (
	"bytes"
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

// fileLines says on which line of the file each field stands.
type fileLines map[string]int

// locate puts file and line before e. A field that the file does not have
// stands where its parent does.
func (l fileLines) locate(name string, e *field.Error) error {
	for path := e.Path; ; {
		if line, ok := l[path]; ok {
			name = fmt.Sprintf("%s:%d", name, line)
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

// decode decodes the one YAML document in b into c, which holds the
// defaults. sigs.k8s.io/yaml decodes; its errors name neither line nor field,
// so that checker looks first and refuses everything that it would.
func decode(b []byte, c *Config) (fileLines, error) {
	k := checker{lines: make(fileLines)}
	docs := yamlnode.NewDecoder(bytes.NewReader(b))
	var doc yamlnode.Node
	switch err := docs.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return k.lines, field.Errorf("", "is empty: begin with apiVersion: %s and kind: %s", reporter.APIVersion, Kind)
	case err != nil:
		return k.lines, field.Errorf("", "is not YAML: %v", err)
	}
	if err := docs.Decode(new(yamlnode.Node)); !errors.Is(err, io.EOF) {
		return k.lines, field.Errorf("", "holds more than one document: want one")
	}
	k.check(doc.Content[0], reflect.TypeFor[Config](), "")
	if len(k.errs) > 0 {
		return k.lines, errors.Join(k.errs...)
	}
	// No default may stand in for these two.
	c.APIVersion, c.Kind = "", ""
	if err := yaml.UnmarshalStrict(b, c); err != nil {
		return k.lines, field.Errorf("", "%v", err)
	}
	return k.lines, nil
}

// checker compares a YAML document with the type it is to fill.
type checker struct {
	lines fileLines
	errs  []error
}

func (k *checker) errorf(path, format string, args ...any) {
	k.errs = append(k.errs, field.Errorf(path, format, args...))
}

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

func (k *checker) check(n *yamlnode.Node, t reflect.Type, path string) {
	k.lines[path] = n.Line
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
		k.lines[at] = name.Line
		sf, known := fieldNamed(t, name.Value)
		switch line, dup := first[name.Value]; {
		case dup:
			k.errorf(at, "is there twice, first on line %d", line)
			continue
		case name.Kind != yamlnode.ScalarNode || !known:
			k.errorf(at, "is not a field here: want one of %s", strings.Join(fieldNames(t), ", "))
			continue
		}
		first[name.Value] = name.Line
		k.check(value, sf.Type, at)
		k.lines[at] = name.Line
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
