// Package shelltest finds the commands of a Markdown document, for tests that
// parse and run them.
//
// A real bash splits each line, with quotes, pipes, substitutions and redirections.
// It finds no program, and records the arguments of each that it looks for, so
// nothing of the document runs. [Commands] needs bash in $PATH.
package shelltest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A Script is what a reader copies at once: a line after a prompt, a block, or a
// code span.
type Script struct {
	Text string
	// Inline scripts are parts of a sentence: one of a single word, or without
	// its last argument, may be the name of a program and not a command.
	Inline bool
}

var (
	fence = regexp.MustCompile("(?ms)^ *```([a-z]*)\n(.*?)^ *```")
	span  = regexp.MustCompile("`([^`\n]+)`")
)

// Scripts returns the scripts of a document: the lines after `$ ` or `# ` of a console
// block, whole blocks of sh, and the code spans that begin with one of programs
// or with sudo.
func Scripts(markdown string, programs ...string) (all []Script) {
	for _, m := range fence.FindAllStringSubmatch(markdown, -1) {
		switch m[1] {
		case "console":
			all = append(all, prompts(m[2])...)
		case "sh", "bash":
			all = append(all, Script{Text: m[2]})
		}
	}
	for _, m := range span.FindAllStringSubmatch(fence.ReplaceAllString(markdown, ""), -1) {
		first, rest, _ := strings.Cut(strings.TrimPrefix(m[1], "sudo "), " ")
		if rest != "" && (slices.Contains(programs, first) || strings.HasPrefix(m[1], "sudo ")) {
			all = append(all, Script{Text: m[1], Inline: true})
		}
	}
	return all
}

// prompts returns the commands of a console block. A line that ends with a
// backslash goes on.
func prompts(block string) (all []Script) {
	open := false
	for line := range strings.Lines(block) {
		command, ok := strings.CutPrefix(strings.TrimLeft(line, " "), "$ ")
		switch {
		case ok:
			all = append(all, Script{Text: command})
		case open:
			all[len(all)-1].Text += line
		}
		open = (ok || open) && strings.HasSuffix(strings.TrimRight(line, "\n"), `\`)
	}
	return all
}

// record makes bash write what it would run to a file of its own: the number of
// arguments, and the arguments.
// A program with a path would be found, so the DEBUG trap records it and skips it.
const record = `command_not_found_handle() { printf '%s\0' "$#" "$@" >"$RECORD/$BASHPID.$RANDOM"; }
enable -n kill test [ cd exec source .
PATH=/nonexistent
shopt -s extdebug
trap 'case ${BASH_COMMAND%% *} in *=*) ;; */*) command_not_found_handle $BASH_COMMAND; false ;; esac' DEBUG
`

// Commands returns the arguments of each program that text would run, with the
// program first and without sudo.
func Commands(t testing.TB, text string) (all [][]string) {
	t.Helper()
	if len(text) > 8<<10 {
		t.Fatalf("a script of %d bytes", len(text))
	}
	dir := t.TempDir()
	work := filepath.Join(dir, "work")
	if err := os.Mkdir(work, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "bash", "--norc", "-c", record+text)
	cmd.Dir = work // of its redirections
	cmd.Env = []string{"RECORD=" + dir, "LC_ALL=C"}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("bash does not take %q: %v: %s", text, err, out)
	}
	files, err := filepath.Glob(filepath.Join(dir, "[0-9]*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		fields := bytes.Split(bytes.TrimSuffix(b, []byte{0}), []byte{0})
		if n, err := strconv.Atoi(string(fields[0])); err != nil || n != len(fields)-1 {
			t.Fatalf("%q: recorded %q", text, b)
		}
		args := make([]string, 0, len(fields)-1)
		for _, f := range fields[1:] {
			args = append(args, string(f))
		}
		if args[0] == "sudo" {
			args = args[1:]
		}
		if len(args) > 0 {
			all = append(all, args)
		}
	}
	slices.SortFunc(all, slices.Compare)
	return all
}

// Nodetune returns the arguments of nodetune in a command: those after its name, also
// where kubectl runs it in a pod.
func Nodetune(command []string) ([]string, bool) {
	switch filepath.Base(command[0]) {
	case "nodetune":
		return command[1:], true
	case "kubectl":
		if i := slices.Index(command, "--"); i >= 0 && i+1 < len(command) && filepath.Base(command[i+1]) == "nodetune" {
			return command[i+2:], true
		}
	}
	return nil, false
}
