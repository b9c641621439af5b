package sysctl

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ObservedWrite is what a guard saw of one writer and key within a minute. From,
// To and Process are those of the last write.
type ObservedWrite struct {
	Key   Key       `json:"key"`
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	// Count has the writes between First and Last, also those that the kernel
	// counted and did not record.
	Count uint64 `json:"count"`
	From  Value  `json:"from,omitzero"` // what the key held
	To    Value  `json:"to,omitzero"`   // what was written; unknown: not a number
	// Effective is what took effect. It differs from To where the write was held.
	Effective Value `json:"effective,omitzero"`
	// BelowFloor reports that To does not satisfy the rule of the key.
	BelowFloor bool `json:"below_floor,omitempty"`
	Held       bool `json:"held,omitempty"`
	// Process is the name of the writing process, quoted, and its pid in the
	// initial pid namespace.
	Process string `json:"process"`
	PID     int    `json:"pid"`
	UID     uint32 `json:"uid"`

	Namespace string `json:"namespace,omitempty"`
	Pod       string `json:"pod,omitempty"`
	PodUID    string `json:"pod_uid,omitempty"`
	Container string `json:"container,omitempty"`
	Unit      string `json:"unit,omitempty"`
}

// UnmarshalJSON leaves unknown what a document leaves out.
func (w *ObservedWrite) UnmarshalJSON(b []byte) error {
	type plain ObservedWrite
	p := plain{From: Unknown, To: Unknown, Effective: Unknown}
	if err := json.Unmarshal(b, &p); err != nil {
		return err
	}
	*w = ObservedWrite(p)
	return nil
}

// Direction is lowered, raised, unchanged, or unread where a value is not a number.
func (w ObservedWrite) Direction() string {
	switch {
	case !w.From.Known() || !w.To.Known():
		return "unread"
	case w.To < w.From:
		return "lowered"
	case w.To > w.From:
		return "raised"
	}
	return "unchanged"
}

// Owner names the pod and container, or the systemd unit, of the writer. It is
// "" where neither is known. It is made from the writer's cgroup.
func (w ObservedWrite) Owner() string {
	switch {
	case w.Pod != "" && w.Container != "":
		return fmt.Sprintf("pod %s/%s, container %s", w.Namespace, w.Pod, w.Container)
	case w.Pod != "":
		return fmt.Sprintf("pod %s/%s", w.Namespace, w.Pod)
	case w.PodUID != "":
		return "the pod with the UID " + w.PodUID
	}
	return w.Unit
}

// Writer names the process and its owner: tuned[812] of tuned.service.
func (w ObservedWrite) Writer() string {
	if owner := w.Owner(); owner != "" {
		return w.Process + " of " + owner
	}
	return w.Process
}

// program is the writer without its pid: a script starts a process each time.
func (w ObservedWrite) program() string {
	name, _, _ := strings.Cut(w.Process, fmt.Sprintf("[%d]", w.PID))
	return name + " of " + w.Owner()
}

// ObservedWrites is the memory of a guard, oldest first. It is bounded.
type ObservedWrites []ObservedWrite

const (
	// writesMerged is how long writes of one owner are one entry. The owner comes
	// from the cgroup, so that a process which changes its name fills no memory.
	writesMerged = time.Minute
	// writesKept and writesKeptOfKey bound the entries. A writer that never rests
	// makes 60 an hour.
	writesKept      = 256
	writesKeptOfKey = 64
	// writesWindow is how far back [ObservedWrites.LoweredBy] looks.
	writesWindow = time.Hour
	// writersNamed is how many of the writers a text names.
	writersNamed = 2
)

// Add records w, and reports whether it is the first write of its owner, key and
// kind within a minute.
func (all *ObservedWrites) Add(w ObservedWrite) (fresh bool) {
	for i := len(*all) - 1; i >= 0; i-- {
		o := &(*all)[i]
		age := w.First.Sub(o.First)
		if o.Key != w.Key || o.Owner() != w.Owner() || o.UID != w.UID || o.Held != w.Held || o.BelowFloor != w.BelowFloor || o.Direction() != w.Direction() || age < 0 || age >= writesMerged {
			continue
		}
		w.First, w.Count = o.First, o.Count+w.Count
		*o = w
		return false
	}
	*all = append(*all, w)
	ofKey := 0
	for _, o := range *all {
		if o.Key == w.Key {
			ofKey++
		}
	}
	drop := -1
	switch {
	case ofKey > writesKeptOfKey:
		drop = slices.IndexFunc(*all, func(o ObservedWrite) bool { return o.Key == w.Key })
	case len(*all) > writesKept:
		drop = 0
	}
	if drop >= 0 {
		*all = slices.Delete(*all, drop, drop+1)
	}
	return true
}

// Of returns the writes of k, and of its other name.
func (all ObservedWrites) Of(k Key) ObservedWrites {
	var of ObservedWrites
	for _, w := range all {
		if SameVariable(w.Key, k) {
			of = append(of, w)
		}
	}
	return of
}

// SameVariable reports whether a and b are one key, or two names of one variable
// in the initial user namespace.
func SameVariable(a, b Key) bool { return a == b || twins[a] == b || twins[b] == a }

// LoweredBy describes who lowered k in the hour before now: "lowered 3 times in
// the last hour by tuned[812] of tuned.service". It is "" where no write did.
func (all ObservedWrites) LoweredBy(k Key, now time.Time) string {
	times, held := uint64(0), uint64(0)
	var writers []string
	var programs []string
	of := all.Of(k)
	for _, w := range slices.Backward(of) {
		if age := now.Sub(w.Last); w.Direction() != "lowered" && !w.BelowFloor || age >= writesWindow || age < -writesMerged {
			continue
		}
		times += w.Count
		if w.Held {
			held += w.Count
		}
		if !slices.Contains(programs, w.program()) {
			programs = append(programs, w.program())
			writers = append(writers, w.Writer())
		}
	}
	if times == 0 {
		return ""
	}
	text := "lowered once in the last hour by "
	if times > 1 {
		text = fmt.Sprintf("lowered %d times in the last hour by ", times)
	}
	if more := len(writers) - writersNamed; more > 0 {
		text += strings.Join(writers[:writersNamed], ", ") + fmt.Sprintf(" and %d more", more)
	} else {
		text += strings.Join(writers, " and ")
	}
	switch held {
	case 0:
	case times:
		text += "; the guard held the floor"
	default:
		text += fmt.Sprintf("; the guard held the floor against %d of these writes", held)
	}
	return text
}

// LastLowered returns the key that was lowered last in the hour before now, or "".
func (all ObservedWrites) LastLowered(now time.Time) Key {
	for _, w := range slices.Backward(all) {
		if w.BelowFloor && now.Sub(w.Last) < writesWindow {
			return w.Key
		}
	}
	return ""
}
