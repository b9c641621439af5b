package sysctl

import "time"

// ImmediateRaises decides which writes of other programs are undone at once, and
// which wait for the next pass. [Conflicts] has the last word in both cases: a
// contested key waits.
type ImmediateRaises map[Key][]time.Time

const (
	// immediateRaises of a key within immediateWindow are made at once. Two
	// programs that write as fast as they can are not to keep a processor busy.
	immediateRaises = 3
	immediateWindow = 10 * time.Minute
)

// Allow reports whether k may be raised at once at now, and counts it if so.
func (r ImmediateRaises) Allow(k Key, now time.Time) bool {
	var recent []time.Time
	for _, t := range r[k] {
		if age := now.Sub(t); age >= 0 && age < immediateWindow {
			recent = append(recent, t)
		}
	}
	allowed := len(recent) < immediateRaises
	if allowed {
		recent = append(recent, now)
	}
	r[k] = recent
	return allowed
}
