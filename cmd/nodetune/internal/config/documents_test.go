package config

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/nodetune/nodetune/sysctl"
)

func readmeText(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestReadmeConfigurationIsValid(t *testing.T) {
	for i, block := range strings.Split(readmeText(t), "```yaml\n")[1:] {
		text, _, _ := strings.Cut(block, "```")
		if !strings.Contains(text, "kind: "+Kind+"\n") {
			continue
		}
		if _, err := Parse([]byte(text), fmt.Sprintf("README block %d", i)); err != nil {
			t.Error(err)
		}
	}
}

func TestReadmeProfiles(t *testing.T) {
	text := readmeText(t)
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
			t.Errorf("the README's table of profiles lacks the row\n%s", row)
		}
	}
}
