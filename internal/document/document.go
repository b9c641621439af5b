// Package document encodes documents that people read on a terminal too.
package document

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode"

	"sigs.k8s.io/yaml"
)

// YAML is [JSON] as YAML. yaml.Marshal fails on controls that
// encoding/json leaves as they are, and the library writes some itself: then
// the document stays JSON, which is YAML too.
func YAML(doc any) ([]byte, error) {
	asJSON, err := JSON(doc)
	if err != nil {
		return nil, err
	}
	b, err := yaml.JSONToYAML(asJSON)
	if err != nil || bytes.ContainsFunc(b, isTerminalControl) {
		return asJSON, err
	}
	return b, nil
}

// JSON encodes doc so that nothing in it reaches a terminal as a command:
// encoding/json escapes the controls of ASCII only.
func JSON(doc any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(doc); err != nil {
		return nil, err
	}
	if !bytes.ContainsFunc(b.Bytes(), isTerminalControl) {
		return b.Bytes(), nil
	}
	var safe bytes.Buffer
	for _, r := range b.String() {
		if isTerminalControl(r) {
			fmt.Fprintf(&safe, "\\u%04x", r) // all of them are in the first plane
		} else {
			safe.WriteRune(r)
		}
	}
	return safe.Bytes(), nil
}

// isTerminalControl reports whether a terminal may obey r: DEL, the C1 controls, and what
// turns the direction of text around (Unicode's Bidi_Control).
func isTerminalControl(r rune) bool {
	return r < ' ' && r != '\n' || r >= 0x7f && r < 0xa0 || unicode.Is(unicode.Bidi_Control, r)
}
