package reporter

import (
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// ActKind is what kind of thing nodetune did.
type ActKind string

// The kinds of acts. Acts on log files have the verbs of [logdir.Action] as
// their kinds.
const (
	ActRaise       ActKind = "raise"        // a setting was raised to its floor
	ActSet         ActKind = "set"          // a setting was lowered, which the configuration asks for
	ActUndoDrift   ActKind = "undo_drift"   // a setting was raised again after another program lowered it
	ActHold        ActKind = "hold"         // the guard held a floor against a write
	ActRaiseNOFILE ActKind = "raise_nofile" // the soft RLIMIT_NOFILE of a process was raised
	ActReclaim     ActKind = "reclaim"      // space was freed until it was enough, or nothing was left
	ActCondition   ActKind = "condition"    // a condition changed its status
	ActPause       ActKind = "pause"
	ActResume      ActKind = "resume"
	ActReload      ActKind = "reload" // of the configuration
)

// Act is one thing that nodetune did, or could not do, and why.
type Act struct {
	At   time.Time `json:"at"` // the last time
	Kind ActKind   `json:"act"`
	// On is what was acted upon: a key, a path, a condition.
	On   string `json:"on"`
	What string `json:"what"`
	Why  string `json:"why,omitempty"`
	// Failed: nodetune wanted to do it and could not. Why has the reason.
	Failed bool `json:"failed,omitempty"`
	// Count is how often the same was done since First.
	Count int       `json:"count"`
	First time.Time `json:"first"`
}

const (
	// actsKept bounds the ring. With maxActText it takes 200 kB at most.
	actsKept = 200
	// maxActText bounds a text in bytes: a path has up to 4096, which others choose.
	maxActText = 300
)

// Acts remembers the last acts of an agent, in memory alone. Equal acts are one
// entry with a count, so that a program which lowers a setting every minute does
// not push out everything else. The zero value is ready, for several goroutines.
type Acts struct {
	mu  sync.Mutex
	all []Act // the latest last
}

// Add remembers acts. Where an act has no time, it is now.
func (r *Acts) Add(acts ...Act) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range acts {
		if a.At.IsZero() {
			a.At = time.Now()
		}
		a.On, a.What, a.Why = cut(a.On), cut(a.What), cut(a.Why)
		a.First, a.Count = a.At, max(a.Count, 1)
		same := func(b Act) bool {
			return b.Kind == a.Kind && b.On == a.On && b.What == a.What && b.Why == a.Why && b.Failed == a.Failed
		}
		if i := slices.IndexFunc(r.all, same); i >= 0 {
			a.First, a.Count = r.all[i].First, a.Count+r.all[i].Count
			r.all = slices.Delete(r.all, i, i+1)
		}
		if r.all = append(r.all, a); len(r.all) > actsKept {
			r.all = slices.Delete(r.all, 0, len(r.all)-actsKept)
		}
	}
}

// Recent returns the acts, the latest first.
func (r *Acts) Recent() []Act {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := slices.Clone(r.all)
	slices.Reverse(all)
	return all
}

// cut returns s with at most maxActText bytes, and never cut inside a character.
// What is no UTF-8 is replaced, since JSON cannot carry it.
func cut(s string) string {
	const dots = "…"
	if len(s) > maxActText {
		end := maxActText - len(dots)
		for end > 0 && !utf8.RuneStart(s[end]) {
			end--
		}
		s = s[:end] + dots
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
