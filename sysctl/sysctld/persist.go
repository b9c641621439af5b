package sysctld

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/nodetune/nodetune/sysctl"
)

// PersistFile is the file that nodetune writes for the next boot. 90 comes
// after what distributions ship (up to 60 in most, 99 for sysctl.conf, which is
// the administrator's).
const PersistFile = "/etc/sysctl.d/90-nodetune.conf"

// persistMark begins a [PersistFile] of ours. A file without it belongs to
// another program or a person, and nodetune leaves it unchanged.
const persistMark = "# Written by nodetune"

const persistHeader = persistMark + ` ('nodetune apply --persist'), for the next boot.
# Do not edit: the next run replaces it, 'nodetune restore --persist' removes it.
#
# sysctl.d sets a value and cannot raise one. A machine whose own values would be
# larger, for example one with more memory that boots this disk, is lowered by
# this file. Where that can happen run 'nodetune apply' at boot instead: it only
# raises.
`

// KeyPlan is the plan for one rule at the next boot.
type KeyPlan struct {
	Key sysctl.Key `json:"key"`
	// Write is the line for [PersistFile]; unknown: the key is left out.
	Write sysctl.Value `json:"write,omitzero"`
	// Reason explains why it is left out, or why the value is not the floor.
	Reason string `json:"reason,omitempty"`
	// Overrides are lines that would still leave a value that breaks the rule.
	Overrides []Override `json:"defeats,omitempty"`
}

// Override is a line that leaves [PersistFile] without effect on a key.
type Override struct {
	Loader Loader `json:"loader"`
	By     string `json:"by"`              // a file:line
	Value  string `json:"value,omitempty"` // empty: it takes the key back and sets nothing
}

func (d Override) String() string {
	if d.Value == "" {
		return fmt.Sprintf("%s takes the key back (%s)", d.By, d.Loader)
	}
	return fmt.Sprintf("%s sets it to %s and wins (%s)", d.By, d.Value, d.Loader)
}

// PersistPlan is what [PersistFile] should hold.
type PersistPlan struct {
	Keys []KeyPlan `json:"keys"`
	// Content is the file; nil where no file is needed.
	Content []byte `json:"-"`
	// Problems of other files. One that is Uncertain hides what the plan depends on.
	Problems []Problem `json:"problems,omitempty"`
}

// Uncertain returns the problems that make the plan a guess.
func (p *PersistPlan) Uncertain() []Problem {
	return slices.DeleteFunc(slices.Clone(p.Problems), func(p Problem) bool { return !p.Uncertain })
}

// PlanPersist reads the files of root and the kernel command line below procfs,
// and returns which of rules need a line of ours so that both loaders leave them
// in force. It writes nothing. running holds the current values without those
// that nodetune wrote, and m the machine.
func PlanPersist(root, procfs string, rules []sysctl.Rule, m sysctl.Machine, running []sysctl.Reading) (PersistPlan, error) {
	rules = slices.DeleteFunc(slices.Clone(rules), func(r sysctl.Rule) bool { return r.Op == sysctl.Report || !r.Want.Known() })
	without, err := readRules(root, edit{path: PersistFile}, rules)
	if err != nil {
		return PersistPlan{}, err
	}
	var p PersistPlan
	cmdline := ReadCmdline(procfs)
	p.Problems = append(Problems(without), cmdline.Problems...)
	var content bytes.Buffer
	now := make(map[sysctl.Key]sysctl.Value)
	for _, r := range running {
		now[r.Key] = r.Value
	}
	for _, r := range rules {
		sources := sources{boots: without, cmdline: cmdline}
		if sources.tuned, err = ReadTuned(root, r.Key.Path()); err != nil {
			p.Problems = append(p.Problems, Problem{File: "/etc/tuned/active_profile", Problem: cause(err)})
		}
		held, known := now[r.Key]
		if !known {
			held = sysctl.Unknown
		}
		k := sources.keyPlan(r, m, held)
		if k.Write.Known() {
			fmt.Fprintf(&content, "%s = %s\n", r.Key, k.Write)
		}
		p.Keys = append(p.Keys, k)
	}
	if content.Len() == 0 {
		return p, nil
	}
	p.Content = append([]byte(persistHeader), content.Bytes()...)
	with, err := readRules(root, edit{PersistFile, p.Content}, rules)
	if err != nil {
		return PersistPlan{}, err
	}
	for i, r := range rules {
		p.Keys[i].Overrides = with.overrides(r)
	}
	return p, nil
}

// boots is one [Boot] for each loader.
type boots []*Boot

func readRules(root string, e edit, rules []sysctl.Rule) (boots, error) {
	var paths []string
	for _, r := range rules {
		paths = append(paths, r.Key.Path())
	}
	return readAll(root, e, paths)
}

// sources is what sets keys at boot, without [PersistFile].
type sources struct {
	boots   boots
	cmdline Cmdline
	tuned   *Tuned
}

// keyPlan decides from what the sources give without our file. A line of ours
// never lowers what one of them would leave, nor a running value whose source is
// not known.
func (src sources) keyPlan(r sysctl.Rule, m sysctl.Machine, running sysctl.Value) KeyPlan {
	k := KeyPlan{Key: r.Key, Write: sysctl.Unknown}
	write, raised := r.Want, ""
	raise := func(to sysctl.Value, why string) {
		if r.Op == sysctl.AtLeast && to > write {
			write, raised = to, why
		}
	}
	met, known := true, sysctl.Unknown
	for _, b := range src.boots {
		least, most, by := src.cmdline.Initial(r.Key, m, running)
		if v := b.Resolve(r.Key.Path()); v.Winner != nil {
			if !v.excluded {
				least = number(v.Winner.Value)
			}
			most, by = number(v.Winner.Value), v.Winner.String()
		}
		met = met && least.Known() && r.SatisfiedBy(least)
		raise(most, fmt.Sprintf("above the floor, so as not to lower what %s gives", by))
		known = max(known, most)
		if k.Reason == "" {
			k.Reason = by + " gives enough"
		}
	}
	// TuneD writes /etc/sysctl.d again over its own values, our file with it.
	if most, by := src.tuned.Most(); most.Known() {
		raise(most, fmt.Sprintf("above the floor, so as not to lower what %s gives", by))
		known = max(known, most)
	}
	if running > known {
		raise(running, fmt.Sprintf("above the floor, so as not to lower the running value %s, whose source is not known", running))
	}
	if !met {
		k.Write, k.Reason = write, raised
	}
	return k
}

// overrides returns the lines that win over our file and leave a value that
// breaks r.
func (all boots) overrides(r sysctl.Rule) []Override {
	var found []Override
	for _, b := range all {
		v := b.Resolve(r.Key.Path())
		switch w := v.Winner; {
		case w == nil:
			ours := slices.IndexFunc(v.Others, func(s Setting) bool { return s.File == PersistFile })
			if ours >= 0 {
				found = append(found, Override{Loader: b.Loader, By: v.Others[ours].By})
			}
		case w.File != PersistFile && !r.SatisfiedBy(number(w.Value)):
			found = append(found, Override{b.Loader, w.String(), w.Value})
		}
	}
	return found
}
