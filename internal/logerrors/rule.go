package logerrors

import "github.com/nodetune/nodetune/internal/field"

// Rule is a form of the configuration: what a program logs when it reaches a limit.
type Rule struct {
	Program string `json:"program"`
	// Limit is instances or watches.
	Limit string `json:"limit"`
	// Contains are texts that a line has, all of them, in upper or lower case.
	Contains []string `json:"contains"`
}

// maxRules bounds how many texts each line of a log is compared with.
const maxRules = 100

// Forms returns the forms of rules, and an error for each wrong one.
func Forms(rules []Rule) (forms []Form, errs []error) {
	if len(rules) > maxRules {
		return nil, []error{field.Errorf("", "has %d entries: write at most %d", len(rules), maxRules)}
	}
	for i, r := range rules {
		at := field.Index("", i)
		if r.Program == "" {
			errs = append(errs, field.Errorf(at+".program", "is empty: name the program that logs the message"))
		}
		f, err := NewForm(r.Program, r.Limit, r.Contains)
		if err != nil {
			errs = append(errs, field.Errorf(at, "%v", err))
			continue
		}
		forms = append(forms, f)
	}
	return forms, errs
}
