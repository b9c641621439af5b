package sysctl

// Need is a floor that something on this machine asks for beyond the
// configuration: what is in use, or a pod.
type Need struct {
	Key     Key
	AtLeast Value
	Why     string
}

// WithNeeds returns rules with their floors raised to what needs ask for, up to
// the ceiling of each. A key without a floor is not touched: exactly means
// exactly, and what is only reported is not nodetune's.
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
