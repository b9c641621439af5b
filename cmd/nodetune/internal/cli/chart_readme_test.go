package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/nodetune/nodetune/internal/goldentest"
)

// The README of the chart has a row for each value, in the order of values.yaml and with
// its comments.
func TestChartValuesTable(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(repository(t), "deploy/chart/values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	rows := valueRows(t, "", "", doc.Content[0])
	if len(rows) < 100 {
		t.Fatalf("values.yaml has only %d values", len(rows))
	}
	table := "\n| value | default | what it does |\n|---|---|---|\n" + strings.Join(rows, "") + "\n"
	goldentest.CompareSection(t, filepath.Join(repository(t), "deploy/chart/README.md"),
		"<!-- UPDATE_GOLDEN=1 go test ./cmd/nodetune/internal/cli writes this table -->\n", "<!-- end of the table -->\n", table)
}

// Each row of the table says what its value is: by itself, or by the object it is in.
func TestValueRows(t *testing.T) {
	for in, want := range map[string][]string{
		"# One.\n# Two.\na: 1\n":                    {"| `a` | `1` | One. Two. |\n"},
		"a: \"\" # one\n":                           {"| `a` | `\"\"` | one |\n"},
		"# Of a.\na:\n  b: x # one\n  c: {}\n":      {"| `a.b` | `x` | Of a. one |\n", "| `a.c` | `{}` | Of a. |\n"},
		"# Of a.\na:\n  b: 1\n  # Of c.\n  c: 2\n":  {"| `a.b` | `1` | Of a. |\n", "| `a.c` | `2` | Of c. |\n"},
		"# Of a.\na:\n  # Of b.\n  b: true\n":       {"| `a.b` | `true` | Of a. Of b. |\n"},
		"a: [x, y]\n":                               {"| `a` | `[\"x\",\"y\"]` | |\n"},
		"a: p|q # r|s\n":                            {"| `a` | `p\\|q` | r\\|s |\n"},
		"a: null # none\n":                          {"| `a` | `null` | none |\n"},
		"pools: []\n#  - name: x\n#    b: c\n":      {"| `pools` | `[]` | |\n"},
		"a: [" + strings.Repeat("x, ", 60) + "x]\n": {"| `a` | in values.yaml | |\n"},
	} {
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte(in), &doc); err != nil {
			t.Fatal(err)
		}
		if got := valueRows(t, "", "", doc.Content[0]); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// valueRows returns a row for each scalar, list and empty map of a map. The comment of a
// map is that of the first value in it, and of each without a comment.
func valueRows(t *testing.T, path, about string, of *yaml.Node) (rows []string) {
	t.Helper()
	for i := 0; i+1 < len(of.Content); i += 2 {
		key, value := of.Content[i], of.Content[i+1]
		name := strings.TrimPrefix(path+"."+key.Value, ".")
		words := strings.TrimSpace(comment(key.HeadComment) + " " + comment(key.LineComment) + " " + comment(value.LineComment))
		if i == 0 || words == "" {
			words = strings.TrimSpace(about + " " + words)
		}
		if value.Kind == yaml.MappingNode && len(value.Content) > 0 {
			rows = append(rows, valueRows(t, name, words, value)...)
			continue
		}
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %s|\n", name, defaultText(t, value), cell(words)))
	}
	return rows
}

// comment is a comment as one line. Of several paragraphs the last one is that of
// the value.
func comment(text string) string {
	if i := strings.LastIndex(text, "\n\n"); i >= 0 {
		text = text[i:]
	}
	var words []string
	for line := range strings.Lines(text) {
		words = append(words, strings.Fields(strings.TrimLeft(strings.TrimSpace(line), "#"))...)
	}
	return strings.Join(words, " ")
}

func cell(words string) string {
	if words = strings.Join(strings.Fields(strings.ReplaceAll(words, "|", `\|`)), " "); words == "" {
		return ""
	}
	return words + " "
}

func defaultText(t *testing.T, value *yaml.Node) string {
	t.Helper()
	text := value.Value
	if value.Kind != yaml.ScalarNode || value.Tag == "!!str" && text == "" {
		var v any
		if err := value.Decode(&v); err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		text = string(b)
	}
	if len(text) > 100 {
		return "in values.yaml"
	}
	return "`" + strings.ReplaceAll(text, "|", `\|`) + "`"
}
