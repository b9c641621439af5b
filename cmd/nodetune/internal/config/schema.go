package config

import (
	"encoding/json"
	"reflect"

	"github.com/nodetune/nodetune/reporter"
)

// Schema describes Config as JSON Schema, for editors. It is derived from
// the types that are decoded into, so it cannot know other fields than they do.
// What depends on more than one field only 'config validate' knows.
func Schema() map[string]any {
	s := structSchema(reflect.TypeFor[Config]())
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "nodetune " + Kind
	s["required"] = []string{"apiVersion", "kind"}
	properties := s["properties"].(map[string]any)
	properties["apiVersion"] = map[string]any{"const": reporter.APIVersion}
	properties["kind"] = map[string]any{"const": Kind}
	addOldNames(properties)
	return s
}

// addOldNames adds the fields that are accepted under their old name.
func addOldNames(properties map[string]any) {
	below := func(name string) map[string]any {
		return properties[name].(map[string]any)["properties"].(map[string]any)
	}
	properties = below("disk")
	readers := below("readers")
	readers["uncollected"] = map[string]any{
		"type": []string{"array", "null"}, "items": map[string]any{"type": "string"},
		"deprecated": true, "description": "the old name of excludePods",
	}
}

// describedType is a type whose JSON is not what its Go kind says.
type describedType interface{ JSONSchema() string }

func schemaOf(t reflect.Type) any {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if d, ok := reflect.Zero(t).Interface().(describedType); ok {
		return json.RawMessage(d.JSONSchema())
	}
	switch t.Kind() {
	case reflect.Struct:
		return structSchema(t)
	case reflect.Slice:
		return map[string]any{"type": []string{"array", "null"}, "items": schemaOf(t.Elem())}
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Uint32, reflect.Uint64, reflect.Uint:
		return map[string]any{"type": "integer", "minimum": 0}
	}
	return map[string]any{"type": "integer"}
}

func structSchema(t reflect.Type) map[string]any {
	properties := make(map[string]any)
	for sf := range settableFields(t) {
		properties[jsonName(sf)] = schemaOf(sf.Type)
	}
	return map[string]any{"type": []string{"object", "null"}, "properties": properties, "additionalProperties": false}
}
