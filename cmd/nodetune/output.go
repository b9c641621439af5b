package main

import (
	"encoding/json"
	"io"

	"sigs.k8s.io/yaml"

	"github.com/nodetune/nodetune/reporter"
)

// apiVersion marks every document and configuration.
const apiVersion = reporter.APIVersion

// print writes doc as JSON or YAML, or calls table.
func (o *options) print(w io.Writer, doc any, table func(io.Writer) error) error {
	switch o.output {
	case "json":
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(doc)
	case "yaml":
		b, err := yaml.Marshal(doc)
		if err != nil {
			return err
		}
		_, err = w.Write(b)
		return err
	}
	return table(w)
}
