package sysctl

// Need is a floor beyond the configuration that current usage or a pod requires.
type Need struct {
	Key     Key
	AtLeast Value
	Why     string
	// FromUse reports that AtLeast was measured from what is in use. Such a need is
	// met at once, even where another program contests the key.
	FromUse bool
}

// WithNeeds returns rules with their floors raised to needs, up to the ceiling
// of each rule. A rule without a floor (exactly, reportOnly) stays as it is.
func WithNeeds(rules []Rule, needs []Need) []Rule {
	raised := make([]Rule, len(rules))
	for i, r := range rules {
		for _, n := range needs {
			if n.Key != r.Key || r.Op != AtLeast {
				continue
			}
			want := n.AtLeast
			if r.Ceiling.Known() {
				want = min(want, r.Ceiling)
			}
			if n.FromUse {
				r.InUse = max(r.InUse, want)
			}
			if want > r.Want {
				r.Want, r.Why = want, n.Why
			}
		}
		raised[i] = r
	}
	return raised
}
