package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	yamlnode "go.yaml.in/yaml/v3"

	"github.com/nodetune/nodetune/disk/rotate"
	"github.com/nodetune/nodetune/internal/field"
	"github.com/nodetune/nodetune/sysctl"
)

// merger joins the documents of a directory into one: mappings field by field,
// lists of rules rule by rule, and every other value must be the same wherever it
// is written. So the order of files decides nothing but the order of rules.
type merger struct {
	places map[*yamlnode.Node]place
	errs   []error // with their places
}

// merge adds src to dst, which checker has found to fit t, and returns the result.
// path is the field's in the file of src.
func (m *merger) merge(dst, src *yamlnode.Node, t reflect.Type, path string) *yamlnode.Node {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	own := reflect.PointerTo(t).Implements(unmarshaler)
	block := !own && (t.Kind() == reflect.Struct || t.Kind() == reflect.Slice)
	switch {
	case block && src.Tag == "!!null":
		return dst
	case block && dst.Tag == "!!null":
		return src
	case block && t.Kind() == reflect.Struct:
		m.mergeStruct(dst, src, t, path)
	case block && ruleIdentity(t.Elem()) != nil:
		m.mergeRules(dst, src, t.Elem(), path)
	case !sameValue(dst, src, t):
		m.errs = append(m.errs, fmt.Errorf("%s: %w", m.places[src],
			field.Errorf(path, "is %s here and %s in %s: remove one of them", describe(src), describe(dst), m.places[dst])))
	}
	return dst
}

func (m *merger) mergeStruct(dst, src *yamlnode.Node, t reflect.Type, path string) {
	for i := 0; i+1 < len(src.Content); i += 2 {
		name, value := src.Content[i], src.Content[i+1]
		at := strings.TrimPrefix(path+"."+name.Value, ".")
		j := valueIndex(dst, name.Value)
		if j < 0 {
			dst.Content = append(dst.Content, name, value)
			continue
		}
		sf, _ := fieldNamed(t, name.Value)
		dst.Content[j] = m.merge(dst.Content[j], value, sf.Type, at)
	}
}

// mergeRules merges each rule of src into the one of dst that has the same
// identity. Two rules of one file are never merged: validation reports them.
func (m *merger) mergeRules(dst, src *yamlnode.Node, t reflect.Type, path string) {
	identity := ruleIdentity(t)
	merged := make(map[int]bool)
	of := make(map[string]int)
	for i, rule := range dst.Content {
		if id := identity(rule); id != "" {
			if _, known := of[id]; !known {
				of[id] = i
			}
		}
	}
	for i, rule := range src.Content {
		at, known := of[identity(rule)]
		if !known || merged[at] {
			dst.Content = append(dst.Content, rule)
			continue
		}
		merged[at] = true
		if n := child(rule, "key"); n != nil { // in the other spelling, perhaps
			n.Value = child(dst.Content[at], "key").Value
		}
		m.mergeStruct(dst.Content[at], rule, t, field.Index(path, i))
	}
}

// ruleIdentity returns what two rules of type t have in common that are about the
// same thing, or nil where t is no rule.
func ruleIdentity(t reflect.Type) func(*yamlnode.Node) string {
	switch t {
	case reflect.TypeFor[sysctl.PolicyRule]():
		return func(n *yamlnode.Node) string { return keyText(fieldText(n, "key")) }
	case reflect.TypeFor[rotate.Rule]():
		return func(n *yamlnode.Node) string { return fieldText(n, "paths") }
	}
	return nil
}

// keyText returns a sysctl in one of its two spellings.
func keyText(name string) string {
	k, err := sysctl.ParseKey(name)
	if err != nil {
		return name
	}
	return string(k)
}

// fieldText returns the value of a field as text, "" where there is none.
func fieldText(n *yamlnode.Node, name string) string {
	i := valueIndex(n, name)
	if i < 0 {
		return ""
	}
	v := n.Content[i]
	if v.Kind != yamlnode.ScalarNode {
		var list []string
		if v.Decode(&list) != nil {
			return ""
		}
		b, _ := json.Marshal(list)
		return string(b)
	}
	return v.Value
}

// valueIndex returns where in n the value of the field name is, or -1.
func valueIndex(n *yamlnode.Node, name string) int {
	for i := 0; i+1 < len(n.Content) && n.Kind == yamlnode.MappingNode; i += 2 {
		if n.Content[i].Value == name {
			return i + 1
		}
	}
	return -1
}

// sameValue reports whether a and b decode to one value of type t: 1h is 60m.
func sameValue(a, b *yamlnode.Node, t reflect.Type) bool {
	x, errX := decodeNode(a, t)
	y, errY := decodeNode(b, t)
	return errX == nil && errY == nil && reflect.DeepEqual(x, y)
}

func decodeNode(n *yamlnode.Node, t reflect.Type) (any, error) {
	var loose any
	if err := n.Decode(&loose); err != nil {
		return nil, err
	}
	b, err := json.Marshal(loose)
	if err != nil {
		return nil, err
	}
	v := reflect.New(t)
	err = json.Unmarshal(b, v.Interface())
	return v.Elem().Interface(), err
}

// describe repeats a value in a message.
func describe(n *yamlnode.Node) string {
	if n.Kind != yamlnode.ScalarNode {
		var list []string
		if n.Decode(&list) == nil {
			return short("[" + strings.Join(list, ", ") + "]")
		}
		return kindOf(n)
	}
	return short(n.Value)
}
