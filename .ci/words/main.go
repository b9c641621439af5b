// Command words counts private words in the prose of this repository: words
// that the Kubernetes and Prometheus documentation would not use, because the
// actor is not named or the meaning has to be guessed. It prints the figure of
// each room and fails if a room has two or more in a thousand words.
//
// Prose is the comments of Go, C, shell, Makefile and YAML files, the string
// literals of Go files outside tests that hold three words or more, and
// Markdown. Code blocks, `code` and quoted output are left out.
//
//	go run ./.ci/words          # the figures
//	go run ./.ci/words -v DIR   # every place below DIR
package main

import (
	"flag"
	"fmt"
	"go/scanner"
	"go/token"
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// private is the definition: each entry is matched as whole words.
var private = regexp.MustCompile(`(?i)\b(whoever|whomever|nobody|nobody's|somebody|somebody's|seldom|seldomer|anew|said|tell|tells|telling|told|be had|goes by|stands still|stand still|standing still|what follows)\b`)

var (
	word   = regexp.MustCompile(`[A-Za-z][A-Za-z'-]*`)
	code   = regexp.MustCompile("`[^`]*`")
	quoted = regexp.MustCompile(`"[^"\n]*"`)
	// inC is a comment of C, also one over several lines.
	inC = regexp.MustCompile(`(?s)/\*.*?\*/|//[^\n]*`)
)

// limit is the number of private words in a thousand that fails.
const limit = 2.0

// count is what one room has.
type count struct{ words, private int }

func main() {
	verbose := flag.Bool("v", false, "print every place")
	flag.Parse()
	out, err := exec.Command("git", "ls-files", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		fmt.Fprintln(os.Stderr, "words: list the files of the repository:", err)
		os.Exit(2)
	}
	rooms := map[string]*count{}
	for name := range strings.Lines(string(out)) {
		name = strings.TrimSuffix(name, "\n")
		if flag.NArg() > 0 && !strings.HasPrefix(name, strings.TrimSuffix(flag.Arg(0), "/")) {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			continue // deleted, and not committed yet
		}
		room := rooms[roomOf(name)]
		if room == nil {
			room = &count{}
			rooms[roomOf(name)] = room
		}
		for _, p := range prose(name, text) {
			room.words += len(word.FindAllString(p, -1))
			found := private.FindAllString(p, -1)
			room.private += len(found)
			if *verbose && len(found) > 0 {
				fmt.Printf("%s: %q: %s\n", name, found, strings.Join(strings.Fields(p), " "))
			}
		}
	}
	if !report(rooms) {
		os.Exit(1)
	}
}

// report prints the rooms, and reports whether all are below the limit.
func report(rooms map[string]*count) bool {
	names := make([]string, 0, len(rooms))
	for n := range rooms {
		names = append(names, n)
	}
	slices.Sort(names)
	ok := true
	for _, n := range names {
		c := rooms[n]
		if c.words == 0 {
			continue
		}
		rate := 1000 * float64(c.private) / float64(c.words)
		mark := ""
		if rate >= limit {
			mark, ok = "  too many", false
		}
		fmt.Printf("%6.2f  %4d of %6d  %s%s\n", rate, c.private, c.words, n, mark)
	}
	return ok
}

// roomOf is the directory of a package, and for documents the directory.
func roomOf(name string) string {
	dir := path.Dir(name)
	for _, top := range []string{"deploy", "docs", "e2e", ".ci"} {
		if dir == top || strings.HasPrefix(dir, top+"/") {
			return top
		}
	}
	dir, _, _ = strings.Cut(dir, "/testdata")
	return dir
}

// prose returns the pieces of a file that people read.
func prose(name string, text []byte) []string {
	switch {
	case name == ".ci/words/main.go":
		return nil // the list itself
	case strings.HasSuffix(name, ".go"):
		if strings.HasPrefix(string(text), "// Code generated") {
			return nil
		}
		return inGo(text, strings.HasSuffix(name, "_test.go"))
	case strings.HasSuffix(name, ".c"), strings.HasSuffix(name, ".h"):
		return clean(inC.FindAllString(string(text), -1))
	case strings.HasSuffix(name, ".md"):
		return clean(inMarkdown(string(text)))
	case strings.HasSuffix(name, ".yaml"), strings.HasSuffix(name, ".yml"), path.Base(name) == "Makefile", strings.HasPrefix(string(text), "#!"):
		var all []string
		for line := range strings.Lines(string(text)) {
			if _, comment, ok := strings.Cut(line, "# "); ok {
				all = append(all, comment)
			}
		}
		return clean(all)
	}
	return nil
}

func inGo(text []byte, test bool) (all []string) {
	var s scanner.Scanner
	fset := token.NewFileSet()
	s.Init(fset.AddFile("", fset.Base(), len(text)), text, nil, scanner.ScanComments)
	for {
		_, tok, lit := s.Scan()
		switch {
		case tok == token.EOF:
			return all
		case tok == token.COMMENT:
			all = append(all, clean([]string{lit})...)
		case tok == token.STRING && !test:
			if v, err := strconv.Unquote(lit); err == nil && len(word.FindAllString(v, 3)) == 3 {
				all = append(all, v)
			}
		}
	}
}

// inMarkdown leaves out code blocks.
func inMarkdown(text string) (all []string) {
	block := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			block = !block
			continue
		}
		if !block && !strings.HasPrefix(line, "    ") {
			all = append(all, line)
		}
	}
	return all
}

func clean(all []string) []string {
	for i := range all {
		all[i] = quoted.ReplaceAllString(code.ReplaceAllString(all[i], ""), "")
	}
	return all
}
