package cli

import (
	"io"

	encode "github.com/nodetune/nodetune/internal/document"
	"github.com/nodetune/nodetune/reporter"
)

// apiVersion marks every document and configuration.
const apiVersion = reporter.APIVersion

// print writes doc as JSON or YAML, or calls table.
func (o *options) print(w io.Writer, doc any, table func(io.Writer) error) error {
	var b []byte
	var err error
	switch o.output {
	case "json":
		b, err = encode.JSON(doc)
	case "yaml":
		b, err = encode.YAML(doc)
	default:
		return table(w)
	}
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}
