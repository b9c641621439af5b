package inotify

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// samples is how many readings growth is computed from. The median of the
// slopes between all pairs of 16 ignores up to 4 outliers (Theil and Sen:
// 29 %), such as a burst that is over or a restart.
const samples = 16

// History keeps usage over time to compute growth. The zero value is ready.
type History struct {
	accounts  map[Owner]*series
	processes map[process]*series
	openFiles map[string]*series // of the node, as descriptors
}

type process struct {
	pid   int
	start uint64
}

// series is a ring of readings.
type series struct {
	n    int // readings ever taken
	ring [samples]reading
	seen time.Time
}

type reading struct {
	at                      time.Time
	instances, watches, fds int64
}

// Add takes the readings of one pass. Readings closer together than every are
// merged: growth is that of the last 16 times every.
func (h *History) Add(at time.Time, u Usage, every time.Duration) {
	if h.accounts == nil {
		h.accounts, h.processes, h.openFiles = map[Owner]*series{}, map[process]*series{}, map[string]*series{}
	}
	if u.Limits.OpenFiles > 0 {
		add(h.openFiles, "", every, reading{at, 0, 0, u.Limits.OpenFiles})
	}
	for _, a := range h.trackedAccounts(u) {
		add(h.accounts, a.Owner, every, reading{at, a.Instances, a.Watches, 0})
	}
	for _, p := range h.trackedProcesses(u) {
		add(h.processes, process{p.PID, p.Start}, every, reading{at, p.Instances, p.Watches, p.FDs})
	}
	// A series that has no reading in the whole window is dropped.
	for k, s := range h.accounts {
		if at.Sub(s.seen) > samples*every {
			delete(h.accounts, k)
		}
	}
	for k, s := range h.processes {
		if at.Sub(s.seen) > samples*every {
			delete(h.processes, k)
		}
	}
}

// maxSeries bounds the series of accounts and those of processes: 0.9 kB each,
// however many processes and user namespaces come and go on the node.
const maxSeries = 512

// trackedAccounts returns the accounts that have a series or get one: those of
// the node first, then the fullest.
func (h *History) trackedAccounts(u Usage) []*Account {
	all := make([]*Account, len(u.Accounts))
	for i := range all {
		all[i] = &u.Accounts[i]
	}
	slices.SortStableFunc(all, func(a, b *Account) int {
		return cmp.Or(cmp.Compare(min(a.Level, 1), min(b.Level, 1)), cmp.Compare(b.Instances, a.Instances), cmp.Compare(b.Watches, a.Watches))
	})
	return tracked(all, h.accounts, func(a *Account) Owner { return a.Owner })
}

// trackedProcesses returns the processes that have a series or get one: those
// nearest to their RLIMIT_NOFILE first, then those with most instances.
func (h *History) trackedProcesses(u Usage) []*Process {
	all := make([]*Process, len(u.Processes))
	for i := range all {
		all[i] = &u.Processes[i]
	}
	slices.SortStableFunc(all, func(a, b *Process) int {
		return cmp.Or(cmp.Compare(b.NOFILESoft.Percent(b.FDs), a.NOFILESoft.Percent(a.FDs)), cmp.Compare(b.Instances, a.Instances))
	})
	return tracked(all, h.processes, func(p *Process) process { return process{p.PID, p.Start} })
}

// tracked returns the first maxSeries of sorted. Where their series and the older
// ones would be more than that, the older ones are dropped.
func tracked[T any, K comparable](sorted []T, have map[K]*series, key func(T) K) []T {
	sorted = sorted[:min(len(sorted), maxSeries)]
	keep := make(map[K]bool, len(sorted))
	for _, c := range sorted {
		keep[key(c)] = true
	}
	old := 0
	for k := range have {
		if !keep[k] {
			old++
		}
	}
	if len(keep)+old > maxSeries {
		maps.DeleteFunc(have, func(k K, _ *series) bool { return !keep[k] })
	}
	return sorted
}

func add[K comparable](all map[K]*series, key K, every time.Duration, r reading) {
	s := all[key]
	if s == nil {
		s = &series{}
		all[key] = s
	}
	s.seen = r.at
	if s.n > 0 && r.at.Sub(s.ring[(s.n-1)%samples].at) < every {
		return
	}
	s.ring[s.n%samples] = r
	s.n++
}

