package reclaim

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/field"
	"github.com/nodetune/nodetune/internal/hostfs"
)

// Class is a kind of thing whose space can be reclaimed.
type Class string

// The classes, in the order in which they are taken: the least valuable data first,
// what is not read yet last. Images, containers and volumes are the
// kubelet's and are none.
const (
	ClassBallast       Class = "ballast"          // a file that only keeps space free
	ClassArchives      Class = "archives"         // nodetune's compressed archives
	ClassOtherArchives Class = "foreign-archives" // those of logrotate, and of containers over the kubelet's budget
	ClassRotated       Class = "rotated"          // archives to compress
	ClassOrphans       Class = "orphans"          // log directories of pods that are gone
	ClassJournal       Class = "journal"          // archived files of journald
	ClassDeleted       Class = "deleted"          // deleted files, below every reader's offset
	ClassActiveLogs    Class = "live"             // oversized logs that are being written
	ClassCores         Class = "cores"            // core dumps
	ClassUnread        Class = "unread"           // archives that a process still reads
)

// Classes are all of them, in order.
var Classes = []Class{
	ClassBallast, ClassArchives, ClassOtherArchives, ClassRotated, ClassOrphans, ClassJournal, ClassDeleted, ClassActiveLogs, ClassCores, ClassUnread,
}

// Policy says what may go when a disk is short of space.
type Policy struct {
	// Classes are switched on by name. What is not is shown by a dry run only.
	Classes []Class `json:"classes"`
	// Grace is how long an archive is left alone after it was last written.
	Grace field.Duration `json:"grace"`
	// CoreAge is how old a core dump must be.
	CoreAge field.Duration `json:"coreAge"`
	// JournalKeep is what stays of the journal.
	JournalKeep field.Bytes `json:"journalKeep"`
	// LiveSize is how large a log may be before it counts as oversized.
	LiveSize field.Bytes `json:"liveSize"`
	// MaxFiles and MaxBytes bound one pass.
	MaxFiles int         `json:"maxFiles"`
	MaxBytes field.Bytes `json:"maxBytes"`
}

// DefaultPolicy returns the policy of a node that configures none.
func DefaultPolicy() Policy {
	return Policy{
		Classes: []Class{ClassArchives, ClassRotated}, // nodetune made them
		// A collector that was away for a restart or an upgrade is back by then.
		Grace:       field.Duration(10 * time.Minute),
		CoreAge:     field.Duration(24 * time.Hour),
		JournalKeep: 64 << 20,
		LiveSize:    256 << 20, // a program that rotates does it before
		// Unlinking 2,000 files takes a second; a pass of 4 GiB leaves time to
		// look again.
		MaxFiles: 2000,
		MaxBytes: 4 << 30,
	}
}

// Has reports whether the class is switched on.
func (p Policy) Has(c Class) bool { return slices.Contains(p.Classes, c) }

// Validate calls wrong for each field of the policy, with whether it is right.
func (p Policy) Validate(wrong func(ok bool, at, format string, args ...any)) {
	for i, c := range p.Classes {
		wrong(slices.Contains(Classes, c), field.Index("reclaim.classes", i), "%q is not a class: write one of %v", c, Classes)
	}
	wrong(p.Grace >= 0, "reclaim.grace", "%v is negative", p.Grace)
	wrong(p.CoreAge >= 0, "reclaim.coreAge", "%v is negative", p.CoreAge)
	wrong(p.JournalKeep >= 0, "reclaim.journalKeep", "%v is negative", p.JournalKeep)
	wrong(p.LiveSize > 0, "reclaim.liveSize", "%v makes every log an oversized one: write, for example, \"256Mi\"", p.LiveSize)
	wrong(p.MaxFiles > 0, "reclaim.maxFiles", "%d reclaims nothing: write at least 1", p.MaxFiles)
	wrong(p.MaxBytes > 0, "reclaim.maxBytes", "%v reclaims nothing: write, for example, \"1Gi\"", p.MaxBytes)
}

