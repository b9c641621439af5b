package main

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/nodetune/nodetune/sysctl"
)

func readme(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../README.md")
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

func TestReadmeConfigurationIsValid(t *testing.T) {
	for i, block := range strings.Split(readme(t), "```yaml\n")[1:] {
		text, _, _ := strings.Cut(block, "```")
		if !strings.Contains(text, "kind: "+configKind+"\n") {
			continue
		}
		if _, err := parseConfig([]byte(text), fmt.Sprintf("README block %d", i)); err != nil {
			t.Error(err)
		}
	}
}

func TestReadmeProfiles(t *testing.T) {
	text := readme(t)
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
