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
	"github.com/nodetune/nodetune/internal/shelltest"
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
		diagnosis, _, _ := strings.Cut(text, "\n## What nodetune has done\n")
		if len(shelltest.Scripts(diagnosis)) == 0 {
			t.Errorf("the diagnosis of %s has no command", name)
		}
		if n := strings.Count(text, "\n"); n > 80 {
			t.Errorf("%s has %d lines: an operator reads it at night", name, n)
		}
	}
}

// runbookPrograms are the programs that the pages use.
var runbookPrograms = []string{
	"awk", "cat", "curl", "dmesg", "du", "findmnt", "grep", "gzip", "journalctl", "kill", "kubectl", "ls", "mount",
	"nodetune", "prlimit", "ps", "rm", "sort", "systemctl", "tail", "umount", "head",
}

// runbookCommands returns each command of the page, as a shell would run it.
func runbookCommands(t *testing.T, name string) (all [][]string) {
	t.Helper()
	for _, s := range shelltest.Scripts(page(t, filepath.Join(runbooks, name+".md")), runbookPrograms...) {
		all = append(all, shelltest.Commands(t, s.Text)...)
	}
	return all
}

// Each command of a page is one that a test knows: those of nodetune have flags and arguments
// that it takes. TestRunbookCommands of e2e/alerts runs all that read only on a node in
// trouble, TestPlugin those of kubectl on a cluster.
func TestRunbookCommandsParse(t *testing.T) {
	n := 0
	for _, name := range append(runbookNames(t), "README") {
		for _, command := range runbookCommands(t, name) {
			if !slices.Contains(runbookPrograms, command[0]) {
				t.Errorf("%s: %q: add the program to runbookPrograms, and its arguments to TestRunbookCommands of e2e/alerts", name, command)
			}
			args, ok := shelltest.Nodetune(command)
			if !ok {
				continue
			}
			n++
			if err := parses(args); err != nil {
				t.Errorf("%s: nodetune %q: %v", name, args, err)
			}
		}
	}
	if n < 40 {
		t.Errorf("found %d commands", n)
	}
	for _, wrong := range [][]string{{"chek"}, {"check", "--wat"}, {"check", "more"}, {"disk", "reclaim", "x"}, {"why"}, {"explain", "a", "b"}, {"--wat"}, {"top", "--rows", "many"}} {
		if parses(wrong) == nil {
			t.Errorf("nodetune %q parses", wrong)
		}
	}
}

// Each command of nodetune in any document has flags that it takes.
func TestDocumentCommandsParse(t *testing.T) {
	n := 0
	for _, name := range documentNames(t) {
		if name == "CHANGELOG.md" {
			continue // it quotes commands of older versions
		}
		for _, s := range shelltest.Scripts(page(t, name), "nodetune") {
			for _, command := range shelltest.Commands(t, s.Text) {
				args, ok := shelltest.Nodetune(command)
				if !ok || len(args) == 0 {
					continue
				}
				n++
				err := parses(args)
				if s.Inline {
					err = flagsParse(args)
				}
				if err != nil {
					t.Errorf("%s: nodetune %q: %v", name, args, err)
				}
			}
		}
	}
	if n < 80 {
		t.Errorf("found %d commands", n)
	}
}

// flagsParse reports why nodetune would refuse the command or its flags.
func flagsParse(args []string) error {
	cmd, rest, err := newRoot().Find(args)
	if err != nil {
		return err
	}
	return cmd.ParseFlags(rest)
}

// parses reports why nodetune would refuse args.
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
	placeholders := strings.NewReplacer("FILE", config, "nodetune.yaml", config, "KEY", "fs.file-max", "fluent-bit", fmt.Sprint(os.Getpid()), "fluentd", fmt.Sprint(os.Getpid()), "PROGRAM", fmt.Sprint(os.Getpid()))
	run := map[string]bool{}
	for _, name := range runbookNames(t) {
		for _, command := range runbookCommands(t, name) {
			args, _ := shelltest.Nodetune(command)
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

var (
	loggedMessage = regexp.MustCompile(`\bmsg=(?:"((?:[^"\\]|\\.)*)"|(\S+))`)
	logReason     = regexp.MustCompile(`\b(?:reason|outcome)=([A-Z][A-Za-z]+)`)
)

// A page quotes a log line, or searches for one, that nodetune can still write: its
// message, its reason, and what `grep` looks for are in the source.
func TestRunbooksQuoteLogMessages(t *testing.T) {
	source := sources(t)
	quoted := map[string]string{}
	for _, name := range runbookNames(t) {
		text := page(t, filepath.Join(runbooks, name+".md"))
		for _, m := range loggedMessage.FindAllStringSubmatch(text, -1) {
			quoted[`"`+m[1]+m[2]] = name
		}
		for _, m := range logReason.FindAllStringSubmatch(text, -1) {
			quoted[`"`+m[1]+`"`] = name
		}
		for _, s := range shelltest.Scripts(text) {
			if !strings.Contains(s.Text, " logs ") {
				continue
			}
			for _, command := range shelltest.Commands(t, s.Text) {
				if command[0] != "grep" {
					continue
				}
				pattern := command[len(command)-1]
				for _, part := range strings.Split(pattern, "|") {
					_, value, _ := strings.Cut(part, "=") // of key=value as the logger writes it
					if value == "" {
						value = part
					}
					quoted[value] = name
				}
			}
		}
	}
	for what, name := range quoted {
		if !strings.Contains(source, what) {
			t.Errorf("%s quotes %s, which nodetune does not write", name, what)
		}
	}
	if len(quoted) < 20 {
		t.Errorf("found only %q", quoted)
	}
}

// sources is the text of all Go files but tests.
func sources(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("git", "-C", repository(t), "ls-files", "--cached", "--others", "--exclude-standard", "cmd", "sysctl", "inotify", "disk", "reporter").Output()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for name := range strings.FieldsSeq(string(out)) {
		if strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") {
			b.WriteString(page(t, name))
		}
	}
	return b.String()
}
