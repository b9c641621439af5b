package sysctl

// Need is a floor beyond the configuration that current usage or a pod requires.
type Need struct {
	Key     Key
	AtLeast Value
	Why     string
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
			if want > r.Want {
				r.Want, r.Why = want, n.Why
			}
		}
		raised[i] = r
	}
	return raised
}
