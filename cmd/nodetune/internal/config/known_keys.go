package config

import (
	"errors"
	"fmt"
	"slices"

	"github.com/nodetune/nodetune/internal/field"
	"github.com/nodetune/nodetune/sysctl"
)

// KnownKeys are the sysctls by the names that their documentation uses. A kernel
// may lack some of them, and have more that a rule may name.
func KnownKeys() []string {
	keys := []string{
		"fs.aio-max-nr", "fs.epoll.max_user_watches", "fs.file-max", "fs.nr_open",
		"fs.inotify.max_queued_events", "fs.inotify.max_user_instances", "fs.inotify.max_user_watches",
		"kernel.pid_max", "vm.max_map_count",
	}
	for _, n := range []string{
		"cgroup", "fanotify_groups", "fanotify_marks", "inotify_instances", "inotify_watches", "ipc", "mnt", "net", "pid", "time", "user", "uts",
	} {
		if !slices.Contains([]string{"fanotify_groups", "fanotify_marks", "inotify_instances", "inotify_watches"}, n) {
			n += "_namespaces"
		}
		keys = append(keys, "user.max_"+n)
	}
	return keys
}

// SuggestKey asks for the known key that name most likely is a misspelling of: a
// clause for the end of a message, or "".
func SuggestKey(name string) string {
	k, err := sysctl.ParseKey(name)
	if known := KnownKeys(); err == nil && !slices.Contains(known, string(k)) {
		return didYouMean(string(k), known)
	}
	return ""
}

// suggestKeys adds to each error about the key of a rule the key that it may be a
// misspelling of.
func suggestKeys(rules []sysctl.PolicyRule, err error) error {
	var errs []error
	for _, e := range field.All(err) {
		for i, r := range rules {
			if e.Path == field.Index("rules", i)+".key" {
				e = &field.Error{Path: e.Path, Problem: e.Problem + SuggestKey(r.Key)}
			}
		}
		errs = append(errs, e)
	}
	return errors.Join(errs...)
}

// keyWarnings names the keys of rules that are valid and look misspelt: a kernel
// may have such a key.
func keyWarnings(p sysctl.Policy, places places, name string) []string {
	var warnings []string
	for i, r := range p.Rules {
		if ask := SuggestKey(r.Key); ask != "" {
			e := &field.Error{Path: field.Index("sysctl.rules", i) + ".key", Problem: fmt.Sprintf("nodetune knows no key %s%s", short(r.Key), ask)}
			warnings = append(warnings, places.locate(name, e).Error())
		}
	}
	return warnings
}
