package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/nodetune/nodetune/internal/goldentest"
	"github.com/nodetune/nodetune/reporter/condition"
)

const runbooks = "docs/runbooks"

// alertRule is one alert of the rules that are shipped.
type alertRule struct {
	Alert, For string
	Labels     map[string]string
}

func alertRules(t *testing.T) (all []alertRule) {
	t.Helper()
	var rules struct{ Groups []struct{ Rules []alertRule } }
	if err := yaml.Unmarshal([]byte(page(t, "deploy/chart/files/rules.yaml")), &rules); err != nil {
		t.Fatal(err)
	}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			if r.Alert != "" {
				all = append(all, r)
			}
		}
	}
	return all
}

// runbookNames are the pages, without their ending.
func runbookNames(t *testing.T) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(repository(t), runbooks, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if name := strings.TrimSuffix(filepath.Base(f), ".md"); name != "README" {
			names = append(names, name)
		}
	}
	return names
}

// No alert and no condition is without a page, and no page without an alert.
func TestEachAlertHasARunbook(t *testing.T) {
	var alerts []string
	for _, r := range alertRules(t) {
		alerts = append(alerts, r.Alert)
	}
	slices.Sort(alerts)
	alerts = slices.Compact(alerts)
	if got := runbookNames(t); len(alerts) < 25 || !slices.Equal(got, alerts) {
		t.Errorf("the pages are\n%q\nand the alerts\n%q", got, alerts)
	}
	for _, c := range condition.DefaultPolicy().Types {
		if !slices.Contains(alerts, "Nodetune"+string(c)) {
			t.Errorf("the condition %s has no page", c)
		}
	}
}

func TestRunbooksListsEachAlert(t *testing.T) {
	after := map[string]map[string]string{}
	for _, r := range alertRules(t) {
		if after[r.Alert] == nil {
			after[r.Alert] = map[string]string{}
		}
		if r.For == "" {
			r.For = "at once"
		}
		after[r.Alert][r.Labels["severity"]] = r.For
	}
	var b strings.Builder
	b.WriteString("| alert | warning after | critical after |\n|---|---|---|\n")
	for _, name := range runbookNames(t) {
		fmt.Fprintf(&b, "| [%s](%s.md) | %s | %s |\n", name, name, after[name]["warning"], after[name]["critical"])
	}
	goldentest.CompareSection(t, filepath.Join(repository(t), runbooks, "README.md"), "<!-- UPDATE_GOLDEN=1 go test ./cmd/nodetune/internal/cli writes this table -->\n", "<!-- end of the table -->\n", b.String())
}

// Each page has the same parts in the same order, and is short.
func TestRunbooksHaveTheirParts(t *testing.T) {
	for _, name := range runbookNames(t) {
		text := page(t, filepath.Join(runbooks, name+".md"))
		parts := regexp.MustCompile(`(?m)^#+ .*$`).FindAllString(text, -1)
		want := []string{"# " + name, "## Meaning", "## Impact", "## Diagnosis", "## What nodetune has done", "## Mitigation", "## What not to do"}
		if !slices.Equal(parts, want) {
			t.Errorf("%s has the parts %q, want %q", name, parts, want)
		}
		if len(runbookCommands(t, name)) == 0 && !strings.Contains(text, "\n$ kubectl ") {
			t.Errorf("the diagnosis of %s has no command", name)
		}
		if n := strings.Count(text, "\n"); n > 80 {
			t.Errorf("%s has %d lines: an operator reads it at night", name, n)
		}
	}
}

// shownCommand matches a command of nodetune in a console block, and inlineCommand one in the
// text.
var (
	shownCommand  = regexp.MustCompile(`(?m)^\$ (?:sudo )?(?:kubectl .* -- /)?nodetune ([^|\n]*)`)
	inlineCommand = regexp.MustCompile("`(?:sudo )?nodetune ([a-z][^`]*)`")
)

// runbookCommands are the arguments of each command of nodetune in the page.
func runbookCommands(t *testing.T, name string) (all [][]string) {
	t.Helper()
	text := page(t, filepath.Join(runbooks, name+".md"))
	for _, m := range append(shownCommand.FindAllStringSubmatch(text, -1), inlineCommand.FindAllStringSubmatch(text, -1)...) {
		all = append(all, strings.Fields(m[1]))
	}
	return all
}

// Each command of a page is one of nodetune, with flags and arguments that it takes.
func TestRunbookCommandsParse(t *testing.T) {
	n := 0
	for _, name := range runbookNames(t) {
		for _, args := range runbookCommands(t, name) {
			n++
			if err := parses(args); err != nil {
				t.Errorf("%s: nodetune %q: %v", name, args, err)
			}
		}
	}
	if n < 40 {
		t.Errorf("found %d commands", n)
	}
	for _, wrong := range [][]string{{"chek"}, {"check", "--wat"}, {"check", "more"}, {"disk", "reclaim", "x"}, {"why"}, {"explain", "a", "b"}} {
		if parses(wrong) == nil {
			t.Errorf("nodetune %q parses", wrong)
		}
	}
}

func parses(args []string) error {
	cmd, rest, err := newRoot().Find(args)
	if err != nil {
		return err
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	if !cmd.Runnable() {
		return fmt.Errorf("%s does nothing by itself", cmd.CommandPath())
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}

// readOnly are the commands that change nothing and need no privilege.
var readOnly = []string{"check", "top --once", "disk", "explain", "config validate", "config print-default", "why"}

// The commands of the pages that need no privilege run, on this machine, and exit with 0,
// or with 1 where something is not as wanted.
func TestRunbookCommandsRun(t *testing.T) {
	config := filepath.Join(t.TempDir(), "nodetune.yaml")
	put(t, config, "apiVersion: nodetune.io/v1alpha1\nkind: Configuration\n")
	placeholders := strings.NewReplacer("FILE", config, "nodetune.yaml", config, "KEY", "fs.file-max", "fluent-bit", fmt.Sprint(os.Getpid()), "PROGRAM", fmt.Sprint(os.Getpid()))
	run := map[string]bool{}
	for _, name := range runbookNames(t) {
		for _, args := range runbookCommands(t, name) {
			line := strings.Join(args, " ")
			if slices.ContainsFunc(readOnly, func(prefix string) bool { return line == prefix || strings.HasPrefix(line, prefix+" ") }) && !strings.HasPrefix(line, "disk r") {
				run[placeholders.Replace(line)] = true
			}
		}
	}
	if len(run) < 8 {
		t.Fatalf("only %v found", run)
	}
	for line := range run {
		args := strings.Fields(line)
		if args[0] == "disk" {
			args = append(args, "--window", "10ms")
		}
		var stderr strings.Builder
		cmd := exec.CommandContext(t.Context(), "nodetune", args...) // of testscript.Main
		cmd.Stderr = &stderr
		err := cmd.Run()
		// Another process may be none that has met a limit.
		if code := cmd.ProcessState.ExitCode(); err != nil && code != exitUnmet {
			t.Errorf("nodetune %s: %v: %s", line, err, stderr.String())
		}
	}
}
