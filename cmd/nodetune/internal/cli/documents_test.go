package cli

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func readme(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(repository(t), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestMakeRunRaisesTheLimits runs the first of them.
func TestReadmeBeginsWithTheTwoCommands(t *testing.T) {
	_, rest, _ := strings.Cut(readme(t), "```sh\n")
	var first []string
	for line := range strings.Lines(rest) {
		command, _, _ := strings.Cut(line, "#")
		if first = append(first, strings.TrimSpace(command)); len(first) == 2 {
			break
		}
	}
	if want := []string{"make run", "make test"}; !reflect.DeepEqual(first, want) {
		t.Errorf("the first commands are %q, want %q", first, want)
	}
}

func TestReadmeShowsWhatCheckPrints(t *testing.T) {
	script, err := os.ReadFile("testdata/script/check.txtar")
	if err != nil {
		t.Fatal(err)
	}
	_, want, ok := strings.Cut(string(script), "-- want --\n")
	if !ok || !strings.Contains(readme(t), "$ nodetune check\n"+want) {
		t.Errorf("the README shows something else than check prints:\n%s", want)
	}
}
