package sysctl

import "fmt"

// For returns the rules of p for machine m. Shares of memory become numbers, and
// the floor of watches is never below the kernel's own default. Floors are limited
// to what memory pays for. p must be valid.
func (p Policy) For(m Machine) []Rule {
	rules := make([]Rule, 0, len(p.Rules))
	for _, r := range p.Rules {
		rules = append(rules, r.rule(m))
	}
	return LimitToMemory(rules, m, p.shares())
}

func (r PolicyRule) rule(m Machine) Rule {
	k := Key(canonical(r.Key))
	rule := Rule{Key: k, Want: Unknown, Ceiling: Unknown}
	if r.Ceiling != nil {
		rule.Ceiling = *r.Ceiling
	}
	switch {
	case r.ReportOnly:
		rule.Op, rule.Why = Report, reportReason(k)
	case r.Exactly != nil:
		rule.Op, rule.Want, rule.Why = Exactly, *r.Exactly, "the configuration says exactly this"
	case r.AtLeast != nil:
		rule.Op = AtLeast
		rule.Want, rule.Why = r.floor(k, m)
	}
	return rule
}

func (r PolicyRule) floor(k Key, m Machine) (Value, string) {
	want, why := *r.AtLeast, floorReason(k, *r.AtLeast)
	if r.MemoryPercent > 0 {
		unit := allowed[k].unitBytes
		share := Value(float64(m.MemoryBytes) * r.MemoryPercent / 100 / float64(unit))
		if r.Ceiling != nil {
			share = min(share, *r.Ceiling)
		}
		if share > want {
			want = share
			why = fmt.Sprintf("%v%% of this machine's %s of memory at %d bytes each", r.MemoryPercent, bytesText(m.MemoryBytes), unit)
		}
	}
	if k == MaxUserWatches || k == UserMaxWatches {
		if d := safeDefault(k, m); d > want {
			want = d
			why = "the kernel's own default for this size of memory, which another program may have lowered"
		}
	}
	return want, why
}

// safeDefault is the kernel's default less the part that depends on the kernel
// build, so that an untouched machine never appears to have drifted.
func safeDefault(k Key, m Machine) Value {
	v, exact, ok := KernelDefault(k, m)
	switch {
	case !ok:
		return 0
	case exact:
		return v
	}
	return v * 9 / 10
}

func bytesText(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%d bytes", n)
}
