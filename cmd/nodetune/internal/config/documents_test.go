package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nodetune/nodetune/internal/goldentest"
	"github.com/nodetune/nodetune/sysctl"
)

// documents returns the text of the README, of deploy/README.md and of each
// page in docs, by name.
func documents(t *testing.T) map[string]string {
	t.Helper()
	root := goldentest.Root(t)
	names, err := filepath.Glob(filepath.Join(root, "docs/*.md"))
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, name := range append(names, filepath.Join(root, "README.md"), filepath.Join(root, "deploy/README.md")) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			t.Fatal(err)
		}
		texts[rel] = string(b)
	}
	return texts
}

func TestDocumentedConfigurationIsValid(t *testing.T) {
	configurations := 0
	for name, text := range documents(t) {
		for i, block := range strings.Split(text, "```yaml\n")[1:] {
			text, _, _ := strings.Cut(block, "```")
			if !strings.Contains(text, "kind: "+Kind+"\n") {
				continue
			}
			configurations++
			if _, err := parse([]byte(text), fmt.Sprintf("%s, block %d", name, i)); err != nil {
				t.Error(err)
			}
		}
	}
	if configurations < 2 {
		t.Errorf("found %d configurations in the documents, want two or more", configurations)
	}
}

func TestDocumentedProfiles(t *testing.T) {
	const page = "docs/configuration.md"
	text := documents(t)[page]
	for _, r := range sysctl.DefaultPolicy().Rules {
		if r.ReportOnly {
			continue
		}
		row := "| " + r.Key + " |"
		for _, name := range sysctl.Profiles {
			p, err := sysctl.Profile(name)
			if err != nil {
				t.Fatal(err)
			}
			cell := " |"
			for _, other := range p.Rules {
				if other.Key == r.Key {
					cell = fmt.Sprintf(" %d", int64(*other.AtLeast))
					if other.MemoryPercent > 0 {
						cell += fmt.Sprintf(", or %v%% of memory", other.MemoryPercent)
					}
					cell += " |"
				}
			}
			row += cell
		}
		if !strings.Contains(text, row+"\n") {
			t.Errorf("%s lacks the row\n%s", page, row)
		}
	}
}
