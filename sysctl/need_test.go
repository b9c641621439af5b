package sysctl

import "testing"

func TestWithNeeds(t *testing.T) {
	for _, test := range []struct {
		name  string
		rule  Rule
		needs []Need
		want  Value
		why   string
	}{
		{"none", Rule{Key: "fs.a", Op: AtLeast, Want: 8, Ceiling: Unknown, Why: "floor"}, nil, 8, "floor"},
		{"below the floor", Rule{Key: "fs.a", Op: AtLeast, Want: 8, Ceiling: Unknown, Why: "floor"}, []Need{{Key: "fs.a", AtLeast: 4, Why: "use"}}, 8, "floor"},
		{"above it", Rule{Key: "fs.a", Op: AtLeast, Want: 8, Ceiling: Unknown, Why: "floor"}, []Need{{Key: "fs.a", AtLeast: 16, Why: "use"}}, 16, "use"},
		{"the largest", Rule{Key: "fs.a", Op: AtLeast, Want: 8, Ceiling: Unknown}, []Need{{Key: "fs.a", AtLeast: 32, Why: "pod"}, {Key: "fs.a", AtLeast: 16, Why: "use"}}, 32, "pod"},
		{"up to the ceiling", Rule{Key: "fs.a", Op: AtLeast, Want: 8, Ceiling: 10}, []Need{{Key: "fs.a", AtLeast: 16, Why: "use"}}, 10, "use"},
		{"a ceiling below the floor lowers nothing", Rule{Key: "fs.a", Op: AtLeast, Want: 8, Ceiling: 5, Why: "floor"}, []Need{{Key: "fs.a", AtLeast: 16, Why: "use"}}, 8, "floor"},
		{"another key", Rule{Key: "fs.a", Op: AtLeast, Want: 8, Ceiling: Unknown, Why: "floor"}, []Need{{Key: "fs.b", AtLeast: 16, Why: "use"}}, 8, "floor"},
		{"exactly", Rule{Key: "fs.a", Op: Exactly, Want: 8, Ceiling: Unknown}, []Need{{Key: "fs.a", AtLeast: 16, Why: "use"}}, 8, ""},
		{"reported only", Rule{Key: "fs.a", Op: Report, Want: Unknown, Ceiling: Unknown}, []Need{{Key: "fs.a", AtLeast: 16, Why: "use"}}, Unknown, ""},
	} {
		rules := []Rule{test.rule}
		got := WithNeeds(rules, test.needs)[0]
		if got.Want != test.want || got.Why != test.why {
			t.Errorf("%s: want %s because %q, got %s because %q", test.name, test.want, test.why, got.Want, got.Why)
		}
		if rules[0] != test.rule {
			t.Errorf("%s: changed its argument", test.name)
		}
	}
}