// Growth is growth per hour; Over is the time it was seen in. With fewer than
// three readings it is zero.
type Growth struct {
	Instances float64       `json:"instances_per_hour"`
	Watches   float64       `json:"watches_per_hour"`
	FDs       float64       `json:"fds_per_hour"`
	Over      time.Duration `json:"-"`
}

// Account returns the growth of an account.
func (h *History) Account(o Owner) Growth { return h.accounts[o].growth() }

// Process returns the growth of a process.
func (h *History) Process(p Process) Growth {
	return h.processes[process{p.PID, p.Start}].growth()
}

// Annotate sets the growth of what u has, as far as it is known: of accounts, of
// the node's open files, and of processes that use half of their RLIMIT_NOFILE.
func (h *History) Annotate(u *Usage) {
	for i := range u.Accounts {
		a := &u.Accounts[i]
		if g := h.Account(a.Owner); g.Over > 0 {
			a.Growth = &g
		}
	}
	for i := range u.Processes {
		p := &u.Processes[i]
		if g := h.Process(*p); g.Over > 0 && p.NOFILESoft.Percent(p.FDs) >= nofileGrowthPercent {
			p.Growth = &g
		}
	}
	if g := h.openFiles[""].growth(); g.Over > 0 {
		u.OpenFilesPerHour = &g.FDs
	}
}

// nofileGrowthPercent is the share of RLIMIT_NOFILE from which a report has the
// growth of a process.
const nofileGrowthPercent = 50

func (s *series) growth() Growth {
	if s == nil || s.n < 3 {
		return Growth{}
	}
	// The oldest comes first once the ring is in order of time.
	readings := slices.Clone(s.ring[:min(s.n, samples)])
	slices.SortFunc(readings, func(a, b reading) int { return a.at.Compare(b.at) })
	return Growth{
		Instances: slope(readings, func(r *reading) int64 { return r.instances }),
		Watches:   slope(readings, func(r *reading) int64 { return r.watches }),
		FDs:       slope(readings, func(r *reading) int64 { return r.fds }),
		Over:      readings[len(readings)-1].at.Sub(readings[0].at),
	}
}

// slope returns the median of the slopes between all pairs, per hour.
func slope(readings []reading, of func(*reading) int64) float64 {
	var all [samples * (samples - 1) / 2]float64
	slopes := all[:0]
	for i := range readings {
		for j := range i {
			if hours := readings[i].at.Sub(readings[j].at).Hours(); hours > 0 {
				slopes = append(slopes, float64(of(&readings[i])-of(&readings[j]))/hours)
			}
		}
	}
	if len(slopes) == 0 {
		return 0
	}
	slices.Sort(slopes)
	return slopes[len(slopes)/2]
}

// Forecast is a limit that is reached if growth goes on.
type Forecast struct {
	Resource Resource `json:"resource"`
	// Owner is set for what is charged to an account, PID for the
	// descriptors of a process.
	Owner   *Owner        `json:"owner,omitempty"`
	PID     int           `json:"pid,omitempty"`
	Used    int64         `json:"used"`
	Limit   Limit         `json:"limit"`
	PerHour float64       `json:"per_hour"`
	In      time.Duration `json:"-"`
}

// Forecasts returns the limits of u that are reached within the given time,
// the nearest first.
func (h *History) Forecasts(u Usage, within time.Duration) []Forecast {
	var found []Forecast
	add := func(f Forecast) {
		if f.Limit < 0 || f.PerHour <= 0 {
			return
		}
		hours := max(0, float64(int64(f.Limit)-f.Used)/f.PerHour)
		if hours <= within.Hours() {
			f.In = time.Duration(hours * float64(time.Hour))
			found = append(found, f)
		}
	}
	for i := range u.Accounts {
		a := &u.Accounts[i]
		g := h.Account(a.Owner)
		add(Forecast{Resource: Instances, Owner: &a.Owner, Used: a.Instances, Limit: a.InstancesLimit, PerHour: g.Instances})
		add(Forecast{Resource: Watches, Owner: &a.Owner, Used: a.Watches, Limit: a.WatchesLimit, PerHour: g.Watches})
	}
	for i := range u.Processes {
		p := &u.Processes[i]
		g := h.Process(*p)
		add(Forecast{Resource: NOFILE, PID: p.PID, Used: p.FDs, Limit: p.NOFILESoft, PerHour: g.FDs})
	}
	slices.SortStableFunc(found, func(a, b Forecast) int { return cmp.Compare(a.In, b.In) })
	return found
}
