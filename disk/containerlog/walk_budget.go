package containerlog

import (
	"time"
)

// walkBudget bounds what walks of /proc cost: a share of a core, whatever the number of
// logs that are due and of descriptors. A second is saved up for bursts.
type walkBudget struct {
	credit time.Duration
	at     time.Time
}

const (
	walkShare  = 0.02
	walkCredit = time.Second
)

func (w *walkBudget) allow(now time.Time) bool {
	if w.at.IsZero() || now.Before(w.at) {
		w.credit, w.at = walkCredit, now
	}
	w.credit = min(walkCredit, w.credit+time.Duration(float64(now.Sub(w.at))*walkShare))
	w.at = now
	return w.credit > 0
}

func (w *walkBudget) spend(took time.Duration) { w.credit -= took }
