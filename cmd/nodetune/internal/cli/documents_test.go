package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/nodetune/nodetune/internal/goldentest"
)

func page(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(repository(t), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestMakeRunRaisesTheLimits runs the first of them. Each has a block of its own,
// the first two of the README.
func TestReadmeBeginsWithTheTwoCommands(t *testing.T) {
	var first []string
	for i, block := range strings.Split(page(t, "README.md"), "```") {
		if i%2 == 0 || len(first) == 2 {
			continue
		}
		command, ok := strings.CutPrefix(block, "sh\n")
		if !ok {
			t.Errorf("a block before the two commands is no sh block:\n%s", block)
		}
		first = append(first, strings.TrimSpace(command))
	}
	if want := []string{"make run", "make test"}; !reflect.DeepEqual(first, want) {
		t.Errorf("the first commands are %q, want %q", first, want)
	}
}

func TestPageShowsWhatCheckPrints(t *testing.T) {
	script, err := os.ReadFile("testdata/script/check.txtar")
	if err != nil {
		t.Fatal(err)
	}
	_, want, ok := strings.Cut(string(script), "-- want --\n")
	if !ok {
		t.Fatal("check.txtar has no file want")
	}
	goldentest.CompareSection(t, filepath.Join(repository(t), "docs/sysctls.md"), "$ nodetune check\n", "```\n", want)
}

// The README is the front door: one can read it in one sitting.
func TestReadmeIsShort(t *testing.T) {
	if n := strings.Count(page(t, "README.md"), "\n"); n > 200 {
		t.Errorf("the README has %d lines, want 200 at most: move text to docs", n)
	}
}

// markdownLink matches the target of a link or an image.
var markdownLink = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// Each link of a document to another file of the repository, and to a heading,
// has its target.
func TestDocumentLinks(t *testing.T) {
	links := 0
	for _, name := range documentNames(t) {
		for _, m := range markdownLink.FindAllStringSubmatch(page(t, name), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			links++
			file, heading, _ := strings.Cut(m[1], "#")
			target := name
			if file != "" {
				target = filepath.Join(filepath.Dir(name), file)
			}
			info, err := os.Stat(filepath.Join(repository(t), target))
			if err != nil {
				t.Errorf("%s links to %s: %v", name, m[1], err)
				continue
			}
			if heading == "" {
				continue
			}
			if info.IsDir() || !slices.Contains(anchors(page(t, target)), heading) {
				t.Errorf("%s links to %s: there is no such heading", name, m[1])
			}
		}
	}
	if links < 20 {
		t.Errorf("found %d links, want 20 or more", links)
	}
}

// anchors returns the names that GitHub gives to the headings of a document.
func anchors(text string) (all []string) {
	for i, part := range strings.Split("\n"+text, "\n```") {
		if i%2 == 1 { // a code block
			continue
		}
		for line := range strings.Lines(part) {
			title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " ")
			if !ok || !strings.HasPrefix(line, "#") {
				continue
			}
			anchor := strings.Map(func(r rune) rune {
				switch {
				case r == ' ':
					return '-'
				case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
					return unicode.ToLower(r)
				}
				return -1
			}, strings.TrimSpace(title))
			all = append(all, anchor)
		}
	}
	return all
}

// Each test that a document names exists.
func TestDocumentsNameTests(t *testing.T) {
	out, err := exec.Command("git", "-C", repository(t), "grep", "--untracked", "-hoE", "^func (Test|Fuzz|Benchmark)[A-Za-z0-9_]+", "--", "*_test.go").Output()
	if err != nil {
		t.Fatal(err)
	}
	functions := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		functions[strings.TrimSpace(strings.TrimPrefix(line, "func "))] = true
	}
	named := regexp.MustCompile(`\b(Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9_]+`)
	for _, name := range documentNames(t) {
		for _, function := range named.FindAllString(page(t, name), -1) {
			if !functions[function] {
				t.Errorf("%s names %s, which is no test", name, function)
			}
		}
	}
}

// documentNames are the Markdown files of the repository.
func documentNames(t *testing.T) []string {
	t.Helper()
	out, err := exec.Command("git", "-C", repository(t), "ls-files", "--cached", "--others", "--exclude-standard", "*.md").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(out))
}

// Each picture of the documents is made by a script beside it, and each that a document shows
// is there.
func TestPicturesHaveAScript(t *testing.T) {
	dir := filepath.Join(repository(t), "docs/images")
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var pictures []string
	scripts := ""
	for _, e := range entries {
		if e.Name() == "icon.svg" {
			continue // the chart's, which shows no output
		}
		if ext := filepath.Ext(e.Name()); ext == ".svg" || ext == ".png" {
			pictures = append(pictures, e.Name())
			continue
		}
		scripts += page(t, filepath.Join("docs/images", e.Name()))
	}
	if len(pictures) < 4 {
		t.Errorf("found %q", pictures)
	}
	for _, p := range pictures {
		name := strings.TrimSuffix(p, filepath.Ext(p))
		if !strings.Contains(scripts, "docs/images/"+p) && !strings.Contains(scripts, "\npicture "+name+" ") {
			t.Errorf("no script makes docs/images/%s", p)
		}
	}
}

// Each test that the threat model names is there.
func TestThreatModelNamesTests(t *testing.T) {
	root := repository(t)
	tests := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "bin"):
			return filepath.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		b, err := os.ReadFile(path)
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(string(b), -1) {
			tests[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(page(t, "docs/threat-model.md"), -1)
	if len(named) < 50 {
		t.Fatalf("only %d tests are named", len(named))
	}
	for _, m := range named {
		if !tests[m[1]] {
			t.Errorf("docs/threat-model.md names %s, which is no test", m[1])
		}
	}
}

// The page of permissions says of each overlay what it gives away.
func TestEachVariantGivesAway(t *testing.T) {
	_, table, _ := strings.Cut(page(t, "docs/permissions.md"), "## What each variant gives away\n")
	table, _, _ = strings.Cut(table, "\n## ")
	overlays, err := os.ReadDir(filepath.Join(repository(t), "deploy/overlays"))
	if err != nil || len(overlays) < 10 {
		t.Fatalf("%d overlays, %v", len(overlays), err)
	}
	for _, o := range overlays {
		if first, _, _ := strings.Cut(table, "`"+o.Name()+"`"); first == table || strings.Count(first[strings.LastIndexByte(first, '\n')+1:], "|") != 1 {
			t.Errorf("no row begins with %s", o.Name())
		}
	}
}
