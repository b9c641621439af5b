package recommend

import (
	"fmt"
	"math"
)

// Recommendation is the document of `nodetune recommend`.
type Recommendation struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Reports    int    `json:"reports"`
	Rules      []Rule `json:"rules"`
	// Omitted has, for each key without a rule, why.
	Omitted map[string]string `json:"omitted,omitempty"`
}

// Rule is a floor and a ceiling with what they follow from.
type Rule struct {
	Key      string   `json:"key"`
	AtLeast  Value    `json:"atLeast"`
	Ceiling  Value    `json:"ceiling"`
	Evidence []string `json:"evidence"`
}

// unlimited is where a value is no limit any more: systemd sets fs.file-max to
// 2^63-1. The kernel's own default is 2 % of that at most on any machine that exists.
const unlimited = 1 << 40

// From compares samples, of as many reports. Keys come in the order in which
// nodetune reports them.
func From(reports int, samples []Sample) Recommendation {
	r := Recommendation{APIVersion: APIVersion, Kind: "Recommendation", Reports: reports, Rules: []Rule{}}
	for _, key := range Keys {
		rule, reason := recommend(key, samples)
		if reason != "" {
			if r.Omitted == nil {
				r.Omitted = map[string]string{}
			}
			r.Omitted[key] = reason
			continue
		}
		r.Rules = append(r.Rules, rule)
	}
	return r
}

// recommend returns the rule of a key, or why there is none.
func recommend(key string, samples []Sample) (Rule, string) {
	var value, want, ceiling, needs Sample
	value.Value, want.Want, ceiling.Ceiling, needs.Needs = Unknown, Unknown, Unknown, Unknown
	seen, unknown, reason := 0, 0, ""
	for _, s := range samples {
		if s.Key != key {
			continue
		}
		seen++
		if s.Value > value.Value {
			value = s
		}
		if s.Want > want.Want {
			want = s
		}
		if s.Ceiling > ceiling.Ceiling {
			ceiling = s
		}
		if s.Needs > needs.Needs {
			needs = s
		}
		if !s.Needs.Known() {
			unknown++
			reason = fmt.Sprintf("%s: %s", s.Node, s.Reason)
		}
	}
	switch {
	case seen == unknown:
		return Rule{}, fmt.Sprintf("its use is not known in any of the %d reports; %s", seen, reason)
	case value.Value >= unlimited:
		return Rule{}, fmt.Sprintf("%s has %d, which is no limit any more", value.Node, value.Value)
	}
	rule := Rule{Key: key, AtLeast: max(needs.Needs, value.Value, want.Want), Ceiling: Unknown}
	rule.Evidence = append(rule.Evidence, fmt.Sprintf("use asks for %d: %s: %s", needs.Needs, needs.Node, needs.Reason))
	if needs.Held != "" {
		rule.Evidence = append(rule.Evidence, "use asks for more: "+needs.Held)
	}
	if value.Value.Known() {
		rule.Evidence = append(rule.Evidence, fmt.Sprintf("in force: %d on %s; a floor never lowers it", value.Value, value.Node))
	}
	if want.Want.Known() {
		rule.Evidence = append(rule.Evidence, fmt.Sprintf("configured floor: %d on %s", want.Want, want.Node))
	}
	if unknown > 0 {
		rule.Evidence = append(rule.Evidence, fmt.Sprintf("use is not known in %d of %d reports; %s", unknown, seen, reason))
	}
	rule.limit(ceiling)
	return rule, ""
}

// limit sets the ceiling: that of the configuration, or room for one raise, which
// doubles a limit.
func (r *Rule) limit(configured Sample) {
	most := Value(math.MaxInt64)
	if r.Key != fileMaxKey {
		most = math.MaxInt32 // the kernel keeps it in an int
	}
	r.AtLeast = min(r.AtLeast, most)
	r.Ceiling = most
	if r.AtLeast <= most/2 {
		r.Ceiling = 2 * r.AtLeast
	}
	if configured.Ceiling >= r.Ceiling {
		r.Ceiling = min(configured.Ceiling, most)
		r.Evidence = append(r.Evidence, fmt.Sprintf("ceiling: %d is configured on %s", r.Ceiling, configured.Node))
		return
	}
	r.Evidence = append(r.Evidence, fmt.Sprintf("ceiling: %d leaves room for one raise, which doubles the limit", r.Ceiling))
}
