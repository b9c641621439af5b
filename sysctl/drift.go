package sysctl

// Drift is a change that another program made between two passes.
type Drift struct {
	Key      Key
	From, To Value
}

// Direction is raised or lowered.
func (d Drift) Direction() string {
	if d.To > d.From {
		return "raised"
	}
	return "lowered"
}

// Drifts returns the keys whose value changed between prev and next, even where
// the rule is still satisfied.
func Drifts(prev, next PassResult) []Drift {
	left := make(map[Key]Value, len(prev.Rules))
	for _, s := range prev.Rules {
		left[s.Key] = s.Value
	}
	var drifts []Drift
	for _, s := range next.Rules {
		was, ok := left[s.Key]
		if ok && was.Known() && s.Before.Known() && was != s.Before {
			drifts = append(drifts, Drift{Key: s.Key, From: was, To: s.Before})
		}
	}
	return drifts
}
