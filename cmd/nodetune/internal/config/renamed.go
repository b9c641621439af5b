package config

import (
	"fmt"
	"slices"
	"strings"

	yamlnode "go.yaml.in/yaml/v3"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/disk/reclaim"
)

// A word is a value that was renamed. The old name is accepted for one release,
// with a warning.
type word struct {
	old, now string
	internal string // the one of both that the packages use and documents show
}

var modeWords = []word{{old: "own", now: "exclusive", internal: string(disk.Own)}}

var classWords = []word{
	{old: "foreign-archives", now: "other-archives", internal: string(reclaim.ClassOtherArchives)},
	{old: "live", now: "active-logs", internal: string(reclaim.ClassActiveLogs)},
}

// translate returns the internal name of value and a warning where it is an old
// word of the field or flag at.
func translate(words []word, at, value string) (internal, warning string) {
	for _, w := range words {
		switch value {
		case w.now:
			return w.internal, ""
		case w.old:
			return w.internal, fmt.Sprintf("%s: %s is the old name of %s: write %s, the next release refuses the old one", at, w.old, w.now, w.now)
		}
	}
	return value, ""
}

// ReclaimClass returns the class that a flag names, and a warning where it is by
// its old name.
func ReclaimClass(flag, name string) (c reclaim.Class, warning string, err error) {
	internal, warning := translate(classWords, flag, name)
	c = reclaim.Class(internal)
	if !slices.Contains(reclaim.Classes, c) {
		return c, "", fmt.Errorf("%s: %q is not a class: write one of %s%s", flag, name, strings.Join(ReclaimClassNames(), ", "), didYouMean(name, ReclaimClassNames()))
	}
	return c, warning, nil
}

// ReclaimClassName returns the name by which a configuration switches c on.
func ReclaimClassName(c reclaim.Class) string {
	for _, w := range classWords {
		if w.internal == string(c) {
			return w.now
		}
	}
	return string(c)
}

// ReclaimClassNames are the names of all classes, in their order.
func ReclaimClassNames() []string {
	names := make([]string, len(reclaim.Classes))
	for i, c := range reclaim.Classes {
		names[i] = ReclaimClassName(c)
	}
	return names
}

// renameWords puts the names that the packages use in place of those in the
// document, where they differ, and returns a warning for each old one.
func renameWords(doc *yamlnode.Node, name string) []string {
	var warnings []string
	warn := func(n *yamlnode.Node, text string) {
		if text != "" {
			warnings = append(warnings, fmt.Sprintf("%s:%d: %s", name, n.Line, text))
		}
	}
	value := func(n *yamlnode.Node, words []word, at string) {
		if n == nil || n.Kind != yamlnode.ScalarNode {
			return
		}
		internal, warning := translate(words, at, n.Value)
		warn(n, warning)
		n.Value = internal
	}
	disk := child(doc, "disk")
	value(child(disk, "mode"), modeWords, "disk.mode")
	if classes := child(child(disk, "reclaim"), "classes"); classes != nil && classes.Kind == yamlnode.SequenceNode {
		for i, n := range classes.Content {
			value(n, classWords, fmt.Sprintf("disk.reclaim.classes[%d]", i))
		}
	}
	if readers := child(disk, "readers"); readers != nil {
		for i := 0; i+1 < len(readers.Content) && readers.Kind == yamlnode.MappingNode; i += 2 {
			if n := readers.Content[i]; n.Value == "uncollected" {
				n.Value = "excludePods"
				warn(n, "disk.readers.uncollected is the old name of disk.readers.excludePods: write excludePods, the next release refuses the old one")
			}
		}
	}
	return warnings
}

// child returns the value of the field name of n, or nil.
func child(n *yamlnode.Node, name string) *yamlnode.Node {
	if n == nil {
		return nil
	}
	if i := valueIndex(n, name); i >= 0 {
		return n.Content[i]
	}
	return nil
}
