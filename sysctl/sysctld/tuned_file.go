package sysctld

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// tunedSection is one section of a tuned.conf. Option names are unique; an
// option that is set twice keeps its first position, as in Python's dict.
type tunedSection struct {
	name    string
	options []*tunedOption
}

type tunedOption struct {
	name, value string
	Place
}

func (s *tunedSection) find(name string) *tunedOption {
	for _, o := range s.options {
		if o.name == name {
			return o
		}
	}
	return nil
}

// pop removes an option and returns its value, or fallback.
func (s *tunedSection) pop(name, fallback string) string {
	for i, o := range s.options {
		if o.name == name {
			s.options = append(s.options[:i:i], s.options[i+1:]...)
			return o.value
		}
	}
	return fallback
}

// parseTuned reads a profile as Python's configparser does with TuneD's
// arguments: "=" delimits, # after a blank begins a comment, a line that is
// indented further continues the value before it. An error means that TuneD
// does not load the profile at all.
func parseTuned(r io.Reader, file string) ([]*tunedSection, error) {
	content, err := io.ReadAll(io.LimitReader(r, maxFileBytes+1))
	if err != nil {
		return nil, err
	}
	if len(content) > maxFileBytes {
		return nil, errLargeFile
	}
	content = bytes.ReplaceAll(content, []byte("\r\n"), []byte("\n"))
	content = bytes.ReplaceAll(content, []byte("\r"), []byte("\n"))
	var sections []*tunedSection
	byName := make(map[string]*tunedSection)
	options := make(map[*tunedSection]map[string]*tunedOption)
	var section *tunedSection
	var option *tunedOption
	indent, n := 0, 0
	for text := range strings.SplitSeq(string(content), "\n") {
		n++
		line := strings.TrimSpace(tunedComment(text))
		if line == "" {
			if option != nil && strings.TrimSpace(text) == "" {
				option.value += "\n" // part of the value, where the value goes on
			}
			continue
		}
		deep := strings.IndexFunc(text, func(c rune) bool { return !unicode.IsSpace(c) })
		if option != nil && deep > indent {
			option.value += "\n" + line
			continue
		}
		indent = deep
		if name, ok := tunedHeader(line); ok {
			if section = byName[name]; section == nil {
				section = &tunedSection{name: name}
				byName[name], options[section] = section, make(map[string]*tunedOption)
				sections = append(sections, section)
			}
			option = nil
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		name = strings.TrimSpace(name)
		switch {
		case section == nil:
			return nil, fmt.Errorf("line %d stands before the first section", n)
		case !ok || name == "":
			return nil, fmt.Errorf("line %d is no option", n)
		}
		value = strings.TrimSpace(value)
		if option = options[section][name]; option != nil {
			option.value, option.Line = value, n
			continue
		}
		option = &tunedOption{name, value, Place{file, n}}
		options[section][name] = option
		section.options = append(section.options, option)
	}
	for _, s := range sections {
		for _, o := range s.options {
			o.value = strings.TrimRightFunc(o.value, unicode.IsSpace)
		}
	}
	return sections, nil
}

// tunedComment returns line without its comment.
func tunedComment(line string) string {
	if t := strings.TrimSpace(line); t == "" || t[0] == '#' || t[0] == ';' {
		return ""
	}
	for from := 0; ; {
		i := strings.IndexByte(line[from:], '#')
		if i < 0 {
			return line
		}
		if i += from; i == 0 || unicode.IsSpace(rune(line[i-1])) {
			return line[:i]
		}
		from = i + 1
	}
}

// tunedHeader is SECTCRE of configparser, which ignores the rest of the line.
func tunedHeader(line string) (string, bool) {
	if line[0] != '[' {
		return "", false
	}
	end := strings.LastIndexByte(line, ']')
	if end < 2 {
		return "", false
	}
	return line[1:end], true
}

// tunedTrue reports whether TuneD takes a value of enabled or replace as true.
func tunedTrue(value string) bool { return value == "True" || value == "true" || value == "1" }
