package cli

import (
	"bytes"
	"encoding/json"
)

// rawDocument decodes a document with its numbers as they are.
func rawDocument(b []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var doc any
	return doc, dec.Decode(&doc)
}
