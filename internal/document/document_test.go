package document

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// What a process calls itself comes back whole from a document, and reaches no
// terminal as a command.
func TestDocumentsAreSafe(t *testing.T) {
	const comm = "a\x1b[2J\n\u009b31m\x7f\u202e<&>\u2028\\u009b"
	for _, format := range []string{"json", "yaml"} {
		encode := JSON
		if format == "yaml" {
			encode = YAML
		}
		encoded, err := encode(map[string]string{"comm": comm})
		if err != nil {
			t.Fatal(err)
		}
		b := bytes.NewBuffer(encoded)
		if i := strings.IndexFunc(strings.ReplaceAll(b.String(), "\n", ""), func(r rune) bool {
			return r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u202e'
		}); i >= 0 {
			t.Errorf("%s: raw control character in %q", format, b.String())
		}
		var back map[string]string
		err = json.Unmarshal(b.Bytes(), &back)
		if format == "yaml" {
			err = yaml.Unmarshal(b.Bytes(), &back)
		}
		if err != nil || back["comm"] != comm {
			t.Errorf("%s: %q came back as %q: %v", format, comm, back["comm"], err)
		}
	}
}
