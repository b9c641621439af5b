package procscan

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nodetune/nodetune/inotify"
)

// readWithin bounds how long a pass reads records of watches, where its walk is bounded.
const readWithin = 5 * time.Second

// oldAfter is when the last complete walk says nothing of now any more. The agent's
// conditions are Unknown after the same time without a pass.
const oldAfter = 5 * time.Minute

// gapLater is what the bound of a walk left to the next pass.
const gapLater = "processes that the pass had no time for; the next one goes on with them, and figures are those of the last complete walk"

// WalkWithin bounds how long a pass walks procfs, whose cost is up to the tenants: a
// descriptor takes 5 us of CPU, which a container with a tenth of a CPU gets in 50. The
// next pass resumes the walk.
func (s *Scanner) WalkWithin(d time.Duration) { s.within = d }

// walk begins the walk of a pass, or resumes it, and adds up what its parts saw.
func (p *pass) walk(ctx context.Context, began time.Time) error {
	v := p.visitor()
	v.From = p.stats.Next
	if within := p.s.within; within > 0 {
		v.Expired = func() bool { return p.s.now().Sub(began) >= within }
	}
	part, err := p.s.walker.Walk(ctx, v)
	if p.stats.Processes == 0 {
		p.stats = part
	} else {
		p.stats.Add(part)
	}
	return err
}

// reading bounds the time in which records are read.
func (s *Scanner) reading(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.within == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, readWithin)
}

// partial returns what is known while a walk is unfinished: the usage after the last
// complete one, if that is not old, with the limits of now and, where the kernel counts
// them, the accounts.
func (s *Scanner) partial(ctx context.Context, u inotify.Usage, p *pass, began time.Time) (inotify.Usage, error) {
	s.unfinished = p
	if s.last == nil || began.Sub(s.lastAt) > oldAfter {
		u.Partial, u.OwnPIDNamespace, u.Walk = true, !s.whole, p.stats
		u.InstancesQuality, u.WatchesQuality = inotify.Unknown, inotify.Unknown
		u.Accounts, u.Processes = []inotify.Account{}, []inotify.Process{}
	} else {
		limits := u.Limits
		u = *s.last
		u.Limits, u.Walk.Omitted = limits, p.stats.Omitted
		// Readers of the last usage have its slices.
		u.Accounts, u.Processes, u.Unknown = slices.Clone(u.Accounts), slices.Clone(u.Processes), slices.Clone(u.Unknown)
		for i := range u.Accounts {
			if a := &u.Accounts[i]; a.UserNS == s.ns.self {
				a.InstancesLimit, a.WatchesLimit = limits.Instances, limits.Watches
			}
		}
	}
	p.readAccounts(&u)
	u.Unknown = append(u.Unknown, inotify.Gap{What: gapLater, Why: fmt.Sprintf("a pass walks for %v", s.within), Processes: p.stats.Omitted})
	u.Took = s.now().Sub(began)
	return u, ctx.Err()
}