// Candidate is something whose space could be reclaimed.
type Candidate struct {
	Class Class     `json:"class"`
	Path  string    `json:"path"`
	Bytes uint64    `json:"bytes"` // allocated
	At    time.Time `json:"at"`    // last written
	Log   string    `json:"log,omitempty"`

	inode  hostfs.Inode
	holder *logdir.Opener // through which a deleted file is reached
	below  uint64         // up to where everybody has read a deleted or a live file
	rule   bool           // a rotation says how a live log is rotated
	read   bool           // logrotate's archive, read since it was last written
}

// Step is one act of a plan.
type Step struct {
	Candidate
	Frees   uint64 `json:"frees_bytes"` // about
	Reason  string `json:"reason"`
	Allowed bool   `json:"allowed"` // its class is switched on
}

// Plan returns what would be reclaimed, in order. Only what is needed of it is
// done: the caller measures the disk again after each step. critical says that
// the last reserves may go too.
func Plan(all []Candidate, p Policy, critical bool, now time.Time) []Step {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b Candidate) int {
		class := cmp.Compare(slices.Index(Classes, a.Class), slices.Index(Classes, b.Class))
		if a.Class == ClassActiveLogs { // all were written a moment ago
			return cmp.Or(class, cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Path, b.Path))
		}
		return cmp.Or(class, a.At.Compare(b.At), cmp.Compare(a.Path, b.Path))
	})
	archives := map[string]int{} // how many of a log's are left
	journal := uint64(0)
	for _, c := range all {
		switch c.Class {
		case ClassArchives, ClassOtherArchives, ClassRotated:
			archives[c.Log]++
		case ClassJournal:
			journal += c.Bytes
		}
	}
	var steps []Step
	for _, c := range all {
		s := Step{Candidate: c, Frees: c.Bytes, Allowed: p.Has(c.Class)}
		age := now.Sub(c.At)
		switch c.Class {
		case ClassBallast:
			if !critical {
				continue
			}
			s.Reason = "it was there to be given up"
		case ClassArchives, ClassOtherArchives:
			if age < p.Grace.D() || archives[c.Log] <= 1 && !c.read {
				continue
			}
			archives[c.Log]--
			s.Reason = "the oldest archive of " + c.Log
			if c.read {
				s.Reason = "an archive of " + c.Log + " by logrotate, read since it was last written"
			}
		case ClassRotated:
			if age < p.Grace.D() {
				continue
			}
			s.Frees = c.Bytes / 5 * 4 // log text shrinks to a fifth
			s.Reason = "an archive of " + c.Log + " that is not compressed"
		case ClassOrphans:
			if age < orphanAfter {
				continue
			}
			s.Reason = "the kubelet does not know this pod"
		case ClassJournal:
			if journal < c.Bytes+uint64(p.JournalKeep) {
				continue
			}
			journal -= c.Bytes
			s.Reason = fmt.Sprintf("archived; more than %v of the journal stays", p.JournalKeep)
		case ClassDeleted:
			s.Reason = "deleted, and every process that has it open has read this part"
		case ClassActiveLogs:
			if c.rule {
				s.Frees = c.Bytes / 5 * 4
				s.Reason = "rotated before its time: its archive shrinks"
				// A rotation in the configuration has handed it to us.
				s.Allowed = true
				break
			}
			s.Reason = "no program rotates it, and all its readers have read this part"
		case ClassCores:
			if age < p.CoreAge.D() {
				continue
			}
			s.Reason = fmt.Sprintf("a core dump, %v old", age.Round(time.Hour))
		case ClassUnread:
			if !critical {
				continue
			}
			s.Reason = "nothing else is left, and the disk is nearly full"
		}
		if s.Frees > 0 {
			steps = append(steps, s)
		}
	}
	return steps
}
